"""The beam search of a whole batch against the reference, and how a person asks for it.

What all beam searches have in common is tested in test_decoding.py, on one clip at a time.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.assembly.decoder import make_decoder
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.decoding import beam_batched as batch_beam
from asr_ctc.decoding.beam import beam_decode
from asr_ctc.decoding.fusion import no_fusion
from asr_ctc.text.charmap import CharMap
from tests.helpers.examples import examples
from tests.helpers.gpu import GPU
from tests.helpers.posteriors import (
    SEARCHES,
    assert_same_beam,
    charmap_of,
    made_posteriors,
    reference_beam_decode,
)

DEVICES = ["cpu", pytest.param(GPU.type, marks=pytest.mark.cuda, id="gpu")]


def padded(clips):
    """(logp, lengths) of clips of unequal lengths; the padding is NaN."""
    lengths = [len(clip) for clip in clips]
    logp = np.full((len(clips), max(lengths), clips[0].shape[1]), np.nan)
    for row, clip in zip(logp, clips, strict=True):
        row[: len(clip)] = clip
    return logp, lengths


@pytest.mark.slow
@examples(150)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    n_best=st.integers(1, 60),
    **SEARCHES,
)
def test_finds_what_the_reference_finds(
    seed, lengths, n_classes, beam_width, n_best, sharpness, p_impossible, **cuts
):
    rng = np.random.default_rng(seed)
    clips = [made_posteriors(rng, n, n_classes, sharpness, p_impossible) for n in lengths]
    arguments = (*padded(clips), charmap_of(n_classes), beam_width, n_best)
    for found, expected in zip(
        beam_decode(*arguments, device="cpu", **cuts),
        reference_beam_decode(*arguments, **cuts),
        strict=True,
    ):
        assert_same_beam(found, expected)


@pytest.mark.few(4)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cuts", [{}, {"beam_tokens": 6, "beam_threshold": 8.0}])
@pytest.mark.parametrize("beam_width", [1, 10, 100])
def test_finds_what_the_compiled_search_finds_on_real_posteriors(
    real_posteriors, beam_width, cuts, device
):
    arguments = (*padded(list(real_posteriors.values())), CharMap(), beam_width, beam_width)
    for found, expected in zip(
        beam_decode(*arguments, device=device, **cuts), beam_decode(*arguments, **cuts), strict=True
    ):
        assert_same_beam(found, expected)
        assert found[0].labels == expected[0].labels


@pytest.mark.parametrize("device", DEVICES)
def test_long_clips(device):
    frames = made_posteriors(np.random.default_rng(0), 400, 44, 6.0)[None]
    arguments = (frames, [400], charmap_of(44), 30, 30)
    assert_same_beam(beam_decode(*arguments, device=device)[0], beam_decode(*arguments)[0])


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [np.inf, 3.0])
@pytest.mark.parametrize("n_tokens", [2, 44])
def test_does_not_wait_for_the_device(n_tokens, threshold):
    """Tensors without data, from which no number can be had and no shape can depend on one."""
    frames = torch.empty(3, 3, 44, dtype=torch.float64, device="meta")
    total, choices = batch_beam.run(frames, 0, 100, n_tokens, threshold)
    assert total.shape == (3, 100) and choices.shape == (3, 3, 100)


@pytest.mark.cuda
def test_does_not_wait_for_the_gpu():
    if GPU.type == "cpu":
        pytest.skip("nothing waits for a CPU")
    frames = torch.randn(3, 6, 44, dtype=torch.float64, device="cuda").log_softmax(dim=2)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch_beam.run(frames, 0, 100, 2, 3.0)
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_leaves_the_posteriors_as_they_are():
    frames = torch.from_numpy(made_posteriors(np.random.default_rng(1), 9, 5, 3.0)).double()[None]
    kept = frames.clone()
    beam_decode(frames, [4], charmap_of(5), beam_tokens=2, device="cpu")
    assert torch.equal(frames, kept)


def test_a_language_model_is_refused():
    frames = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match="takes no fusion"):
        beam_decode(frames, [2], charmap_of(3), fusion=no_fusion(3), device="cpu")


def settings_of(**flags):
    return make_decoder(make_config({}, {"beamsearch": True, **flags}))


def test_flag_says_where_the_beam_search_runs(monkeypatch):
    assert settings_of().device is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert settings_of().device is None
    assert settings_of(beam_device="cuda").device == torch.device("cuda")


def test_flag_is_refused_where_it_cannot_hold(monkeypatch):
    with pytest.raises(UserError, match="--beam_device cuda takes no language model"):
        settings_of(beam_device="cuda", hotwords=["marseille:5"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--beam_device cuda: no CUDA device is available here"):
        settings_of(beam_device="cuda")
