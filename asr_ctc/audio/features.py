"""What a model hears of a waveform: the kinds of features, each one frozen settings object."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

Lengths = TypeVar("Lengths", int, np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class Features:
    """What the numbers of a clip's features follow from: in the model file, in a cache's name.

    A kind has, as fields, properties or constants: kind, its name in the model file; rate, samples
    per second; hop, samples from one frame to the next; min_samples, those of the shortest waveform
    that can be analysed; frame_size, numbers F of a frame. centre: float16, in which a cache keeps
    features, is finest there. is_scaled: they need no normalisation over a corpus. stretch: frames
    of a clip are at most so many times those that its duration gives. clip_norm, clip_range_db: how
    a clip is normalised by itself, see ``log_mel.normalize_clip``; a cache keeps it as it was.
    """

    kind: ClassVar[str]
    centre: ClassVar[float] = 0.0
    is_scaled: ClassVar[bool] = False
    stretch: ClassVar[Any] = 1.0
    clip_norm: ClassVar[Any] = "none"
    clip_range_db: ClassVar[Any] = None
    rate: ClassVar[Any]
    hop: ClassVar[Any]
    min_samples: ClassVar[Any]
    frame_size: ClassVar[Any]

    def n_frames(self, n_samples: Lengths) -> Lengths:
        """Frames T of a waveform of S samples (an int, or an array or tensor of them)."""
        raise NotImplementedError

    def centres_hz(self) -> torch.Tensor | None:
        """The frequencies (F,) of the numbers of a frame; None where they are no single bands."""
        return None

    def cache_key(self) -> dict:
        """What the numbers follow from: a cache of other ones is another cache."""
        raise NotImplementedError

    def analyser(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The function from a waveform (S,) to its features (T, F)."""
        raise NotImplementedError

    def to_dict(self) -> dict:
        """Plain values for the model file, the kind among them where it is not the first one."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values if self.kind == "log-mel" else {"kind": self.kind, **values}

    def earlier(self) -> "Features":
        """What model files of earlier versions have, and keep, where these are needed now."""
        return self
