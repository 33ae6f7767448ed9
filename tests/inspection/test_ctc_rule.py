"""Path, runs and lattice, against matrices that are read by eye and by brute force."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.decoding.alignment import best_path
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.inspection.ctc_rule import lattice_classes, path_states, peaks, runs_of, top_classes
from asr_ctc.text.charmap import CharMap
from tests.helpers.examples import examples


def test_runs_by_hand():
    assert runs_of(np.array([0, 0, 2, 2, 0, 2, 1])) == [
        (0, 0, 2),
        (2, 2, 4),
        (0, 4, 5),
        (2, 5, 6),
        (1, 6, 7),
    ]
    assert runs_of(np.zeros(0, int)) == []
    assert runs_of(np.array([3])) == [(3, 0, 1)]


@examples(50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_runs_without_blanks_are_the_greedy_labels(path):
    logp = np.full((len(path), 4), -5.0)
    logp[np.arange(len(path)), path] = -0.1
    ((greedy,),) = greedy_decode(logp[None], [len(path)], CharMap.from_symbols("abc"))
    runs = runs_of(np.array(path))
    assert tuple(run.label for run in runs if run.label) == greedy.labels
    assert [k for run in runs for k in [run.label] * (run.end - run.start)] == path


def test_classes_of_a_lattice():
    assert lattice_classes([4, 4, 2], 0).tolist() == [0, 4, 0, 4, 0, 2, 0]
    assert lattice_classes([], 0).tolist() == [0]


@examples(30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1,), (1, 2), (1, 1), (2, 1, 2)]))
def test_the_states_of_the_best_path_are_the_likeliest_of_all(seed, labels):
    logp = torch.from_numpy(np.random.default_rng(seed).normal(size=(6, 3))).log_softmax(1).float()
    states = path_states(best_path(logp, labels))
    classes = lattice_classes(labels, 0)

    def total(path):
        return sum(float(logp[t, classes[s]]) for t, s in enumerate(path))

    def is_allowed(path):
        if path[0] > 1 or path[-1] < len(classes) - 2:
            return False
        for a, b in itertools.pairwise(path):
            is_skip = b == a + 2 and b % 2 == 1 and classes[a] != classes[b]
            if not (b in (a, a + 1) or is_skip):
                return False
        return True

    assert is_allowed(states.tolist())
    every = filter(is_allowed, itertools.product(range(len(classes)), repeat=6))
    assert total(states) == pytest.approx(max(map(total, every)), abs=1e-5)


def test_top_classes_are_of_any_frame_not_of_the_first():
    posteriors = np.array([[0.9, 0.1, 0.0, 0.0], [0.2, 0.0, 0.8, 0.0], [0.5, 0.46, 0.0, 0.04]])
    assert top_classes(posteriors, 1, 0.05) == [0, 2]
    assert top_classes(posteriors, 2, 0.05) == [0, 2, 1]  # by the time of their peak
    assert top_classes(posteriors, 9, 0.05) == [0, 2, 1]
    assert top_classes(np.zeros((0, 4)), 2, 0.05) == []


def test_peaks_of_a_curve():
    assert peaks(np.array([0.9, 0.1, 0.5, 0.5, 0.2, 0.31])) == [0, 2, 5]
    assert peaks(np.array([0.2, 0.25])) == []
    assert peaks(np.zeros(0)) == []
