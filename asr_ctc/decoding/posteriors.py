"""The log posteriors that decoders get, a batch (B, T', V) and its lengths: checked for all, the
blank's lowered for those that penalise it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from asr_ctc.text.units import Units

LOGP_TOLERANCE = 1e-3  # a log probability may exceed zero by this: rounding in half precision


def frames_of_clips(
    logp: torch.Tensor | np.ndarray,
    lengths: torch.Tensor | Sequence[int],
    units: Units,
    *,
    blank_penalty: float = 0.0,
) -> list[np.ndarray]:
    """The valid frames of each clip, (T'_b, V) float64; ValueError for invalid input.

    ``blank_penalty`` is subtracted from the blank's column. Frames past a clip's length are padding
    and may hold anything.
    """
    if isinstance(logp, torch.Tensor):
        logp = logp.detach().cpu().double().numpy()
    logp = np.asarray(logp, dtype=np.float64)
    clips = []
    for clip, length in enumerate(_checked_lengths(logp.shape, lengths, units)):
        frames = logp[clip, :length]
        _refuse_unless_logp(clip, frames.max(initial=-np.inf))
        if blank_penalty:
            frames = frames.copy()
            frames[:, units.blankid] -= blank_penalty
        clips.append(frames)
    return clips


def _checked_lengths(
    shape: Sequence[int], lengths: torch.Tensor | Sequence[int], units: Units
) -> list[int]:
    """The lengths of the clips in frames; ValueError if they do not match ``shape``."""
    if len(shape) != 3:
        raise ValueError(f"logp has shape {tuple(shape)}; needed (clips, frames, classes)")
    n_clips, n_frames, n_classes = shape
    if n_classes != units.vocab_size:
        raise ValueError(f"logp has {n_classes} classes; the units need {units.vocab_size}")

    array = np.asarray(lengths.cpu() if isinstance(lengths, torch.Tensor) else lengths)
    if array.shape != (n_clips,):
        raise ValueError(f"lengths has shape {array.shape}; needed ({n_clips},), one for each clip")
    if n_clips and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"lengths are {array.dtype}; needed integers, in frames")
    for clip, length in enumerate(array.tolist()):
        if not 0 <= length <= n_frames:
            raise ValueError(f"clip {clip} has length {length}; needed 0 to {n_frames} frames")
    return array.tolist()


def _refuse_unless_logp(clip: int, maximum: float) -> None:
    """ValueError if the maximum of a clip, NaN if it holds one, is no log probability."""
    if math.isnan(maximum):
        raise ValueError(f"clip {clip} holds NaN; needed log probabilities")
    if maximum > LOGP_TOLERANCE:
        raise ValueError(f"clip {clip} holds {maximum:.4g}; needed log probabilities, at most 0")


def padded_batch(
    logp: torch.Tensor | np.ndarray,
    lengths: torch.Tensor | Sequence[int],
    units: Units,
    device: torch.device | str,
    *,
    blank_penalty: float = 0.0,
) -> torch.Tensor:
    """All clips on the device, (B, T', V) float64; arguments and ValueError of ``frames_of_clips``.

    Frames past a clip's length are blank with probability 1.
    """
    if not isinstance(logp, torch.Tensor):
        logp = torch.from_numpy(np.array(logp, dtype=np.float64))
    lengths = _checked_lengths(logp.shape, lengths, units)
    logp = logp.detach().to(device).double()
    frame = torch.arange(logp.shape[1], device=device)
    is_padding = frame >= torch.tensor(lengths, device=device)[:, None]
    batch = logp.masked_fill(is_padding[:, :, None], -torch.inf)
    if batch.numel():
        for clip, maximum in enumerate(batch.amax(dim=(1, 2)).tolist()):
            _refuse_unless_logp(clip, maximum)
    batch[:, :, units.blankid].sub_(blank_penalty).masked_fill_(is_padding, 0.0)
    return batch
