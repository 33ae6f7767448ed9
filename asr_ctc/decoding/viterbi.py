"""The likeliest path of known labels through CTC's lattice: Viterbi, compiled, in little memory.

U labels have states at places u = 0..U: ``spoken[u]`` is label u (none at 0), and ``blanks[u]`` the
blank after it. A frame adds its log probability to the best predecessor's score:

    spoken'[u]  from  spoken[u], blanks[u - 1], or spoken[u - 1] where the two labels differ
    blanks'[u]  from  blanks[u], spoken[u]

(Graves et al. 2006, "Connectionist temporal classification"). Storing each state's predecessor
would take a byte per frame and label. Instead only the scores before each block of frames are
stored. Backtracking computes the blocks again, last first, and of each only the places from which
the path's end in it can be reached: as many as the block has frames.
"""

import math

import numba
import numpy as np

from asr_ctc.base.compiled import compiled

SIGNATURE = numba.types.Tuple((numba.int64[::1], numba.float64))(
    numba.types.Array(numba.float32, 2, "C", readonly=True),
    *(numba.int64[::1], numba.int64, numba.int64),
)
# The predecessor of spoken[u]; SPOKEN is added if the predecessor of blanks[u] is spoken[u].
STAYED, FROM_BLANK, SKIPPED_BLANK, SPOKEN = 0, 1, 2, 4


def block_length(n_frames: int) -> int:
    """Frames per block, such that there are few blocks and each is small."""
    return 4 * (math.isqrt(n_frames) + 1)


def memory_bytes(n_frames: int, n_labels: int) -> int:
    """Memory of ``best_states``: the scores before each block, and one block's predecessors."""
    block = block_length(n_frames)
    n_scores = math.ceil(n_frames / block) * 2 * (n_labels + 1)
    return n_scores * np.dtype(np.float64).itemsize + block * block


@numba.njit
def _step(
    before: np.ndarray,
    after: np.ndarray,
    logp: np.ndarray,
    labels: np.ndarray,
    skips: np.ndarray,
    blank: int,
    lowest: int,
    highest: int,
    choices: np.ndarray,
    first: int,
) -> None:
    """One frame, for places lowest..highest; ``choices[u - first]`` are the predecessors of u."""
    blanks, spoken = before
    new_blanks, new_spoken = after
    if lowest == 0:
        new_blanks[0] = blanks[0] + logp[blank]
        choices[0] = STAYED
    for u in range(max(lowest, 1), highest + 1):
        best, choice = spoken[u], STAYED
        if blanks[u - 1] > best:
            best, choice = blanks[u - 1], FROM_BLANK
        skipped = spoken[u - 1] + skips[u]
        if skipped > best:
            best, choice = skipped, SKIPPED_BLANK
        new_spoken[u] = best + logp[labels[u]]
        best = blanks[u]
        if spoken[u] > best:
            best, choice = spoken[u], choice + SPOKEN
        new_blanks[u] = best + logp[blank]
        choices[u - first] = choice


@compiled(SIGNATURE, "the alignment of texts")
def best_states(
    logp: np.ndarray, targets: np.ndarray, blank: int, block: int
) -> tuple[np.ndarray, float]:
    """(states (T,), log probability) of the likeliest path of ``targets`` (U,) through logp (T, V).

    Odd state 2u - 1 is label u, counted from 1, and even state 2u the blank after it. Of equally
    likely paths it is the one with the earliest last label, then the earliest label before, and so
    on. If no path is possible, the log probability is -inf and the states are meaningless. A block
    has ``block`` frames; any number gives the same result. ``logp`` may hold -inf, but no NaN or
    +inf.
    """
    n_frames, n_places = len(logp), len(targets) + 1
    labels = np.full(n_places, blank)
    labels[1:] = targets
    skips = np.zeros(n_places)
    for u in range(1, n_places):
        if labels[u] == labels[u - 1]:
            skips[u] = -math.inf

    block_scores = np.empty(((n_frames + block - 1) // block, 2, n_places))
    choices = np.empty(n_places, np.uint8)
    before = np.full((2, n_places), -math.inf)
    after = before.copy()
    before[0, 0] = 0.0
    for t in range(n_frames):
        if t % block == 0:
            block_scores[t // block] = before
        lowest, highest = max(0, n_places - n_frames + t), min(t + 1, n_places - 1)
        _step(before, after, logp[t], labels, skips, blank, lowest, highest, choices, 0)
        before, after = after, before

    end = n_places - 1
    is_spoken = before[1, end] > before[0, end]
    total = max(before[0, end], before[1, end])
    states = np.empty(n_frames, np.int64)
    block_choices = np.empty((block, block), np.uint8)
    for number in range(len(block_scores) - 1, -1, -1):
        start, stop = number * block, min(n_frames, (number + 1) * block)
        first = max(0, end - (stop - 1 - start))
        reached_from = max(0, first - 1)
        before[:, reached_from : end + 1] = block_scores[number, :, reached_from : end + 1]
        for t in range(start, stop):
            row, lowest = block_choices[t - start], max(0, end - (stop - 1 - t))
            _step(before, after, logp[t], labels, skips, blank, lowest, end, row, first)
            before, after = after, before
        for t in range(stop - 1, start - 1, -1):
            states[t] = 2 * end - is_spoken
            choice = block_choices[t - start, end - first]
            if is_spoken:
                predecessor = choice % SPOKEN
                is_spoken = predecessor != FROM_BLANK
                end -= predecessor != STAYED
            else:
                is_spoken = choice >= SPOKEN
    return states, total
