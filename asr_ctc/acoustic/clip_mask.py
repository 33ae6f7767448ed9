"""Which frames of a padded batch are inside their clips."""

import torch


def inside(
    lengths: torch.Tensor, n_frames: int, device: torch.device | None = None
) -> torch.Tensor:
    """Mask (B, T), true for the frames inside each clip; on ``device``, or on that of lengths."""
    lengths = lengths.to(device or lengths.device)
    return torch.arange(n_frames, device=lengths.device) < lengths[:, None]
