"""Long recordings in pieces that fit the model: cut at pauses, joined where it is silent.

Models are trained on single sentences, so a piece is what lies between two pauses. Neighbouring
pieces both hear the pause between them, or two seconds where there is none. The seam lies where
neither hears a label, so that no word is lost and none comes twice.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

SHORTEST_S, LONGEST_S = 1.0, 20.0  # a piece, its overlaps not counted
PAUSE_S = 0.4  # between utterances; within a sentence few pauses last as long
QUIET_S = 0.3  # where there is no such pause, the quietest stretch of this length
CONTEXT_S = 1.0  # heard beyond a cut, or as much of it as the pause lasts
SEAM_S = 0.2  # the silence that a seam looks for
FLOOR = 1e-10  # -100 dBFS


class Piece(NamedTuple):
    """Samples (S,) of a recording from sample ``first`` on; its own part starts at ``start``."""

    samples: np.ndarray
    first: int
    start: int
    is_last: bool


class Cut(NamedTuple):
    """The end of a piece at sample ``at``. It hears up to ``until``, the next from ``since`` on."""

    since: int
    at: int
    until: int


def cut(blocks: Iterable[np.ndarray], rate: int, grain: int) -> Iterator[Piece]:
    """The pieces of a recording that comes in blocks of samples (S,) at ``rate`` Hz.

    A recording of up to 20 s is one piece. A longer one is cut in the middle of each pause of 400
    ms or more, and where 20 s hold none, where they are quietest. Pieces start at multiples of
    ``grain`` samples, so that their output frames fall together.
    """
    longest, context = round(LONGEST_S * rate), round(CONTEXT_S * rate)
    first = start = 0  # of the buffer, which the next piece hears, and of the piece's own part
    buffer = np.zeros(0, np.float32)
    for block in itertools.chain(blocks, [None]):
        is_end = block is None
        buffer = buffer if is_end else np.concatenate([buffer, block])
        while len(buffer) - (start - first) > longest + context or (is_end and start):
            at = start - first
            found = find_cut(buffer[at : at + longest + context], rate)
            if found is None:
                break
            since, middle, until = (at + samples // grain * grain for samples in found)
            yield Piece(buffer[:until], first, start, False)
            start = first + middle
            buffer, first = buffer[since:], first + since
    yield Piece(buffer, first, start, True)


def find_cut(samples: np.ndarray, rate: int) -> Cut | None:
    """Where the piece that starts with samples (S,) ends.

    In the middle of the next pause that leaves it a second; else in the middle of its quietest 300
    ms, the last of several. None when there is no pause in less than 21 s: the piece may be the
    last. Quiet is what lies nearer to the level of the quiet parts than to that of the loud ones
    (10th and 90th percentile).
    """
    step = rate // 100
    power = np.square(samples[: len(samples) // step * step], dtype=np.float64)
    power = power.reshape(-1, step).mean(axis=1) + FLOOR
    level_db = 10 * np.log10(power)
    per_s = rate / step
    shortest, context = round(SHORTEST_S * per_s), round(CONTEXT_S * per_s)
    last = len(level_db) - context
    is_quiet = level_db <= np.percentile(level_db, [10, 90]).mean()
    edges = np.flatnonzero(np.diff(is_quiet, prepend=False, append=False)).reshape(-1, 2)
    for begin, end in edges.tolist():
        middle = (begin + end) // 2
        is_next = begin > 0  # the piece may start in the rest of a pause
        if is_next and end - begin >= PAUSE_S * per_s and shortest <= middle <= last:
            since, until = max(begin, middle - context), min(end, middle + context)
            return Cut(since * step, middle * step, until * step)
    if len(samples) < round((LONGEST_S + CONTEXT_S) * rate):
        return None
    n_quiet = round(QUIET_S * per_s)
    around = np.convolve(power[shortest:last], np.ones(n_quiet), "valid")[::-1]
    middle = last - int(around.argmin()) - n_quiet // 2
    return Cut((middle - context) * step, middle * step, (middle + context) * step)


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
