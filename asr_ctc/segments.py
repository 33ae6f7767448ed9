"""Long recordings in pieces that fit the model: cut where it is quiet, joined where it is silent.

Neighbouring pieces overlap by two seconds. Each frame is taken from the piece that hears more
around it, and the seam lies where both hear nothing, so that no word is lost and none comes twice.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

SHORTEST_S, LONGEST_S = 8.0, 20.0  # a piece, its overlaps not counted
CONTEXT_S = 1.0  # heard on either side of a cut
QUIET_S = 0.3  # the pause that a cut looks for
SEAM_S = 0.2  # the silence that a seam looks for
FLOOR = 1e-10  # -100 dBFS


class Piece(NamedTuple):
    """Samples (S,) of a recording from sample ``first`` on; its own part starts at ``start``."""

    samples: np.ndarray
    first: int
    start: int
    is_last: bool


def cut(blocks: Iterable[np.ndarray], rate: int, grain: int) -> Iterator[Piece]:
    """The pieces of a recording that comes in blocks of samples (S,) at ``rate`` Hz.

    A piece of 8 to 20 s ends where the recording is quietest, and is heard a second longer on
    either side. The last takes what is left, a second at least if it is not the only one. Pieces
    start at multiples of ``grain`` samples, so that their output frames fall together.
    """
    shortest, longest, context = (
        round(seconds * rate) // grain * grain for seconds in (SHORTEST_S, LONGEST_S, CONTEXT_S)
    )
    first = start = 0  # of the buffer, of the next piece
    buffer = np.zeros(0, np.float32)
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while first + len(buffer) > start + longest + context:
            at = start - first
            end = at + shortest + quietest(buffer[at + shortest : at + longest], rate)
            end = end // grain * grain
            yield Piece(buffer[: end + context], first, start, False)
            start = first + end
            dropped = max(0, end - context)
            buffer, first = buffer[dropped:], first + dropped
    yield Piece(buffer, first, start, True)


def quietest(samples: np.ndarray, rate: int) -> int:
    """The middle of the quietest 300 ms of samples (S,), by their energy in steps of 10 ms."""
    step = rate // 100
    blocks = samples[: len(samples) // step * step].reshape(-1, step)
    power = np.square(blocks, dtype=np.float64).mean(axis=1) + FLOOR
    n_quiet = round(QUIET_S * rate / step)
    around = np.convolve(power, np.ones(n_quiet), "valid")
    return int((around.argmin() + n_quiet / 2) * step)


def seam(left: torch.Tensor, right: torch.Tensor, middle: int, blank: int, frame_s: float) -> int:
    """The frame from which on the right piece is believed.

    ``left`` and ``right`` (T', V) are the log posteriors of the two pieces over the frames that
    both hear, ``frame_s`` seconds apart; ``middle`` is the frame of the cut. Of the middle half, it
    is the frame around which, for 200 ms, both are surest of blanks; of equals, the nearest to the
    cut.
    """
    n_around = round(SEAM_S / frame_s / 2)
    sure = (left[:, blank] + right[:, blank]).double().numpy()
    padded = np.pad(sure, n_around, constant_values=sure.min())
    worst = np.lib.stride_tricks.sliding_window_view(padded, 2 * n_around + 1).min(axis=1)
    frames = np.arange(len(left) // 4, len(left) - len(left) // 4)
    order = np.lexsort([np.abs(frames - middle), -np.round(worst[frames], 1)])
    return int(frames[order[0]])
