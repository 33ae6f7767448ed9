"""Whisper's log-mel: filters, levels and range, by hand and as transformers computes it."""

import numpy as np
import pytest
import torch

from asr_ctc.audio.feature_kinds import features_from_dict
from asr_ctc.audio.whisper_mel import WhisperFeatures, slaney_filters

RATE_HZ = 16_000


def tone(hz: float, seconds: float = 1.0) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return torch.sin(2 * torch.pi * hz * time)


def noise(n_samples: int) -> torch.Tensor:
    return torch.randn(n_samples, generator=torch.Generator().manual_seed(0)) * 0.1


def test_corners_of_the_filters():
    """80 bins: 82 corners, 45.245507 mels to 8 kHz in equal steps, each 66.67 Hz up to 1 kHz."""
    step_hz = (15 + np.log(8) / (np.log(6.4) / 27)) / 81 * 200 / 3
    filters = slaney_filters(400, 80, RATE_HZ)
    bins_hz = np.arange(201) * 40.0
    for number in (0, 7, 20):  # below 1 kHz
        below, peak, above = (step_hz * (number + i) for i in range(3))
        rising, falling = (bins_hz - below) / (peak - below), (above - bins_hz) / (above - peak)
        expected = np.clip(np.minimum(rising, falling), 0, None) * 2 / (above - below)
        assert np.allclose(filters[:, number], expected, atol=1e-8)
    assert filters[-1].abs().max() < 1e-6


def test_every_filter_has_an_area_of_one():
    """In Hz, but for the narrow ones, which the bins of 40 Hz sample coarsely."""
    areas = slaney_filters(4000, 80, RATE_HZ).sum(0) * 4
    assert torch.allclose(areas, torch.ones(80), atol=0.02)


def test_the_loudest_bin_of_a_tone_and_the_range():
    features = WhisperFeatures()
    mel = features.analyser()(tone(1000.0))
    assert mel.shape == (100, 80) and features.n_frames(RATE_HZ) == 100
    filters = slaney_filters(400, 80, RATE_HZ)
    assert int(mel[50].argmax()) == int(filters[25].argmax())  # 1000 Hz is bin 25 of the spectrum
    # The window of 400 has a sum of 200: a sine's peak has the power (200 / 2)².
    power = 100.0**2 * (filters[25] + filters[24] / 4 + filters[26] / 4)
    assert mel[50].max() == pytest.approx(float(power.max().log10() + 4) / 4, abs=1e-3)
    assert mel.max() - mel.min() == pytest.approx(2.0)  # 8 powers of ten, a quarter each


def test_silence_is_the_floor():
    assert torch.equal(WhisperFeatures().analyser()(torch.zeros(1600)), torch.full((10, 80), -1.5))


@pytest.mark.slow
def test_as_transformers_computes_it():
    transformers = pytest.importorskip("transformers")
    samples = noise(37_123)
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    padded = extractor(samples.numpy(), sampling_rate=RATE_HZ, return_tensors="pt")
    expected = padded.input_features[0].T
    mel = WhisperFeatures().analyser()(samples)
    assert mel.shape == (37_123 // 160, 80)
    inside = len(mel) - 2  # the last windows reach into the padding there, ours are reflected
    assert torch.allclose(mel[:inside], expected[:inside], atol=1e-5)


# Frames whose window, 200 samples to both sides, reaches into the clip; 3000 for 30 s and a bit.
PADDED_FRAMES = {
    37_123: 234, 40_000: 252, 40_120: 252, 40_121: 253, 479_641: 3000, 479_800: 3000,
    480_000: 3000, 480_159: 3000, 480_160: 3003, 960_000: 6000,
}  # fmt: skip


def test_frames_of_padded_clips():
    features = WhisperFeatures(padded_to=3000)
    assert [features.n_frames(n_samples) for n_samples in PADDED_FRAMES] == [
        *PADDED_FRAMES.values()
    ]
    for kind in (np.array, torch.tensor):
        assert features.n_frames(kind([*PADDED_FRAMES])).tolist() == [*PADDED_FRAMES.values()]


@pytest.mark.parametrize("n_samples", [37_123, 40_121, 479_700, 480_159])
def test_padded_clips_are_as_transformers_pads_them(n_samples):
    """Every frame that hears the clip; the others are silence."""
    transformers = pytest.importorskip("transformers")
    samples = noise(n_samples)
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    padded = extractor(samples.numpy(), sampling_rate=RATE_HZ, return_tensors="pt")
    expected = padded.input_features[0].T
    features = WhisperFeatures(padded_to=3000)
    mel = features.analyser()(samples)
    assert len(mel) == features.n_frames(n_samples)
    assert torch.allclose(mel, expected[: len(mel)], atol=1e-5)
    assert torch.allclose(expected[len(mel) :], expected.max() - 2.0)


def test_the_kind_is_kept_in_the_model_file():
    assert WhisperFeatures().to_dict() == {"kind": "whisper", "nmels": 80}
    for features in (WhisperFeatures(nmels=128), WhisperFeatures(padded_to=3000)):
        assert features_from_dict(features.to_dict()) == features
    assert WhisperFeatures(padded_to=3000).cache_key() != WhisperFeatures().cache_key()
    with pytest.raises(ValueError, match="unknown kind, 'bark'"):
        features_from_dict({"kind": "bark"})
    with pytest.raises(ValueError, match="nmels must be a whole number of at least 1, found 0"):
        WhisperFeatures(nmels=0)
    with pytest.raises(ValueError, match="padded_to must be a whole number of at least 0, found 1"):
        WhisperFeatures(padded_to=1.5)
