"""The beam frame by frame: which prefixes it holds, and what has merged into them."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.decoding.beam import Beam, decode
from asr_ctc.decoding.beam_history import record_beam
from asr_ctc.text.charmap import CharMap
from tests.helpers.examples import examples
from tests.helpers.posteriors import charmap_of, made_posteriors

AB = CharMap.from_symbols("ab")


def collapsed(path):
    return tuple(k for k, _ in itertools.groupby(path) if k)


def by_enumeration(frames):
    """{t: {labels: (probability, that of paths whose labels had one less before frame t)}}."""
    n_frames, n_classes = frames.shape
    tables = [{(): [1.0, 0.0]}]
    for t in range(1, n_frames + 1):
        table = {}
        for path in itertools.product(range(n_classes), repeat=t):
            p = math.exp(sum(frames[i, k] for i, k in enumerate(path)))
            labels, before = collapsed(path), collapsed(path[:-1])
            sums = table.setdefault(labels, [0.0, 0.0])
            sums[0] += p
            sums[1] += p * (before != labels)
        tables.append(table)
    return tables


def test_two_frames_by_hand():
    """P(a) is .75 after two frames, of aa, a–, –a: the last has come from the empty prefix."""
    frames = np.log(np.full((2, 2), 0.5))
    history = record_beam(frames, CharMap.from_symbols("a"), Beam(width=10))
    assert [[history.labels[p.number] for p in beam] for beam in history.beams] == [
        [()],
        [(), (1,)],
        [(1,), ()],
    ]
    a = history.beams[2][0]
    assert math.exp(a.logp) == pytest.approx(0.75)
    assert a.merged == pytest.approx(1 / 3)
    assert history.beams[1][1].merged == 0.0  # it has just arrived
    assert (history.arrived(1), history.dropped(1)) == ({a.number}, set())
    assert history.parents[a.number] == 0 and history.parents[0] == -1
    assert history.leading() == [0, 0, a.number]


def test_a_narrow_beam_drops():
    frames = np.log([[0.6, 0.4], [0.1, 0.9]])
    history = record_beam(frames, CharMap.from_symbols("a"), Beam(width=1))
    (only,) = history.beams[2]
    assert [history.labels[n] for n in history.dropped(2)] == [()]
    assert history.arrived(2) == {only.number} == history.numbers(2)
    assert history.ancestors(only.number) == {only.number, 0}


@examples(20)
@given(st.integers(0, 2**32 - 1))
def test_shares_are_those_of_all_paths(seed):
    frames = made_posteriors(np.random.default_rng(seed), 4, 3, 1.0).astype(np.float64)
    frames -= np.logaddexp.reduce(frames, axis=1, keepdims=True)
    history = record_beam(frames, AB, Beam(width=1000))
    tables = by_enumeration(frames)
    for t, beam in enumerate(history.beams):
        assert {history.labels[p.number] for p in beam} == set(tables[t])
        for prefix in beam:
            labels = history.labels[prefix.number]
            p, extended = tables[t][labels]
            assert math.exp(prefix.logp) == pytest.approx(p, rel=1e-6)
            was_there = t > 0 and labels in tables[t - 1]
            share = extended / p if was_there else 0.0
            assert prefix.merged == pytest.approx(share, rel=1e-6, abs=1e-12)


@examples(20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.none() | st.integers(1, 4))
def test_each_beam_is_that_of_the_search(seed, width, tokens):
    frames = made_posteriors(np.random.default_rng(seed), 7, 5, 3.0)
    charmap, beam = charmap_of(5), Beam(width=width, n_best=width, tokens=tokens)
    history = record_beam(torch.from_numpy(frames), charmap, beam)
    for t, prefixes in enumerate(history.beams):
        (whole,) = decode(frames[None, :t], [t], charmap, beam)
        labels = [history.labels[p.number] for p in prefixes]
        assert labels == [h.labels for h in whole]
        assert [p.score for p in prefixes] == [h.score for h in whole]
        alive = history.numbers(t)
        if t:
            before = history.numbers(t - 1)
            assert (before - history.dropped(t)) | history.arrived(t) == alive


def test_a_clip_without_frames_has_the_first_beam():
    history = record_beam(np.zeros((0, 3)), AB, Beam())
    assert [[p.number for p in beam] for beam in history.beams] == [[0]]


def test_a_beam_on_a_device_is_refused():
    with pytest.raises(ValueError, match="device"):
        record_beam(np.zeros((1, 3)), AB, Beam(device="cpu"))
