import functools
import itertools
import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from asr_ctc.decoding.beam import beam_decode
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.text.charmap import CharMap
from tests.helpers.posteriors import reference_beam_decode

INF = math.inf
AB = CharMap.from_symbols(list("ab"))
batch_beam_decode = partial(beam_decode, device="cpu")
BEAMS = [beam_decode, reference_beam_decode, batch_beam_decode]
DECODERS = [greedy_decode, *BEAMS]
SYMBOLS = {n: CharMap.from_symbols(list("abcde"[: n - 1])) for n in range(2, 7)}


def log(probabilities):
    with np.errstate(divide="ignore"):
        return np.log(np.array(probabilities, dtype=np.float64))


def greedy_one(frames, charmap=AB):
    (clip,) = greedy_decode(frames[None], [len(frames)], charmap)
    (hypothesis,) = clip
    return hypothesis


@pytest.fixture(params=BEAMS, ids=["compiled", "reference", "batch"])
def beam_one(request):
    """Decodes one clip by each of the beam searches."""

    def decode(frames, beam_width, charmap=AB, n_best=100_000, **cuts):
        (clip,) = request.param(frames[None], [len(frames)], charmap, beam_width, n_best, **cuts)
        return clip

    return decode


def random_frames(rng, n_frames, n_classes, p_impossible=0.0):
    """Normalised log probabilities (T', V), some classes impossible, at least one possible."""
    logits = rng.normal(scale=rng.choice([0.5, 2.0]), size=(n_frames, n_classes))
    impossible = rng.random(logits.shape) < p_impossible
    impossible[np.arange(n_frames), rng.integers(n_classes, size=n_frames)] = False
    logits[impossible] = -INF
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def collapse(path):
    return tuple(label for label, _ in itertools.groupby(path) if label != 0)


def brute_force(frames):
    """Log probability of every possible label sequence, by adding up all V^T' paths."""
    spelt = {}
    for path in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        logp = sum(frame[label] for frame, label in zip(frames, path, strict=True))
        if logp > -INF:
            spelt[collapse(path)] = np.logaddexp(spelt.get(collapse(path), -INF), logp)
    return spelt


def textbook_beam(frames, beam_width):
    """Prefix beam search on a dictionary of strings, one number at a time, in plain probabilities.

    Returns the beam as (string, probability), best first, and how often a prefix came back into
    the beam while a child of it had stayed there.
    """
    symbols = "-abcde"[: frames.shape[1]]
    beam = {"": (1.0, 0.0)}
    once_in_beam = {""}
    n_returns = 0
    for frame in np.exp(frames):
        grown = {}

        def add(prefix, blank, label, grown=grown):
            p_blank, p_label = grown.get(prefix, (0.0, 0.0))
            grown[prefix] = (p_blank + blank, p_label + label)

        for prefix, (p_blank, p_label) in beam.items():
            add(prefix, (p_blank + p_label) * frame[0], 0.0)
            for symbol, p in list(zip(symbols, frame, strict=False))[1:]:
                if prefix.endswith(symbol):
                    add(prefix, 0.0, p_label * p)
                    add(prefix + symbol, 0.0, p_blank * p)
                else:
                    add(prefix + symbol, 0.0, (p_blank + p_label) * p)
        possible = [prefix for prefix in grown if sum(grown[prefix]) > 0]
        kept = sorted(possible, key=lambda prefix: -sum(grown[prefix]))[:beam_width]
        for prefix in kept:
            came_back = prefix in once_in_beam and prefix not in beam
            n_returns += came_back and any(other[:-1] == prefix for other in beam if other)
        once_in_beam.update(kept)
        beam = {prefix: grown[prefix] for prefix in kept}
    return [(prefix, sum(p)) for prefix, p in beam.items()], n_returns


def test_oracle_by_hand():
    frames = log([[0.6, 0.4], [0.6, 0.4], [0.5, 0.5]])
    spelt = {labels: math.exp(logp) for labels, logp in brute_force(frames).items()}
    # aa needs a-blank-a: 0.4 · 0.6 · 0.5; blanks alone: 0.6 · 0.6 · 0.5; a is all the rest.
    assert spelt == pytest.approx({(): 0.18, (1, 1): 0.12, (1,): 0.7})


def test_oracle_leaves_out_what_is_impossible():
    assert brute_force(log([[0.0, 1.0], [0.0, 1.0]])) == {(1,): 0.0}


def test_textbook_agrees_with_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(10):
        frames = random_frames(rng, 4, 3)
        kept, _ = textbook_beam(frames, beam_width=1000)
        spelt = {"".join("-ab"[label] for label in k): v for k, v in brute_force(frames).items()}
        assert {prefix: math.log(p) for prefix, p in kept} == pytest.approx(spelt, abs=1e-12)


def test_greedy_by_hand():
    frames = log(
        [
            [0.1, 0.8, 0.1],  # a
            [0.2, 0.7, 0.1],  # a, the same one
            [0.6, 0.3, 0.1],
            [0.1, 0.9, 0.0],  # a, another one after a blank
            [0.1, 0.1, 0.8],  # b
            [0.9, 0.1, 0.0],
        ]
    )
    hypothesis = greedy_one(frames)
    assert (hypothesis.text, hypothesis.labels) == ("aab", (1, 1, 2))
    assert hypothesis.logp == pytest.approx(math.log(0.8 * 0.7 * 0.6 * 0.9 * 0.8 * 0.9))


def test_greedy_is_the_best_of_all_paths():
    rng = np.random.default_rng(1)
    for _ in range(30):
        frames = random_frames(rng, 5, 3, p_impossible=0.3)
        paths = itertools.product(range(3), repeat=5)
        logps = {
            path: sum(frame[i] for frame, i in zip(frames, path, strict=True)) for path in paths
        }
        best = max(logps, key=logps.get)
        hypothesis = greedy_one(frames)
        assert hypothesis.labels == collapse(best)
        assert hypothesis.logp == pytest.approx(logps[best], abs=1e-12)


def test_beam_adds_up_paths_where_greedy_cannot(beam_one):
    frames = log([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0]])
    assert greedy_one(frames) == Hypothesis("", (), pytest.approx(math.log(0.36)))
    assert beam_one(frames, 10) == [
        Hypothesis("a", (1,), pytest.approx(math.log(0.64))),
        Hypothesis("", (), pytest.approx(math.log(0.36))),
    ]


def test_beam_repeats_a_label_only_across_a_blank(beam_one):
    frames = log([[0.0, 1.0, 0.0], [0.3, 0.7, 0.0], [0.0, 1.0, 0.0]])
    assert beam_one(frames, 10) == [
        Hypothesis("a", (1,), pytest.approx(math.log(0.7))),
        Hypothesis("aa", (1, 1), pytest.approx(math.log(0.3))),
    ]


def test_wide_beam_is_brute_force(beam_one):
    rng = np.random.default_rng(2)
    n_repeats = n_missing = 0
    for _ in range(60):
        n_frames, n_classes = int(rng.integers(1, 6)), int(rng.integers(2, 5))
        frames = random_frames(rng, n_frames, n_classes, p_impossible=rng.choice([0.0, 0.4]))
        expected = brute_force(frames)
        hypotheses = beam_one(frames, 400, SYMBOLS[n_classes])
        found = {hypothesis.labels: hypothesis.logp for hypothesis in hypotheses}
        assert len(found) == len(hypotheses)
        assert found == pytest.approx(expected, abs=1e-9)
        assert list(found.values()) == sorted(found.values(), reverse=True)
        n_repeats += any(a == b for labels in found for a, b in pairwise(labels))
        n_missing += bool(np.isinf(frames).any())
    assert n_repeats > 10 and n_missing > 10


def test_logp_is_minus_the_ctc_loss(beam_one):
    rng = np.random.default_rng(3)
    for _ in range(10):
        frames = random_frames(rng, 6, 3)
        for hypothesis in beam_one(frames, 200):
            loss = torch.nn.functional.ctc_loss(
                torch.from_numpy(frames)[:, None],
                torch.tensor([hypothesis.labels], dtype=torch.long),
                [len(frames)],
                [len(hypothesis.labels)],
                reduction="sum",
            )
            assert hypothesis.logp == pytest.approx(-loss.item(), abs=1e-9)


@functools.cache
def textbook_clips(beam_width):
    """100 clips with what the textbook's beam is, and how often prefixes came back in all."""
    rng = np.random.default_rng(4)
    clips = [random_frames(rng, 30, 6) for _ in range(100)]
    beams, returns = zip(*(textbook_beam(frames, beam_width) for frames in clips), strict=True)
    return list(zip(clips, beams, strict=True)), sum(returns)


@pytest.mark.slow
@pytest.mark.parametrize("beam_width", [1, 2, 3, 5, 10])
def test_narrow_beam_is_the_textbook(beam_one, beam_width):
    clips, n_returns = textbook_clips(beam_width)
    for frames, expected in clips:
        hypotheses = beam_one(frames, beam_width, SYMBOLS[6])
        assert [hypothesis.text for hypothesis in hypotheses] == [text for text, _ in expected]
        logps = [hypothesis.logp for hypothesis in hypotheses]
        assert logps == pytest.approx([math.log(p) for _, p in expected], rel=0, abs=1e-9)
    # A prefix that comes back to a beam where its child has stayed is the case that needs one
    # node for one prefix. Beams of 1 and 2 hardly meet it.
    assert n_returns > 0 or beam_width <= 2


@pytest.mark.parametrize("beam_one", [beam_decode, reference_beam_decode], indirect=True)
def test_ties_go_by_rank_then_class(beam_one):
    uniform = log(np.full((2, 3), 1 / 3))
    assert [h.labels for h in beam_one(uniform[:1], 3)] == [(), (1,), (2,)]
    assert [h.labels for h in beam_one(uniform[:1], 2)] == [(), (1,)]
    # Each of a, b has three paths of nine; the others one each.
    expected = [(1,), (2,), (), (1, 2), (2, 1)]
    assert [h.labels for h in beam_one(uniform, 9)] == expected
    assert [h.labels for h in beam_one(uniform, 9, n_best=4)] == expected[:4]


def test_n_best_is_bounded_by_the_beam(beam_one):
    frames = random_frames(np.random.default_rng(5), 6, 3)
    assert len(beam_one(frames, 4, n_best=9)) == 4
    assert beam_one(frames, 4, n_best=2) == beam_one(frames, 4)[:2]


def test_only_one_hypothesis_is_possible(beam_one):
    frames = log([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert beam_one(frames, 10) == [Hypothesis("a", (1,), 0.0)]
    assert greedy_one(frames) == Hypothesis("a", (1,), 0.0)


@pytest.mark.parametrize("n_frames", [1, 3])
def test_nothing_is_possible(beam_one, n_frames):
    frames = log([[0.0, 1.0, 0.0]] * n_frames)
    frames[0] = -INF
    assert beam_one(frames, 4) == [Hypothesis("", (), -INF)]
    assert greedy_one(frames) == Hypothesis("", (), -INF)


@pytest.mark.parametrize("decode", DECODERS)
def test_no_frames(decode):
    assert decode(torch.zeros(1, 3, 3), [0], AB) == [[Hypothesis("", (), 0.0)]]
    assert decode(torch.zeros(1, 0, 3), [0], AB) == [[Hypothesis("", (), 0.0)]]
    assert decode(torch.zeros(0, 3, 3), [], AB) == []


@pytest.mark.parametrize("decode", DECODERS)
def test_unequal_lengths_ignore_the_padding(decode):
    rng = np.random.default_rng(6)
    lengths = [5, 0, 2, 4]
    clips = [random_frames(rng, length, 3, p_impossible=0.3) for length in lengths]
    batch = np.full((4, 5, 3), np.nan)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    for together, clip in zip(decode(batch, lengths, AB), clips, strict=True):
        alone = decode(clip[None], [len(clip)], AB)[0]
        assert [h.labels for h in together] == [h.labels for h in alone]
        logps = [h.logp for h in alone]
        assert [h.logp for h in together] == pytest.approx(logps, rel=0, abs=1e-12)


@pytest.mark.parametrize("decode", DECODERS)
def test_arrays_and_tensors_decode_alike(decode):
    frames = np.stack([random_frames(np.random.default_rng(7), 5, 3)] * 2)
    expected = decode(frames, [5, 3], AB)
    assert decode(torch.from_numpy(frames).requires_grad_(), torch.tensor([5, 3]), AB) == expected
    single = decode(torch.from_numpy(frames).bfloat16(), np.array([5, 3]), AB)
    for ours, theirs in zip(single, expected, strict=True):
        assert ours[0].labels == theirs[0].labels
        assert ours[0].logp == pytest.approx(theirs[0].logp, abs=0.1)


def test_blank_need_not_stand_first(beam_one):
    class LastBlank:
        blankid, vocab_size = 2, 3

        def text(self, labels):
            return "".join("ab"[label] for label in labels)

    frames = random_frames(np.random.default_rng(8), 5, 3)
    rolled = np.roll(frames, -1, axis=1)
    assert greedy_one(rolled, LastBlank()).text == greedy_one(frames).text
    ours = {h.text: h.logp for h in beam_one(rolled, 500, LastBlank())}
    assert ours == pytest.approx({h.text: h.logp for h in beam_one(frames, 500)}, abs=1e-12)


def frames_with(value, clip=1, frame=2):
    logp = torch.full((3, 4, 3), math.log(1 / 3))
    logp[clip, frame, 0] = value
    return logp


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    ("logp", "lengths", "message"),
    [
        (frames_with(-1.0)[0], [4], r"shape \(4, 3\); needed \(clips, frames, classes\)"),
        (frames_with(-1.0)[..., :2], [4, 4, 4], r"2 classes; the units need 3"),
        (frames_with(-1.0), [4, 4], r"lengths has shape \(2,\); needed \(3,\)"),
        (frames_with(-1.0), [[4], [4], [4]], r"lengths has shape \(3, 1\); needed \(3,\)"),
        (frames_with(-1.0), torch.tensor(4), r"lengths has shape \(\); needed \(3,\)"),
        (frames_with(-1.0), [4.0, 4.0, 4.0], r"float64; needed integers"),
        (frames_with(-1.0), [4, 4, 5], r"clip 2 has length 5; needed 0 to 4 frames"),
        (frames_with(-1.0), [4, -1, 4], r"clip 1 has length -1; needed 0 to 4 frames"),
        (frames_with(math.nan), [4, 4, 4], r"clip 1 holds NaN"),
        (frames_with(0.002), [4, 4, 4], r"clip 1 holds 0\.002; needed log probabilities"),
        (frames_with(INF), [4, 4, 4], r"clip 1 holds inf; needed log probabilities"),
    ],
)
def test_refuses_what_it_cannot_decode(decode, logp, lengths, message):
    with pytest.raises(ValueError, match=message):
        decode(logp, lengths, AB)


@pytest.mark.parametrize("decode", DECODERS)
def test_allows_rounding_above_zero(decode):
    assert len(decode(frames_with(0.0009), [4, 4, 4], AB)) == 3


@pytest.mark.parametrize("decode", BEAMS)
@pytest.mark.parametrize("name", ["beam_width", "n_best", "beam_tokens"])
def test_refuses_an_empty_beam(decode, name):
    with pytest.raises(ValueError, match=f"{name} is 0; needed 1 or more"):
        decode(frames_with(-1.0), [4, 4, 4], AB, **{name: 0})


@pytest.mark.parametrize("decode", BEAMS)
@pytest.mark.parametrize("threshold", [-0.1, math.nan])
def test_refuses_a_negative_threshold(decode, threshold):
    with pytest.raises(ValueError, match=f"beam_threshold is {threshold}; needed 0 or more"):
        decode(frames_with(-1.0), [4, 4, 4], AB, beam_threshold=threshold)


def test_tokens_limit_the_classes_that_make_new_prefixes(beam_one):
    frames = log([[0.4, 0.35, 0.25], [0.4, 0.25, 0.35]])
    # Only a after the first frame, then only b new; all paths to a, which is there, still count.
    found = {h.text: math.exp(h.logp) for h in beam_one(frames, 10, beam_tokens=1)}
    a = 0.35 * 0.4 + 0.35 * 0.25 + 0.4 * 0.25
    assert found == pytest.approx({"a": a, "": 0.4 * 0.4, "b": 0.4 * 0.35, "ab": 0.35 * 0.35})


def test_threshold_drops_what_is_far_below_the_best(beam_one):
    frames = log([[0.6, 0.3, 0.1]])
    assert [h.text for h in beam_one(frames, 10, beam_threshold=math.log(6) + 1e-9)] == [
        "",
        "a",
        "b",
    ]
    assert [h.text for h in beam_one(frames, 10, beam_threshold=math.log(6) - 1e-9)] == ["", "a"]
    assert [h.text for h in beam_one(frames, 10, beam_threshold=0.0)] == [""]
