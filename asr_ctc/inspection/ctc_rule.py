"""CTC's rule as three rows, and the lattice of known labels: frames to spans of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asr_ctc.decoding.alignment import Path

PEAK = 0.3  # a curve is named where it peaks above this


class Run(NamedTuple):
    """Frames ``start`` to ``end`` (half-open) in a row whose likeliest class is the same."""

    label: int
    start: int
    end: int


def runs_of(path: np.ndarray) -> list[Run]:
    """The runs of a path of classes (T',): repeats merged, blanks still there."""
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    ends = np.append(starts, len(path))[1:]
    labels = path[starts]
    return [Run(*run) for run in zip(labels.tolist(), starts.tolist(), ends.tolist(), strict=True)]


def lattice_classes(labels: Sequence[int], blank: int) -> np.ndarray:
    """The classes (2U + 1,) of the states of U labels: blank, label, blank, ..., label, blank."""
    classes = np.full(2 * len(labels) + 1, blank, np.int64)
    classes[1::2] = labels
    return classes


def path_states(path: Path) -> np.ndarray:
    """The state (T',) of a path at each frame: 2u + 1 is label u, 2u the blank before it."""
    states = np.zeros(path.n_frames, np.int64)
    for u, span in enumerate(path.spans):
        states[span.start : span.end] = 2 * u + 1
        states[span.end :] = 2 * u + 2
    return states


def top_classes(posteriors: np.ndarray, k: int, floor: float) -> list[int]:
    """The classes that are among the ``k`` likeliest of a frame of (T', V) with ``floor`` or more.

    In the order of the frame in which each is likeliest.
    """
    k = min(k, posteriors.shape[1])
    if not len(posteriors):
        return []
    ranked = np.argpartition(-posteriors, k - 1, axis=1)[:, :k]
    is_high = np.take_along_axis(posteriors, ranked, axis=1) >= floor
    classes = np.unique(ranked[is_high])
    return classes[np.argsort(posteriors[:, classes].argmax(axis=0), kind="stable")].tolist()


def peaks(values: np.ndarray) -> list[int]:
    """The frames (T',) where a curve is above PEAK and no lower than its neighbours, the first of
    equals."""
    padded = np.pad(values, 1, constant_values=-1.0)
    is_peak = (values > PEAK) & (values > padded[:-2]) & (values >= padded[2:])
    return np.flatnonzero(is_peak).tolist()
