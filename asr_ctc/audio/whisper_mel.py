"""Whisper's log-mel spectrograms: Radford et al. 2022, "Robust speech recognition via large-scale
weak supervision"."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch.nn.functional import pad

from asr_ctc.audio.features import Features, Lengths
from asr_ctc.audio.log_mel import POWER_FLOOR, bins_hz, power_spectra, triangles

N_FFT = 400  # samples of a window, 25 ms

LINEAR_HZ, LINEAR_STEP_HZ = 1000.0, 200.0 / 3.0  # below 1 kHz a mel of Slaney's is so many Hz
LOG_STEP = math.log(6.4) / 27.0  # above it, the logarithm of the ratio of two mels
RANGE = 8.0  # powers of ten below the clip's maximum


def slaney_filters(n_fft: int, n_mels: int, rate: int) -> torch.Tensor:
    """Triangles (n_fft // 2 + 1, n_mels) of equal area on Slaney's mel scale, from 0 to rate / 2.

    Slaney 1998, "Auditory Toolbox"; the scale is linear below 1 kHz and logarithmic above.
    """
    corners_hz = slaney_corners_hz(n_mels, rate)
    areas = 2.0 / (corners_hz[2:] - corners_hz[:-2])
    return (triangles(corners_hz, bins_hz(n_fft, rate)) * areas).float()


def slaney_corners_hz(n_mels: int, rate: int) -> torch.Tensor:
    """The corners (n_mels + 2,) of ``slaney_filters``, float64."""
    linear_mels = LINEAR_HZ / LINEAR_STEP_HZ
    highest_mel = linear_mels + math.log(rate / 2 / LINEAR_HZ) / LOG_STEP
    mels = torch.linspace(0.0, highest_mel, n_mels + 2, dtype=torch.float64)
    above = LINEAR_HZ * torch.exp(LOG_STEP * (mels - linear_mels))
    return torch.where(mels < linear_mels, LINEAR_STEP_HZ * mels, above)


def whisper_mel(
    waveform: torch.Tensor, *, window: torch.Tensor, hop: int, filters: torch.Tensor
) -> torch.Tensor:
    """The spectrogram (S // hop, F) of a clip (S,): log10 of the power, scaled to about -1.5..1.5.

    What is more than 8 powers of ten below the clip's maximum is raised to that floor.
    """
    power = power_spectra(waveform[None], window, hop)[0, :-1]
    levels = (power @ filters).clamp_(min=POWER_FLOOR).log10_()
    levels = torch.maximum(levels, levels.max() - RANGE)
    return levels.add_(4.0).div_(4.0)


@dataclass(frozen=True, kw_only=True)
class WhisperFeatures(Features):
    """Whisper's log-mel of ``nmels`` bins: windows of 25 ms every 10 ms at 16 kHz.

    padded_to: a clip is padded with zeros to a multiple of so many frames, as in Whisper's training
    to 3000; kept are those whose window reaches into the clip, of a full multiple no more than it
    has. 0: a clip has its own frames, its end reflected. ValueError for impossible numbers.
    """

    kind = "whisper"
    rate = 16_000
    hop = 160
    min_samples = N_FFT
    is_scaled = True
    nmels: int = 80
    padded_to: int = 0

    def __post_init__(self) -> None:
        for name, least in (("nmels", 1), ("padded_to", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(
                    f"{name} must be a whole number of at least {least}, found {value!r}"
                )

    @property
    def frame_size(self) -> int:
        return self.nmels

    def n_frames(self, n_samples: Lengths) -> Lengths:
        n_own = n_samples // self.hop
        if not self.padded_to:
            return n_own
        n_reached = -(-(n_samples + N_FFT // 2) // self.hop)
        surplus = n_reached + -n_own // self.padded_to * self.padded_to
        return n_reached - surplus * (surplus > 0)  # for a number, an array or a tensor

    def to_dict(self) -> dict:
        """The fields; not ``padded_to`` where it is 0, as in files of earlier versions."""
        return {name: value for name, value in super().to_dict().items() if value != 0}

    def earlier(self) -> "WhisperFeatures":
        return replace(self, padded_to=0)

    def centres_hz(self) -> torch.Tensor:
        return slaney_corners_hz(self.nmels, self.rate)[1:-1].float()

    def cache_key(self) -> dict:
        return {**self.to_dict(), "rate": self.rate}

    def analyser(self) -> Callable[[torch.Tensor], torch.Tensor]:
        window, filters = torch.hann_window(N_FFT), slaney_filters(N_FFT, self.nmels, self.rate)
        analyse = partial(whisper_mel, window=window, hop=self.hop, filters=filters)
        return partial(self._analyse_padded, analyse) if self.padded_to else analyse

    def _analyse_padded(
        self, analyse: Callable[[torch.Tensor], torch.Tensor], waveform: torch.Tensor
    ) -> torch.Tensor:
        # What is reflected at this end is zeros too, but at that of a full multiple, as Whisper's.
        n_samples = self.n_frames(len(waveform)) * self.hop
        return analyse(pad(waveform, (0, n_samples - len(waveform))))

    def __str__(self) -> str:
        return f"{self.nmels} mel bins as Whisper's, {self.rate} Hz"
