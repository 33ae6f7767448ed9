"""Confidence intervals of error rates: the bootstrap of Bisani & Ney (ICASSP 2004).

A resample draws as many clips as were scored from them, with replacement; the rates of many
resamples show how the rate varies. Errors are summed over a resample before they are divided.
"""

import numpy as np

N_RESAMPLES = 10_000
SEED = 0
DRAWS_AT_ONCE = 1 << 22


def resampled_sums(counts: np.ndarray, n_resamples: int = N_RESAMPLES) -> np.ndarray:
    """Sums (B, K) of ``counts`` (N, K) over N clips drawn with replacement, B times.

    The draws depend on N and B only: two systems on the same clips get the same resamples.
    """
    n_clips = len(counts)
    generator = np.random.default_rng(SEED)
    sums = np.empty((n_resamples, counts.shape[1]))
    at_once = max(1, DRAWS_AT_ONCE // n_clips)
    for first in range(0, n_resamples, at_once):
        part = sums[first : first + at_once]
        draws = generator.integers(n_clips, size=(len(part), n_clips))
        draws += n_clips * np.arange(len(part))[:, None]
        times = np.bincount(draws.ravel(), minlength=len(part) * n_clips)
        part[:] = times.reshape(len(part), n_clips) @ counts.astype(np.float64)
    return sums


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled values (B,)."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def probability_below(values: np.ndarray, others: np.ndarray) -> float:
    """Fraction of resamples in which ``values`` (B,) is below ``others``; ties count half."""
    return float(np.mean(values < others) + 0.5 * np.mean(values == others))
