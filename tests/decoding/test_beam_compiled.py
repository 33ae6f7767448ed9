"""The compiled beam search against its reference, and how it is compiled."""

import ast
import concurrent.futures
import importlib.util
import itertools
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.base.compiled import compiled
from asr_ctc.decoding.beam import beam_decode
from asr_ctc.text.charmap import CharMap
from tests.helpers.examples import examples
from tests.helpers.posteriors import (
    SEARCHES,
    assert_same_beam,
    charmap_of,
    made_posteriors,
    reference_beam_decode,
)

ROOT = Path(__file__).parents[2]


def brute_force(frames):
    """{labels: log probability}: all V^T' paths added up."""
    spelt = {}
    for path in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        labels = tuple(label for label, _ in itertools.groupby(path) if label != 0)
        logp = sum(float(frame[label]) for frame, label in zip(frames, path, strict=True))
        spelt[labels] = np.logaddexp(spelt.get(labels, -np.inf), logp)
    return {labels: logp for labels, logp in spelt.items() if logp > -np.inf}


@examples(150)
@given(n_frames=st.integers(0, 40), **SEARCHES)
def test_finds_what_the_reference_finds(
    seed, n_frames, n_classes, beam_width, sharpness, p_impossible, beam_tokens, beam_threshold
):
    rng = np.random.default_rng(seed)
    frames = made_posteriors(rng, n_frames, n_classes, sharpness, p_impossible)[None]
    settings = dict(beam_tokens=beam_tokens, beam_threshold=beam_threshold)
    arguments = (frames, [n_frames], charmap_of(n_classes), beam_width, beam_width)
    (found,) = beam_decode(*arguments, **settings)
    (expected,) = reference_beam_decode(*arguments, **settings)
    assert_same_beam(found, expected)


@examples(60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_frames=st.integers(1, 6),
    n_classes=st.integers(2, 4),
    sharpness=st.sampled_from([0.0, 4.0, 400.0]),
    p_impossible=st.sampled_from([0.0, 0.4]),
)
def test_wide_beam_adds_up_every_path(seed, n_frames, n_classes, sharpness, p_impossible):
    rng = np.random.default_rng(seed)
    frames = made_posteriors(rng, n_frames, n_classes, sharpness, p_impossible)
    (found,) = beam_decode(frames[None], [n_frames], charmap_of(n_classes), 5000, 5000)
    assert {h.labels: h.logp for h in found} == pytest.approx(brute_force(frames), abs=1e-9)


@pytest.mark.parametrize(("n_frames", "n_classes", "beam_width"), [(400, 44, 30), (30, 3000, 100)])
def test_long_clips_and_large_alphabets(n_frames, n_classes, beam_width):
    frames = made_posteriors(np.random.default_rng(0), n_frames, n_classes, 6.0)[None]
    arguments = (frames, [n_frames], charmap_of(n_classes), beam_width, beam_width)
    assert_same_beam(beam_decode(*arguments)[0], reference_beam_decode(*arguments)[0])


def test_real_posteriors_say_digits(real_posteriors):
    texts = [
        beam_decode(frames[None], [len(frames)], CharMap())[0][0].text
        for frames in real_posteriors.values()
    ]
    assert texts == [
        "nine seven three zero zero five zero.",
        "one one five two one three two.",
        "eight two eight zero five.",
    ]


@pytest.mark.parametrize("cuts", [{}, {"beam_tokens": 6, "beam_threshold": 8.0}])
@pytest.mark.parametrize("beam_width", [1, 10, 100])
def test_finds_what_the_reference_finds_on_real_posteriors(real_posteriors, beam_width, cuts):
    for frames in real_posteriors.values():
        arguments = (frames[None], [len(frames)], CharMap(), beam_width, beam_width)
        (expected,) = reference_beam_decode(*arguments, **cuts)
        (found,) = beam_decode(*arguments, **cuts)
        assert_same_beam(found, expected)
        assert found[0].labels == expected[0].labels


def test_equal_posteriors_keep_the_order_of_the_reference():
    frames = np.full((1, 7, 5), -np.log(5))
    arguments = (frames, [7], charmap_of(5), 23, 23)
    assert [h.labels for h in beam_decode(*arguments)[0]][:4] == [
        h.labels for h in reference_beam_decode(*arguments)[0]
    ][:4]


def test_cuts_that_cut_nothing_change_nothing():
    frames = made_posteriors(np.random.default_rng(1), 60, 12, 2.0)[None]
    arguments = (frames, [60], charmap_of(12), 20, 20)
    assert beam_decode(*arguments, beam_tokens=11, beam_threshold=1e6) == beam_decode(*arguments)


def test_threads_decode_as_one_does(monkeypatch):
    rng = np.random.default_rng(2)
    frames = np.stack([made_posteriors(rng, 50, 10, 3.0) for _ in range(9)])
    lengths = [50, 0, 13, 50, 49, 1, 2, 30, 31]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = beam_decode(frames, lengths, charmap_of(10), 20, 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert beam_decode(frames, lengths, charmap_of(10), 20, 3) == alone


@pytest.mark.parametrize("view", ["read-only", "every second clip", "classes last to first"])
def test_any_array_will_do(view):
    frames = np.stack([made_posteriors(np.random.default_rng(i), 9, 4, 3.0) for i in range(4)])
    frames = frames.astype(np.float64)
    if view == "read-only":
        frames.flags.writeable = False
    elif view == "every second clip":
        frames = frames[::2]
    else:
        frames = frames[:, :, ::-1]
    lengths = [9] * len(frames)
    expected = beam_decode(frames.copy(), lengths, charmap_of(4))
    assert beam_decode(frames, lengths, charmap_of(4)) == expected


def decode_in_a_worker(frames):
    return beam_decode(frames, [len(frames[0])], charmap_of(frames.shape[2]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_workers_decode():
    frames = made_posteriors(np.random.default_rng(3), 20, 5, 3.0)[None]
    expected = decode_in_a_worker(frames)
    fork = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=fork) as workers:
        assert list(workers.map(decode_in_a_worker, [frames] * 3)) == [expected] * 3


@pytest.mark.slow
def test_only_a_beam_search_loads_numba():
    modules = "asr_ctc.commands.main, asr_ctc.recognition.recognizer"
    code = f"import sys, {modules}; print('numba' in sys.modules)"
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert finished.stdout == "False\n", finished.stderr


def load(path):
    """The module of a file, read anew."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_module(folder):
    """A module with a function that is compiled when it is loaded, in a folder of its own."""
    path = folder / "halving.py"
    path.write_text("def halve(x):\n    return x / 2\n")
    return compiled(numba.float64(numba.float64), "the halving")(load(path).halve)


def test_compiles_once_and_says_so(tmp_path, caplog):
    caplog.set_level("INFO", "asr_ctc")
    assert load_module(tmp_path)(3) == 1.5
    assert caplog.messages == ["compiling the halving, once; later runs load it from the cache"]
    caplog.clear()
    assert load_module(tmp_path)(5) == 2.5
    assert caplog.messages == []


def test_compiles_where_nothing_can_be_kept_and_says_why(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO", "asr_ctc")
    in_the_way = tmp_path / "__pycache__"
    in_the_way.write_text("a file where numba wants a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_the_way))
    assert load_module(tmp_path)(3) == 1.5
    (message,) = caplog.messages
    assert message.startswith("compiling the halving, which takes some seconds in every run")
    assert "set NUMBA_CACHE_DIR to a writable folder" in message


def test_is_compiled_anew_when_a_module_that_it_uses_has_changed(tmp_path, caplog):
    caplog.set_level("INFO", "asr_ctc")
    path, used = tmp_path / "halving.py", tmp_path / "parts.py"
    path.write_text("def halve(x):\n    return x / parts.PARTS\n")
    for n_parts, n_compiled in (2, 1), (2, 0), (10, 1):
        caplog.clear()
        used.write_text(f"PARTS = {n_parts}\n")
        module, parts = load(path), load(used)
        module.parts = parts
        halve = compiled(numba.float64(numba.float64), "the halving", uses=(parts,))(module.halve)
        assert halve(3) == 3 / n_parts
        assert len(caplog.messages) == n_compiled


def test_the_search_uses_what_it_imports(monkeypatch):
    """What it takes from other modules is in the machine code."""
    used = []

    def note(signature, what, uses):
        used.extend(module.__name__ for module in uses)
        return lambda function: function

    monkeypatch.setattr("asr_ctc.base.compiled.compiled", note)
    path = ROOT / "asr_ctc" / "decoding" / "beam_compiled.py"
    load(path)
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names = {f"{node.module}.{name.name}" for node in imports for name in node.names}
    names |= {node.module for node in imports}
    ours = {name for name in names if name.startswith("asr_ctc.") and name in sys.modules}
    ours -= {"asr_ctc.lm", "asr_ctc.decoding"}
    assert set(used) == ours - {"asr_ctc.base.compiled"}
