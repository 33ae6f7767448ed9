"""Whether labels fit into the output frames of CTC, and how many they need."""

from collections.abc import Sequence
from itertools import pairwise


def frames_needed(labels: Sequence[int]) -> int:
    """Output frames that CTC needs: one per label, and a blank between equal neighbours."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def infeasible(labels: Sequence[int], n_output_frames: int) -> str | None:
    """Why CTC cannot align these labels with ``n_output_frames`` frames; None if it can."""
    needed = frames_needed(labels)
    if needed <= n_output_frames:
        return None
    return f"transcript too long for its audio: {needed} output frames needed of {n_output_frames}"
