"""The maximum clip length that suits a corpus, where the user names none."""

import math

import numpy as np

LONG_PERCENTILE, LONG_FACTOR = 99.5, 1.5  # clips this much longer than the rest cost too much
LEAST_PERCENTILE = 95  # of the clips, that are taken whatever a batch may hold
MOST_BATCH_S = 1280.0  # padded seconds of a batch: about 10 GB with 4 × 1024 recurrent units


def suitable_maximum_s(durations: np.ndarray, most_s: float = math.inf) -> float:
    """The maximum length for clips of these durations (N,) in seconds; a multiple of 0.5 s.

    It is that of the longest clip, unless this is more than 1.5 times the 99.5th percentile: then
    the few clips above that percentile are too long, because whole batches would be padded to them.
    Clips longer than ``most_s``, for which a batch has no room, are too long too, but never more
    than 5 % of the clips. Infinite without a clip.
    """
    if not len(durations):
        return math.inf
    long_s, longest_s = np.percentile(durations, LONG_PERCENTILE), durations.max()
    maximum_s = _rounded_up(longest_s if longest_s <= LONG_FACTOR * long_s else long_s)
    if maximum_s <= most_s:
        return maximum_s
    return max(math.floor(2 * most_s) / 2, _rounded_up(np.percentile(durations, LEAST_PERCENTILE)))


def _rounded_up(seconds: float) -> float:
    return math.ceil(2 * float(seconds)) / 2
