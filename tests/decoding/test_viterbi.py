"""The compiled alignment against the textbook's lattice, that against all paths, and torchaudio."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.decoding.alignment import best_path
from asr_ctc.decoding.viterbi import best_states, block_length, memory_bytes
from asr_ctc.text.feasibility import frames_needed


def reference_states(logp: np.ndarray, labels: list[int], blank: int) -> tuple[list[int], float]:
    """Viterbi over the states blank, label 1, blank, label 2 ... blank, each predecessor written.

    Of equal predecessors the nearest is taken: the state itself, then the one before.
    """
    n_states = 2 * len(labels) + 1
    classes = [blank] * n_states
    classes[1::2] = labels
    scores = [-math.inf] * n_states
    scores[0] = 0.0  # as if a blank had been before the first frame
    came_from = []
    for frame in logp:
        best = []
        for s in range(n_states):
            predecessors = [s, *([s - 1] if s > 0 else [])]
            if s > 1 and classes[s] != blank and classes[s] != classes[s - 2]:
                predecessors.append(s - 2)
            best.append(max(predecessors, key=lambda p: scores[p]))
        scores = [scores[p] + float(frame[classes[s]]) for s, p in enumerate(best)]
        came_from.append(best)
    state = max(range(n_states)[-1:-3:-1], key=lambda s: scores[s])
    total, states = scores[state], []
    for best in reversed(came_from):
        states.append(state)
        state = best[state]
    return states[::-1], total


def likeliest_of_all_paths(logp: np.ndarray, labels: list[int], blank: int) -> float:
    """The log probability of the likeliest path, -inf when there is none."""
    n_frames, n_classes = logp.shape
    totals = [
        sum(float(logp[t, c]) for t, c in enumerate(path))
        for path in itertools.product(range(n_classes), repeat=n_frames)
        if [c for c, _ in itertools.groupby(path) if c != blank] == labels
    ]
    return max(totals, default=-math.inf)


def posteriors(rng, n_frames: int, n_classes: int, impossible: float = 0.0) -> np.ndarray:
    logp = torch.tensor(3 * rng.standard_normal((n_frames, n_classes))).log_softmax(-1)
    logp[torch.tensor(rng.random(logp.shape) < impossible)] = -math.inf
    return logp.numpy().astype(np.float32)


def compiled_states(logp, labels, blank=0, block=50):
    states, total = best_states(logp, np.array(labels, np.int64), blank, block)
    return states.tolist(), total


@given(
    seed=st.integers(0, 10**9),
    n_frames=st.integers(1, 6),
    n_classes=st.integers(2, 4),
    impossible=st.sampled_from([0.0, 0.3]),
)
def test_the_reference_finds_the_likeliest_of_all_paths(seed, n_frames, n_classes, impossible):
    rng = np.random.default_rng(seed)
    logp = posteriors(rng, n_frames, n_classes, impossible)
    blank = int(rng.integers(n_classes))
    others = [c for c in range(n_classes) if c != blank]
    labels = rng.choice(others, rng.integers(0, n_frames + 1)).tolist()
    states, total = reference_states(logp, labels, blank)
    assert total == pytest.approx(likeliest_of_all_paths(logp, labels, blank), abs=1e-9)
    if total > -math.inf:
        classes = [blank if s % 2 == 0 else labels[s // 2] for s in states]
        assert [c for c, _ in itertools.groupby(classes) if c != blank] == labels
        assert sum(float(logp[t, c]) for t, c in enumerate(classes)) == pytest.approx(total)


@given(
    seed=st.integers(0, 10**9),
    n_labels=st.integers(0, 30),
    slack=st.integers(0, 40),
    n_classes=st.integers(2, 5),
    block=st.integers(1, 12),
    kind=st.sampled_from(["sure", "with impossible classes", "with ties"]),
)
def test_the_compiled_path_is_the_references(seed, n_labels, slack, n_classes, block, kind):
    """To the state, ties among them, whatever the blocks that the way back is computed in."""
    rng = np.random.default_rng(seed)
    blank = int(rng.integers(n_classes))
    labels = rng.choice([c for c in range(n_classes) if c != blank], n_labels).tolist()
    n_frames = max(1, frames_needed(labels) + slack)
    logp = posteriors(rng, n_frames, n_classes, 0.1 if kind == "with impossible classes" else 0.0)
    if kind == "with ties":
        logp = np.rint(logp)
    expected, total = reference_states(logp, labels, blank)
    states, found = compiled_states(logp, labels, blank, block)
    assert found == total
    if total > -math.inf:
        assert states == expected


@pytest.mark.slow
@pytest.mark.parametrize(("n_frames", "n_labels"), [(1_000, 400), (1_000, 990), (5_000, 30)])
def test_long_clips_in_their_usual_blocks(n_frames, n_labels):
    rng = np.random.default_rng(n_labels)
    labels = (rng.integers(1, 3, n_labels).cumsum() % 4 + 1).tolist()  # no two alike in a row
    logp = posteriors(rng, n_frames, 5)
    expected, total = reference_states(logp, labels, 0)
    assert compiled_states(logp, labels, 0, block_length(n_frames)) == (expected, total)


@pytest.mark.parametrize(("labels", "states"), [([], [0] * 4), ([1], [1, 2, 2, 2])])
def test_of_equal_paths_the_one_that_says_its_labels_early(labels, states):
    assert compiled_states(np.zeros((4, 2), np.float32), labels) == (states, 0.0)


@given(seed=st.integers(0, 10**9), n_labels=st.integers(1, 40), slack=st.integers(0, 60))
def test_as_likely_as_torchaudios(seed, n_labels, slack):
    functional = pytest.importorskip("torchaudio.functional")
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 6, n_labels).tolist()
    n_frames = frames_needed(labels) + slack
    logp = posteriors(rng, n_frames, 6)
    classes, scores = functional.forced_align(
        torch.from_numpy(logp)[None], torch.tensor([labels], dtype=torch.int32), blank=0
    )
    states, total = compiled_states(logp, labels)
    assert total == pytest.approx(float(scores.double().sum()), rel=1e-6, abs=1e-4)
    assert [0 if s % 2 == 0 else labels[s // 2] for s in states] == classes[0].tolist()


@pytest.mark.slow
def test_a_long_recording_takes_the_memory_that_is_told():
    rng = np.random.default_rng(0)
    n_frames, n_labels = 20_000, 4_000
    logp = posteriors(rng, n_frames, 5)
    labels = rng.integers(1, 5, n_labels)
    told = memory_bytes(n_frames, n_labels)
    assert told == 36 * 2 * 4_001 * 8 + 568**2  # blocks of 4 · (141 + 1) frames
    assert told < 0.04 * n_frames * n_labels
    tracemalloc.start()
    best_states(logp, labels, 0, block_length(n_frames))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * told


def test_half_an_hour_keeps_the_precision_of_its_frames():
    """Single precision would have lost a tenth by the end."""
    rng = np.random.default_rng(1)
    logp = posteriors(rng, 45_000, 5) - 20
    labels = rng.integers(1, 5, 100).tolist()
    path = best_path(torch.from_numpy(logp), labels)
    classes = np.zeros(len(logp), int)
    for span in path.spans:
        classes[span.start : span.end] = span.label
    scores = logp[range(len(logp)), classes]
    assert path.logp == pytest.approx(math.fsum(map(float, scores)), abs=1e-6)
