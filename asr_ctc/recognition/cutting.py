"""Long recordings in pieces that fit the model: cut at pauses, joined where it is silent.

Models are trained on single sentences, so a piece is what lies between two pauses, with as little
silence around it as such clips have: in more of it models lose the ends of words. Where there is no
pause neighbouring pieces both hear two seconds, and the seam lies where neither hears a label, so
that no word is lost and none comes twice.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

SHORTEST_S, LONGEST_S = 1.0, 20.0  # a piece, its overlaps not counted
EDGE_S = 0.25  # of a pause, heard by the piece before it and by the one after it
PAUSE_S = 2 * EDGE_S  # between utterances; within a sentence few pauses last as long
QUIET_SHARE = 0.25  # of the range from the quiet parts to the loud ones, in dB
QUIET_S = 0.3  # where there is no such pause, the quietest stretch of this length
CONTEXT_S = 1.0  # heard beyond a cut where there is no pause
SEAM_S = 0.2  # the silence that a seam looks for
FLOOR = 1e-10  # -100 dBFS


class Piece(NamedTuple):
    """Samples (S,) of a recording from sample ``first`` on; its own part starts at ``start``.

    What lies between the two was heard by the piece before as well.
    """

    samples: np.ndarray
    first: int
    start: int
    is_last: bool


class Cut(NamedTuple):
    """A piece hears up to ``until``; the next one hears from ``since`` on, and starts at ``at``."""

    until: int
    since: int
    at: int


def cut_at_pauses(blocks: Iterable[np.ndarray], rate: int, grain: int) -> Iterator[Piece]:
    """The pieces of a recording that comes in blocks of samples (S,) at ``rate`` Hz.

    A recording of up to 20 s is one piece. A longer one is cut at each pause of half a second or
    more, of which nobody hears but the edges, and where 20 s hold none, where they are quietest.
    Pieces start at multiples of ``grain`` samples, so that their output frames fall together.
    """
    longest, context = round(LONGEST_S * rate), round(CONTEXT_S * rate)
    first = start = 0  # of the buffer, which the next piece hears, and of the piece's own part
    buffer = np.zeros(0, np.float32)
    for block in itertools.chain(blocks, [None]):
        is_end = block is None
        buffer = buffer if is_end else np.concatenate([buffer, block])
        while len(buffer) - (start - first) > longest + context or (is_end and start):
            at = start - first
            cut = find_cut(buffer[at : at + longest + context], rate)
            if cut is None:
                break
            until = at + cut.until
            since, next_start = (at + n // grain * grain for n in (cut.since, cut.at))
            if until > at:
                yield Piece(buffer[:until], first, start, False)
            start = first + next_start
            buffer, first = buffer[since:], first + since
    yield Piece(buffer, first, start, True)


def find_cut(samples: np.ndarray, rate: int) -> Cut | None:
    """Where the piece that starts with samples (S,) ends.

    At the next pause that leaves it a second; at once when it starts with a long one, and is none.
    Else in the middle of its quietest 300 ms, the last of several. None when there is no pause in
    less than 21 s: the piece may be the last. Quiet is what lies in the lowest quarter of the
    levels, from that of the quiet parts to that of the loud ones (5th and 95th percentile), and
    digital silence, which no microphone makes: of it not even the edges are heard.
    """
    step = rate // 100
    power = np.square(samples[: len(samples) // step * step], dtype=np.float64)
    power = power.reshape(-1, step).mean(axis=1) + FLOOR
    level_db = 10 * np.log10(power)
    per_s = rate / step
    shortest, context = round(SHORTEST_S * per_s), round(CONTEXT_S * per_s)
    last = len(level_db) - context
    is_sound = power > FLOOR
    is_quiet = ~is_sound
    if is_sound.any():
        quiet_db, loud_db = np.percentile(level_db[is_sound], [5, 95])
        is_quiet |= level_db < quiet_db + QUIET_SHARE * (loud_db - quiet_db)
    edges = np.flatnonzero(np.diff(is_quiet, prepend=False, append=False)).reshape(-1, 2)
    edge = round(EDGE_S * per_s)
    for begin, end in edges.tolist():
        until = begin + _n_leading(is_sound[begin : begin + edge])
        since = end - edge
        if end < len(power):
            since = end - _n_leading(is_sound[max(0, since) : end][::-1])
            since = min(since, len(power) - edge)  # the last piece is not shorter
        if begin == 0 and since >= context:
            return Cut(0, since * step, since * step)
        if end - begin >= PAUSE_S * per_s and shortest <= until <= last:
            return Cut(until * step, since * step, since * step)
    if len(samples) < round((LONGEST_S + CONTEXT_S) * rate):
        return None
    n_quiet = round(QUIET_S * per_s)
    around = np.convolve(power[shortest:last], np.ones(n_quiet), "valid")[::-1]
    middle = last - int(around.argmin()) - n_quiet // 2
    return Cut((middle + context) * step, (middle - context) * step, middle * step)


def _n_leading(mask: np.ndarray) -> int:
    """How many are true before the first that is not."""
    return len(mask) if mask.all() else int(mask.argmin())


def find_seam(
    left: torch.Tensor, right: torch.Tensor, *, middle: int, blank: int, frame_s: float
) -> int:
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
