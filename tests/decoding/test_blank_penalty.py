"""A penalty on the blank: every search finds the paths of the highest sum less their blanks."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.assembly.decoder import make_decoder
from asr_ctc.config.load import make_config
from asr_ctc.decoding.beam import Beam, decode
from asr_ctc.decoding.beam_reference import reference_decode
from asr_ctc.decoding.fusion import fuse
from asr_ctc.lm.stored import StoredModel
from tests.decoding.test_beam_state import CUTS, check_chunks, exactly
from tests.decoding.test_fusion import CHARMAP, VOCABULARY, Oracle, random_model
from tests.decoding.test_reading import UNITS, WORDS, reader_of
from tests.helpers.enumerated import random_model as random_bigrams
from tests.helpers.examples import examples
from tests.helpers.posteriors import charmap_of, made_posteriors

WIDE = 1_100  # drops nothing: 6 frames of 4 classes spell at most 1,093 sequences of labels
SEARCHES = {
    "compiled": lambda *clips, **beam: decode(*clips, Beam(**beam)),
    "reference": lambda *clips, **beam: reference_decode(*clips, Beam(**beam)),
    "batch": lambda *clips, **beam: decode(*clips, Beam(device="cpu", **beam)),
}


def penalised(frames, penalty):
    """{labels: log of the sum over their paths, each less ``penalty`` for each of its blanks}."""
    totals = {}
    for path in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        logp = sum(float(frame[label]) for frame, label in zip(frames, path, strict=True))
        labels = tuple(label for label, _ in itertools.groupby(path) if label)
        value = logp - penalty * path.count(0)
        totals[labels] = float(np.logaddexp(totals.get(labels, -math.inf), value))
    return totals


@pytest.mark.few(3)
@pytest.mark.parametrize("penalty", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_finds_what_brute_force_over_all_paths_finds(search, penalty):
    rng = np.random.default_rng(0)
    n_changed = 0
    for _ in range(5):
        frames = made_posteriors(rng, 6, 3, 2.0).astype(float)
        expected = penalised(frames, penalty)
        beam = dict(width=WIDE, n_best=None, blank_penalty=penalty)
        (found,) = search(frames[None], [6], charmap_of(3), **beam)
        assert {h.labels: h.logp for h in found} == pytest.approx(expected)
        assert found[0].labels == max(expected, key=expected.get)
        without = penalised(frames, 0.0)
        n_changed += found[0].labels != max(without, key=without.get)
    assert (n_changed > 0) == (penalty > 0)


@pytest.mark.slow
def test_a_language_model_comes_on_top():
    rng = np.random.default_rng(1)
    weights = dict(lm_weight=0.7, word_bonus=-1.0, unk_logp=-3.0)
    model = random_model(rng, VOCABULARY)
    oracle, fusion = Oracle(model, **weights), fuse(model, CHARMAP, **weights)
    frames = made_posteriors(rng, 6, 4, 2.0).astype(float)
    beam = Beam(width=WIDE, n_best=None, fusion=fusion, blank_penalty=1.0)
    (found,) = beam.decode(frames[None], [6], CHARMAP)
    expected = {
        labels: logp + oracle.of_sentence(oracle.words_of(CHARMAP.decode(labels)))
        for labels, logp in penalised(frames, 1.0).items()
    }
    assert {h.labels: h.score for h in found} == pytest.approx(expected, abs=1e-5)
    assert found[0].labels == max(expected, key=expected.get)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_none_and_zero_change_no_bit_and_a_penalty_not_the_posteriors(search):
    frames = made_posteriors(np.random.default_rng(2), 40, 8, 4.0).astype(float)[None]
    before, clip = frames.copy(), (frames, [40], charmap_of(8))
    (plain,), (zero,), (one,) = (
        search(*clip, width=20, blank_penalty=penalty) for penalty in (None, 0.0, 1.0)
    )
    assert exactly(zero) == exactly(plain) != exactly(one)
    np.testing.assert_array_equal(frames, before)
    tensor = torch.from_numpy(frames)
    search(tensor, [40], charmap_of(8), width=20, blank_penalty=1.0)
    np.testing.assert_array_equal(tensor.numpy(), before)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_padding_costs_nothing(search):
    rng = np.random.default_rng(3)
    clips = [made_posteriors(rng, n, 5, 3.0) for n in (12, 4, 0)]
    batch = np.full((3, 12, 5), np.nan)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    beam = dict(width=15, blank_penalty=1.5)
    together = search(batch, [12, 4, 0], charmap_of(5), **beam)
    for clip, found in zip(clips, together, strict=True):
        ((best, *_),) = search(clip[None], [len(clip)], charmap_of(5), **beam)
        assert (found[0].labels, found[0].logp) == (best.labels, pytest.approx(best.logp))


def test_phonemes_are_read_as_from_a_lower_blank():
    rng = np.random.default_rng(4)
    reader = reader_of(random_bigrams(rng, WORDS))
    frames = made_posteriors(rng, 12, UNITS.vocab_size, 3.0).astype(float)
    lower = frames.copy()
    lower[:, UNITS.blankid] -= 2.0
    found, expected, without = (
        Beam(width=30, fusion=reader.fusion, reader=reader, blank_penalty=penalty).decode(
            of[None], [12], UNITS
        )
        for of, penalty in ((frames, 2.0), (lower, None), (frames, None))
    )
    assert exactly(found[0]) == exactly(expected[0]) != exactly(without[0])
    assert found[0][0].written == expected[0][0].written


@examples(30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), CUTS, st.sampled_from([0.5, 2.0]))
def test_chunks_give_what_the_whole_clip_gives(seed, n_frames, cuts, penalty):
    rng = np.random.default_rng(seed)
    frames = made_posteriors(rng, n_frames, 4, 3.0)
    fusion = fuse(random_model(rng, VOCABULARY), CHARMAP)
    check_chunks(frames, CHARMAP, Beam(width=15, fusion=fusion, blank_penalty=penalty), cuts)
    check_chunks(frames, CHARMAP, Beam(width=15, blank_penalty=penalty), cuts)


@pytest.mark.parametrize("penalty", [-0.5, math.nan, math.inf])
def test_what_is_no_penalty_is_refused(penalty):
    with pytest.raises(ValueError, match=f"blank_penalty is {penalty}; needed 0 or more"):
        Beam(blank_penalty=penalty)


def test_flags_win_over_the_model_file_and_that_over_zero():
    model = random_model(np.random.default_rng(5), VOCABULARY)
    stored = StoredModel("fr.arpa", model, {"lm_weight": 0.75, "blank_penalty": 1.0})
    of_old_file = StoredModel("fr.arpa", model, {"lm_weight": 0.75})

    def penalty(stored=stored, **flags):
        beam = make_decoder(make_config({}, {"beamsearch": True, **flags}), stored)
        return beam.prepared(CHARMAP, stored).blank_penalty or 0.0

    assert penalty() == 1.0 and penalty(blank_penalty=0.5) == 0.5
    assert penalty(blank_penalty=0.0) == 0.0  # given, although it is the default
    assert penalty(of_old_file) == 0.0
    assert penalty(lm=None) == 0.0  # the penalty of the language model goes with it
    assert penalty(lm=None, blank_penalty=0.5) == penalty(None, blank_penalty=0.5) == 0.5


def test_the_search_says_its_penalty():
    model = random_model(np.random.default_rng(6), VOCABULARY)
    stored = StoredModel("fr.arpa", model, {"blank_penalty": 1.0})
    weights = "lm_weight 0.5, word_bonus 0, unk_logp -10, blank_penalty 1"
    assert Beam().name(stored) == f"beam search of 10 with fr.arpa ({weights})"
    assert Beam().name() == Beam(blank_penalty=0.0).name() == "beam search of 10"
    assert Beam(blank_penalty=0.5).name() == "beam search of 10 with blank_penalty 0.5"
