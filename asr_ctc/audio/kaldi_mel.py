"""Mels as Kaldi computes them, in pairs: what w2v-BERT 2.0 reads.

Barrault et al. 2023, "Seamless: Multilingual expressive and streaming speech translation". The
numbers are those of transformers' SeamlessM4TFeatureExtractor.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from asr_ctc.audio.features import Features, Lengths
from asr_ctc.audio.log_mel import triangles

WINDOW, HOP, N_FFT = 400, 160, 512  # samples: 25 ms every 10 ms at 16 kHz
FULL_SCALE = 2**15  # of samples of 16 bits
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
POVEY_POWER = 0.85
FLOOR = 2.0**-23
VARIANCE_FLOOR = 1e-7


def kaldi_filters(n_mels: int, rate: int) -> torch.Tensor:
    """Triangles (N_FFT // 2 + 1, n_mels), float64, that are straight on the mel scale."""

    def mel(hz: torch.Tensor) -> torch.Tensor:
        return 1127.0 * torch.log1p(hz / 700.0)

    lowest, highest = mel(torch.tensor([LOWEST_HZ, rate // 2], dtype=torch.float64)).tolist()
    corners = torch.linspace(lowest, highest, n_mels + 2, dtype=torch.float64)
    bins = mel(torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * (rate / N_FFT))
    return triangles(corners, bins)


def kaldi_mel(waveform: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Natural logarithms (T, F) of the mel powers of samples (S,), T = (S - 400) // 160 + 1."""
    frames = (waveform.double() * FULL_SCALE).unfold(0, WINDOW, HOP)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = frames - PREEMPHASIS * before
    window = torch.hann_window(WINDOW, periodic=False, dtype=torch.float64) ** POVEY_POWER
    power = torch.fft.rfft(frames * window, N_FFT).abs().square()
    return (power @ filters).clamp(min=FLOOR).log().float()


@dataclass(frozen=True, kw_only=True)
class KaldiMelFeatures(Features):
    """Kaldi's mels (T, stride · nmels): ``stride`` frames of 10 ms in a row are one.

    Each mel bin of a clip has mean 0 and variance 1. What is left over at the end is dropped.
    ValueError for impossible numbers.
    """

    kind = "kaldi-mel"
    is_scaled = True
    rate: int = 16_000  # type: ignore[misc]  # a kind has it as a constant, or as a field
    nmels: int = 80
    stride: int = 2

    def __post_init__(self) -> None:
        if self.rate != 16_000:
            raise ValueError(f"rate must be 16000, found {self.rate!r}")
        for name in ("nmels", "stride"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 256:
                raise ValueError(f"{name} must be a whole number from 1 to 256, found {value!r}")

    @property
    def hop(self) -> int:
        return HOP * self.stride

    @property
    def min_samples(self) -> int:
        return WINDOW + HOP * (max(2, self.stride) - 1)  # a variance needs two frames

    @property
    def frame_size(self) -> int:
        return self.nmels * self.stride

    @property
    def centre_samples(self) -> float:
        """The sample on which the first frame is centred."""
        return (WINDOW - 1 + HOP * (self.stride - 1)) / 2

    def n_frames(self, n_samples: Lengths) -> Lengths:
        return ((n_samples - WINDOW) // HOP + 1) // self.stride

    def cache_key(self) -> dict:
        return {"kind": self.kind, "nmels": self.nmels, "stride": self.stride, "rate": self.rate}

    def analyser(self) -> Callable[[torch.Tensor], torch.Tensor]:
        filters = kaldi_filters(self.nmels, self.rate)

        def analyse(waveform: torch.Tensor) -> torch.Tensor:
            mels = kaldi_mel(waveform, filters)
            variance, mean = torch.var_mean(mels, dim=0)
            mels = (mels - mean) / (variance + VARIANCE_FLOOR).sqrt()
            n_frames = len(mels) // self.stride
            return mels[: n_frames * self.stride].reshape(n_frames, self.frame_size)

        return analyse

    def __str__(self) -> str:
        return f"{self.nmels} mel bins as Kaldi's, {self.stride} frames in a row, {self.rate} Hz"
