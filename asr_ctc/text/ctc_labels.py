"""How many output frames CTC needs for labels."""

from collections.abc import Sequence
from itertools import pairwise


def frames_needed(labels: Sequence[int]) -> int:
    """Output frames that CTC needs: one per label, and a blank between equal neighbours."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def infeasible(labels: Sequence[int], n_output_frames: int) -> str | None:
    """Why CTC cannot learn these labels in so many output frames; None when it can."""
    needed = frames_needed(labels)
    if needed <= n_output_frames:
        return None
    return f"transcript too long for its audio: {needed} output frames needed of {n_output_frames}"
