"""Samples as features: what encoders read that have convolutions of their own."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from asr_ctc.audio.features import Features, Lengths

MOST_HZ, MOST_SAMPLES = 192_000, 1 << 20  # beyond these a model file is damaged, or made to harm


@dataclass(frozen=True, kw_only=True)
class SampleFeatures(Features):
    """The waveform itself, (S,). min_samples: those of the shortest clip that the encoder reads.

    ValueError for impossible numbers.
    """

    kind = "samples"
    is_scaled = True
    hop = 1
    frame_size = 0
    rate: int = 16_000  # type: ignore[misc]  # a kind has it as a constant, or as a field
    min_samples: int = 400  # type: ignore[misc]

    def __post_init__(self) -> None:
        for name, most in ("rate", MOST_HZ), ("min_samples", MOST_SAMPLES):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} must be a whole number in 1..{most}, found {value!r}")

    def n_frames(self, n_samples: Lengths) -> Lengths:
        return n_samples

    def cache_key(self) -> dict:
        return {"kind": self.kind, "rate": self.rate}

    def analyser(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda waveform: waveform

    def __str__(self) -> str:
        return f"samples, {self.rate} Hz"
