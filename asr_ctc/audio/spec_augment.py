"""SpecAugment: masks in frequency and in time, and time warping, of log-mel spectrograms.

Park et al. 2019, "SpecAugment: a simple data augmentation method for speech recognition".
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch


def spec_augment(
    features: torch.Tensor,
    *,
    n_freq_masks: int,
    max_freq_bins: int,
    n_time_masks: int,
    max_time_frames: int,
    fill: float,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """A copy of one clip's spectrogram (T, F) with bands of bins and spans of frames at ``fill``.

    Each mask's width is uniform in 0..max (at most the clip itself), its place uniform where it
    fits. Source: Park et al. 2019, "SpecAugment".
    """
    masked = features.clone()
    n_frames, n_bins = features.shape

    def spans(count: int, widest: int, size: int) -> Iterator[slice]:
        for _ in range(count):
            width = _uniform(min(widest, size), generator)
            start = _uniform(size - width, generator)
            yield slice(start, start + width)

    for span in spans(n_freq_masks, max_freq_bins, n_bins):
        masked[:, span] = fill
    for span in spans(n_time_masks, max_time_frames, n_frames):
        masked[span] = fill
    return masked


def time_warp(
    features: torch.Tensor, max_frames: int, generator: torch.Generator | None = None
) -> torch.Tensor:
    """One clip's spectrogram (T, F), slower before a frame and faster after it, or the other way.

    The frame, uniform where it is more than ``max_frames`` from both ends, moves by up to
    ``max_frames``; the ends stay, and what lies between is stretched evenly. Clips that have no
    such frame come back as they are. Source: Park et al. 2019, "SpecAugment".
    """
    last = len(features) - 1
    n_frames_to_draw = last - 1 - 2 * max_frames
    if max_frames == 0 or n_frames_to_draw < 1:
        return features
    frame = max_frames + 1 + _uniform(n_frames_to_draw - 1, generator)
    moved = frame - max_frames + _uniform(2 * max_frames, generator)
    places = np.interp(np.arange(last + 1), [0, moved, last], [0, frame, last])
    before = np.minimum(places.astype(np.int64), last - 1)
    weight = torch.from_numpy((places - before).astype(np.float32))[:, None]
    index = torch.from_numpy(before)
    return torch.lerp(features[index], features[index + 1], weight)


def _uniform(highest: int, generator: torch.Generator | None) -> int:
    """A whole number in 0..highest, both included."""
    return int(torch.randint(0, highest + 1, (), generator=generator))


@dataclass(frozen=True, kw_only=True)
class SpecAugment:
    """How ``spec_augment`` and ``time_warp`` change each training clip.

    max_freq_share: widest mask in frequency, as a share of the mel bins; max_time_s: longest mask
    in time; max_warp_s: farthest shift of the time warp, 0 for none. Times are in seconds.
    ValueError for impossible ones.
    """

    n_freq_masks: int = 1
    max_freq_share: float = 0.25
    n_time_masks: int = 1
    max_time_s: float = 0.1
    max_warp_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("n_freq_masks", "n_time_masks", "max_time_s", "max_warp_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, found {getattr(self, name)!r}")
        if not 0 <= self.max_freq_share <= 1:
            raise ValueError(f"max_freq_share must be in 0..1, found {self.max_freq_share!r}")

    def __call__(
        self,
        features: torch.Tensor,
        *,
        step_s: float,
        fill: float,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """A clip's spectrogram (T, F), a frame per ``step_s``, warped, then masked by ``fill``."""
        return spec_augment(
            time_warp(features, round(self.max_warp_s / step_s), generator),
            n_freq_masks=self.n_freq_masks,
            max_freq_bins=int(self.max_freq_share * features.shape[1]),
            n_time_masks=self.n_time_masks,
            max_time_frames=round(self.max_time_s / step_s),
            fill=fill,
            generator=generator,
        )
