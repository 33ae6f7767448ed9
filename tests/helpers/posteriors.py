"""Made posteriors, and what two beam searches must agree on."""

import numpy as np
import pytest
from hypothesis import strategies as st

from asr_ctc.decoding.beam import Beam
from asr_ctc.decoding.beam_reference import reference_decode
from asr_ctc.text.charmap import CharMap

SCORE_TOLERANCE = 1e-4
# Of made posteriors, and of the search in them.
SEARCHES = dict(
    seed=st.integers(0, 2**32 - 1),
    n_classes=st.integers(2, 30),
    beam_width=st.integers(1, 60),
    sharpness=st.sampled_from([0.0, 3.0, 8.0, 30.0]),
    p_impossible=st.sampled_from([0.0, 0.3, 0.9]),
    beam_tokens=st.none() | st.integers(1, 30),
    beam_threshold=st.none() | st.sampled_from([0.0, 0.5, 3.0, 12.0]),
)


def charmap_of(n_classes):
    return CharMap.from_symbols([chr(0x4E00 + i) for i in range(n_classes - 1)])


def made_posteriors(rng, n_frames, n_classes, sharpness, p_impossible=0.0):
    """Log posteriors (T', V) float32: mostly blank and one label at a time when sharp."""
    logits = rng.normal(size=(n_frames, n_classes))
    spoken = np.where(rng.random(n_frames) < 0.5, 0, rng.integers(n_classes, size=n_frames))
    logits[np.arange(n_frames), spoken] += sharpness
    impossible = rng.random(logits.shape) < p_impossible
    impossible[np.arange(n_frames), spoken] = False
    logits[impossible] = -np.inf
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def reference_beam_decode(
    logp, lengths, charmap, beam_width=10, n_best=10, *, beam_tokens=None, beam_threshold=None
):
    """``reference_decode``, called as ``beam_decode``."""
    beam = Beam(width=beam_width, n_best=n_best, tokens=beam_tokens, threshold=beam_threshold)
    return reference_decode(logp, lengths, charmap, beam)


def assert_same_beam(found, expected):
    """Same scores rank by rank, and same labels, up to the order of equal scores.

    Of hypotheses that tie with the last one, the beams may keep different ones.
    """
    scores = [h.logp for h in expected]
    assert [h.logp for h in found] == pytest.approx(scores, rel=0, abs=SCORE_TOLERANCE)
    assert len({h.labels for h in found}) == len(found)
    above_last = {h.labels for h in expected if h.logp > scores[-1] + SCORE_TOLERANCE}
    assert above_last <= {h.labels for h in found}
    assert {h.labels: h.logp for h in found if h.labels in above_last} == pytest.approx(
        {h.labels: h.logp for h in expected if h.labels in above_last}, abs=SCORE_TOLERANCE
    )
