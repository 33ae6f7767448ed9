"""A beam search in pieces: a clip decoded in chunks of frames is decoded as a whole one is."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.decoding.beam import Beam, advance, beam_decode, decode, n_best, start_beam
from asr_ctc.decoding.fusion import fuse, no_fusion
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.text.charmap import CharMap
from tests.decoding.test_fusion import (
    CHARMAP,
    FOR_WORDS,
    VOCABULARY,
    WEIGHTS,
    random_frames,
    random_model,
)
from tests.helpers.examples import examples
from tests.helpers.posteriors import SEARCHES, charmap_of, made_posteriors

CUTS = st.lists(st.integers(0, 40), max_size=8)


def exactly(hypotheses):
    return [(h.text, h.labels, h.logp, h.score) for h in hypotheses]


def whole(frames, charmap, beam):
    return decode(frames[None], [len(frames)], charmap, beam)[0]


def check_chunks(frames, charmap, beam, cuts):
    """Every chunk leaves what the frames so far give at once, and no earlier state changes."""
    bounds = [0, *sorted(min(cut, len(frames)) for cut in cuts), len(frames)]
    states = [start_beam(charmap, beam)]
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        states.append(advance(states[-1], frames[first:last]))
    for end, state in zip(bounds, states, strict=True):
        assert exactly(n_best(state)) == exactly(whole(frames[:end], charmap, beam))


@examples(100)
@given(n_frames=st.integers(0, 40), cuts=CUTS, **SEARCHES)
def test_chunks_give_what_the_whole_clip_gives(
    seed,
    n_frames,
    cuts,
    n_classes,
    beam_width,
    sharpness,
    p_impossible,
    beam_tokens,
    beam_threshold,
):
    rng = np.random.default_rng(seed)
    frames = made_posteriors(rng, n_frames, n_classes, sharpness, p_impossible)
    beam = Beam(width=beam_width, n_best=None, tokens=beam_tokens, threshold=beam_threshold)
    check_chunks(frames, charmap_of(n_classes), beam, cuts)


@examples(60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_frames=st.integers(1, 40),
    cuts=CUTS,
    width=st.integers(1, 40),
    threshold=st.none() | st.sampled_from([3.0, 12.0]),
    weights=WEIGHTS,
    others=FOR_WORDS,
)
def test_chunks_give_what_the_whole_clip_gives_with_words(
    seed, n_frames, cuts, width, threshold, weights, others
):
    rng = np.random.default_rng(seed)
    fusion = fuse(random_model(rng, VOCABULARY), CHARMAP, **weights, **others)
    beam = Beam(width=width, n_best=None, threshold=threshold, fusion=fusion)
    check_chunks(random_frames(rng, n_frames), CHARMAP, beam, cuts)


@examples(30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), CUTS, st.integers(1, 40), WEIGHTS)
def test_chunks_give_what_the_whole_clip_gives_with_characters(
    seed, n_frames, cuts, width, weights
):
    rng = np.random.default_rng(seed)
    fusion = fuse(random_model(rng, ["a", "b", "▁"]), CHARMAP, **weights)
    beam = Beam(width=width, fusion=fusion)
    check_chunks(random_frames(rng, n_frames), CHARMAP, beam, cuts)


@pytest.mark.parametrize("with_words", [False, True])
def test_frame_by_frame(with_words):
    rng = np.random.default_rng(1)
    fusion = fuse(random_model(rng, VOCABULARY), CHARMAP) if with_words else None
    frames, beam = random_frames(rng, 100), Beam(width=20, n_best=None, fusion=fusion)
    state = start_beam(CHARMAP, beam)
    for frame in frames:
        state = advance(state, frame[None])
    assert len(n_best(state)) == 20
    assert exactly(n_best(state)) == exactly(whole(frames, CHARMAP, beam))


def test_real_posteriors_in_chunks_say_digits(real_posteriors):
    texts = []
    for frames in real_posteriors.values():
        state = start_beam(CharMap(), Beam())
        for chunk in np.array_split(frames, 7):
            state = advance(state, chunk)
        assert exactly(n_best(state)) == exactly(whole(frames, CharMap(), Beam()))
        texts.append(n_best(state)[0].text)
    assert texts[0] == "nine seven three zero zero five zero."


def test_a_state_stays_as_it_is_and_may_go_on_in_two_ways():
    rng = np.random.default_rng(2)
    fusion = fuse(random_model(rng, VOCABULARY), CHARMAP)
    frames, one, other = (random_frames(rng, 15) for _ in range(3))
    beam = Beam(width=12, fusion=fusion)
    state = advance(start_beam(CHARMAP, beam), frames)
    before = copy.deepcopy(state.arrays)
    for ending in one, other:
        ended = advance(state, ending)
        assert exactly(n_best(ended)) == exactly(
            whole(np.concatenate([frames, ending]), CHARMAP, beam)
        )
    n_best(state)
    for array, old in zip(
        (*state.arrays.tree, *state.arrays.rows), (*before.tree, *before.rows), strict=True
    ):
        np.testing.assert_array_equal(array, old)


def test_what_no_path_can_reach_stays_impossible():
    charmap = charmap_of(3)
    state = advance(start_beam(charmap, Beam()), np.full((2, 3), -np.inf))
    assert n_best(state) == [Hypothesis("", (), -np.inf)]
    assert n_best(advance(state, np.log(np.full((2, 3), 1 / 3)))) == [Hypothesis("", (), -np.inf)]


def test_frames_may_be_tensors_of_any_precision():
    frames = made_posteriors(np.random.default_rng(3), 9, 4, 3.0)
    state = start_beam(charmap_of(4), Beam())
    expected = exactly(n_best(advance(state, frames)))
    assert exactly(n_best(advance(state, torch.from_numpy(frames).requires_grad_()))) == expected


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros(3), r"frames have shape \(3,\); needed \(frames, classes\)"),
        (np.zeros((1, 2, 3)), r"frames have shape \(1, 2, 3\); needed \(frames, classes\)"),
        (np.zeros((2, 4)), "4 classes; the units need 3"),
        (np.full((2, 3), np.nan), "holds NaN"),
        (np.full((2, 3), 0.5), "holds 0.5; needed log probabilities"),
    ],
)
def test_refuses_frames_that_it_cannot_decode(frames, message):
    state = start_beam(charmap_of(3), Beam())
    with pytest.raises(ValueError, match=message):
        advance(state, frames)


def test_a_device_takes_whole_clips_only():
    with pytest.raises(ValueError, match="whole clips only"):
        start_beam(charmap_of(3), Beam(device="cpu"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(width=0), "beam_width is 0; needed 1 or more"),
        (dict(n_best=0), "n_best is 0; needed 1 or more"),
        (dict(tokens=-3), "beam_tokens is -3; needed 1 or more"),
        (dict(threshold=-0.5), "beam_threshold is -0.5; needed 0 or more"),
        (dict(threshold=float("nan")), "beam_threshold is nan; needed 0 or more"),
        (dict(device="cpu", fusion=no_fusion(3)), "a beam search on a device takes no fusion"),
    ],
)
def test_a_beam_that_cannot_be_is_refused_where_it_is_made(values, message):
    with pytest.raises(ValueError, match=message):
        Beam(**values)


def test_beams_are_equal_when_their_settings_are():
    rng = np.random.default_rng(4)
    one, other = (fuse(random_model(rng, VOCABULARY), CHARMAP) for _ in range(2))
    assert Beam(width=3) == Beam(width=3) != Beam(width=4)
    assert Beam(fusion=one) == Beam(fusion=one) != Beam(fusion=other)
    assert len({Beam(fusion=one), Beam(fusion=one), Beam(fusion=other)}) == 2


def test_decode_is_greedy_without_a_beam_and_a_beam_search_with_one():
    rng = np.random.default_rng(5)
    frames, lengths = np.stack([random_frames(rng, 20) for _ in range(3)]), [20, 0, 7]
    assert decode(frames, lengths, CHARMAP) == greedy_decode(frames, lengths, CHARMAP)
    assert decode(frames, lengths, CHARMAP, None) == greedy_decode(frames, lengths, CHARMAP)
    fusion = fuse(random_model(rng, VOCABULARY), CHARMAP)
    for ours, values in (
        (Beam(), {}),
        (Beam(width=5, n_best=2), dict(beam_width=5, n_best=2)),
        (Beam(tokens=1, threshold=2.0), dict(beam_tokens=1, beam_threshold=2.0)),
        (Beam(fusion=fusion), dict(fusion=fusion)),
        (Beam(device="cpu"), dict(device="cpu")),
        (Beam(width=30, n_best=None), dict(beam_width=30, n_best=30)),
        (Beam(width=30, n_best=None, device="cpu"), dict(beam_width=30, n_best=30, device="cpu")),
    ):
        expected = beam_decode(frames, lengths, CHARMAP, **values)
        assert decode(frames, lengths, CHARMAP, ours) == expected
    assert len(decode(frames, lengths, CHARMAP, Beam(width=30, n_best=None))[0]) == 30
