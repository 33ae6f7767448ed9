"""Which frames of a padded batch are inside their clips."""

import torch


def inside(
    lengths: torch.Tensor, n_frames: int, device: torch.device | None = None
) -> torch.Tensor:
    """Mask (B, T), true for the frames inside each clip; on ``device``, or on that of lengths."""
    lengths = lengths.to(device or lengths.device)
    return torch.arange(n_frames, device=lengths.device) < lengths[:, None]


def frame_mask(n_frames: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Mask (B, 1, T, 1) of x's type: one inside each clip of x (B, C, T, F), zero past its end."""
    return inside(n_frames, x.shape[2], x.device).to(x.dtype)[:, None, :, None]
