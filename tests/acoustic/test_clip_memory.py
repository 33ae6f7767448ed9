"""The memory of training by the length of a clip: against peaks that torch's profiler measures."""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.profiler import ProfilerActivity, profile

from asr_ctc.acoustic.clip_memory import (
    LONGEST_S,
    ClipMemory,
    Parabola,
    measure_clip_memory,
)
from asr_ctc.acoustic.encoder_model import EncoderArchitecture, EncoderModel
from asr_ctc.acoustic.encoders.encoder import FineTuning
from asr_ctc.acoustic.encoders.speech_transformer import FEATURE_EXTRACTOR
from asr_ctc.acoustic.encoders.torchaudio_bundles import BundleSettings
from asr_ctc.acoustic.encoders.whisper import WhisperSettings
from asr_ctc.acoustic.log_posteriors import log_posteriors
from asr_ctc.training.optimiser import freeze, train_mode
from tests.helpers.published import make_bundle

CPU = torch.device("cpu")
NOTHING = Parabola(0, 0, 0)


def test_bytes_of_a_batch_by_hand():
    memory = ClipMemory(Parabola(100, 10, 1), Parabola(7, 2, 0), Parabola(0, 40, 0))
    assert memory.of_batch(3, 40.0) == 100 + 3 * (400 + 1600) + 7 + 3 * 80
    assert memory.of_batch(3, 4.0) == 3 * 160  # the front is more than what is kept of short clips


def test_the_longest_clip_that_fits_by_hand():
    memory = ClipMemory(Parabola(100, 10, 1), NOTHING, NOTHING)
    assert memory.longest_s(100 + 10 * 20 + 400) == pytest.approx(20, abs=0.11)
    assert memory.longest_s(100 + 4 * (10 * 20 + 400), n_clips=4) == pytest.approx(20, abs=0.11)
    assert memory.of_batch(1, memory.longest_s(12_345)) <= 12_345
    assert memory.longest_s(99) == 0
    assert memory.longest_s(1e12) == LONGEST_S


def make_model(settings, n_layers: int, frozen=(), **tuning) -> EncoderModel:
    """A linear layer on the encoder: recurrent layers would hide what this takes."""
    torch.manual_seed(0)
    architecture = EncoderArchitecture(
        encoder=settings,
        layers=(n_layers,),
        frame_stack=1,
        projection=0,
        nlayers_rnn=0,
        nhidden_rnn=1,
        cell_type="GRU",
        vocab_size=30,
    )
    model = EncoderModel(architecture)
    if tuning:
        model.encoder.fine_tuning = FineTuning(**tuning)
    freeze(model, frozen)
    train_mode(model, frozen)
    return model


def peak_bytes(model: EncoderModel, n_clips: int, longest_s: float) -> int:
    """The largest sum of what is allocated in a forward and a backward pass, weights not counted.

    Clips differ a little in length, so that there is padding.
    """
    features = model.encoder.features
    size = (features.frame_size,) if features.frame_size else ()
    lengths = [
        features.n_frames(round(longest_s * features.rate * (1 - i / 50))) for i in range(n_clips)
    ]
    clips = pack_sequence([torch.randn(n, *size) for n in lengths])
    log_posteriors(model, clips)[0].sum().backward()  # gradients of weights are there from now on
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as measured:
        log_posteriors(model, clips)[0].sum().backward()
    total = peak = 0
    for event in measured.profiler.kineto_results.events():
        if event.name() == "[memory]":
            total += event.nbytes()
            peak = max(peak, total)
    return peak


WHISPER = WhisperSettings(n_mels=80, size=64, n_layers=4, n_heads=4, n_hidden=256, n_positions=1500)


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [(), ("encoder",), ("front", "layer 1", "layer 2")])
def test_the_peak_of_a_whisper(frozen):
    check_peaks(make_model(WHISPER, 4, frozen))


@pytest.mark.slow
def test_padded_clips_cost_by_their_number():
    model = make_model(replace(WHISPER, padded=True), 4)
    memory = measure_clip_memory(model, model.encoder.features, device=CPU, precision="fp32")
    for n_clips in 1, 4:
        found = peak_bytes(model, n_clips, 2.0)
        assert 0.9 * found < memory.of_batch(n_clips, 30.0) < 1.8 * found, n_clips


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", ["WAV2VEC2_BASE", "WAV2VEC2_XLSR_300M", "WAVLM_BASE_PLUS"])
def test_the_peak_of_a_bundle(name, checkpointing, tmp_path, monkeypatch):
    """Attention weights that are dropped out are kept: BASE and WavLM grow with the square."""
    make_bundle(monkeypatch, tmp_path, name)
    model = make_model(
        BundleSettings(name=name),
        2,
        (FEATURE_EXTRACTOR,),
        checkpointing=checkpointing,
        layer_drop=0.5,
    )
    check_peaks(model)


def check_peaks(model: EncoderModel) -> None:
    state = torch.get_rng_state()
    memory = measure_clip_memory(model, model.encoder.features, device=CPU, precision="fp32")
    assert torch.equal(torch.get_rng_state(), state)
    if model.encoder.fine_tuning:
        assert model.encoder.fine_tuning.layer_drop == 0.5
        checkpointing = model.encoder.fine_tuning.checkpointing
        model.encoder.fine_tuning = FineTuning(checkpointing=checkpointing)
    for n_clips, longest_s in (1, 2.0), (4, 5.0), (1, 12.0):
        found = peak_bytes(model, n_clips, longest_s)
        assert 0.9 * found < memory.of_batch(n_clips, longest_s) < 1.8 * found, (n_clips, longest_s)
