"""Masks of the frames that a transformer reads while it is fine-tuned, in spans as published.

Baevski et al. 2020, "wav2vec 2.0", appendix B: spans of 10 frames and of 64 channels that may
overlap, drawn as fairseq's ``compute_mask_indices`` draws them. They are not those of SpecAugment,
whose masks of log-mels have widths of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class SpanMasks:
    """How much is masked: shares of the frames and of the channels, overlaps counted twice.

    A share of 0.65 in spans of 10 starts 0.065 · T spans in T frames: about half of the frames.
    ValueError for a share outside 0 to 1 and for spans shorter than 1.
    """

    time_share: float = 0.0
    time_span: int = 10
    channel_share: float = 0.0
    channel_span: int = 64

    def __post_init__(self) -> None:
        for name in ("time_share", "channel_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, found {getattr(self, name)}")
        for name in ("time_span", "channel_span"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")

    def __call__(
        self, frames: torch.Tensor, lengths: torch.Tensor, fill: torch.Tensor | float = 0.0
    ) -> torch.Tensor:
        """Frames (B, T, D) with spans of time set to ``fill`` (D,), spans of channels to zero.

        The draws are those of torch's generator of the CPU, whose state a run saves.
        """
        n_clips, _, n_channels = frames.shape
        if self.time_share:
            masked = draw_spans(lengths.tolist(), self.time_share, self.time_span)
            masked = torch.nn.functional.pad(masked, (0, frames.shape[1] - masked.shape[1]))
            fill = torch.as_tensor(fill, dtype=frames.dtype, device=frames.device)
            frames = torch.where(masked.to(frames.device)[:, :, None], fill, frames)
        if self.channel_share:
            masked = draw_spans([n_channels] * n_clips, self.channel_share, self.channel_span)
            frames = frames.masked_fill(masked.to(frames.device)[:, None, :], 0.0)
        return frames


def draw_spans(sizes: list[int], share: float, span: int) -> torch.Tensor:
    """Mask (B, max(sizes)) of share · size / span spans in each row, a fraction being a chance."""
    masked = torch.zeros(len(sizes), max(sizes), dtype=torch.bool)
    for row, size in enumerate(sizes):
        width = min(span, size)
        n_starts = size - width + 1
        n_spans = min(int(share * size / span + float(torch.rand(()))), n_starts)
        starts = torch.randperm(n_starts)[:n_spans]
        masked[row, (starts[:, None] + torch.arange(width)).flatten()] = True
    return masked
