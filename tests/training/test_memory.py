"""What a run says of memory: the longest clip that fits, and the batch that may not."""

import re

import numpy as np
import pytest

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.clip_memory import ClipMemory, Parabola
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.training.memory import advice, largest_batch
from tests.helpers.command import call
from tests.helpers.whisper_folder import make_whisper_folder

NOTHING = Parabola(0, 0, 0)


def memory(per_s: float, per_s2: float = 0.0) -> ClipMemory:
    return ClipMemory(Parabola(0, per_s, per_s2), NOTHING, NOTHING)


def test_the_largest_batch_is_not_always_that_with_most_seconds():
    sampler = DurationBatchSampler(np.array([20.0, 10, 10, 10, 10, 10, 10]), batch_seconds=30)
    assert largest_batch(memory(1), sampler) == (3, 10.0)
    assert largest_batch(memory(0, 1), sampler) == (1, 20.0)


def test_the_largest_batch_of_the_first_epoch_has_its_speeds():
    sampler = DurationBatchSampler(
        np.array([2.0, 3.0]), stretches=lambda epoch: np.array([4.0, 1.0])
    )
    assert largest_batch(memory(1), sampler) == (1, 8.0)


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (60, "--batch_seconds 60 fits, or --batch_size 3"),
        (59, "--batch_seconds 40 fits, or --batch_size 2"),
        (15, "--max_duration 14.9, or --last_layers"),
        (-1, "no clip fits: --freeze_encoder with --cache_dir"),
    ],
)
def test_advice(room, expected):
    assert expected in advice(memory(1), room, 20.0)


COMMON = """
    train --encoder tiny --nlayers_rnn 1 --nhidden_rnn 8 --projection 8 --batch_size 4
    --num_epochs 1 --precision fp32 --seed 3 --min_duration 0.5 --nthreads 0
"""


@pytest.fixture
def home(toy_root, tmp_path):
    make_whisper_folder(tmp_path / "tiny")
    (tmp_path / "data").symlink_to(toy_root)
    return tmp_path


@pytest.mark.slow
def test_a_run_says_the_longest_clip_that_fits(home, monkeypatch):
    monkeypatch.setattr(compute, "free_memory_bytes", lambda device: 50e6)
    done = call(COMMON, "--logname run", cwd=home)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if "memory, about" in line)
    numbers = re.search(
        r"0\.05 GB are free.* (\d) clips of ([\d.]+) s, at most 0\.\d\d; the longest clip that "
        r"fits has (\d+) s alone, (\d+) s in a batch of (\d)",
        line,
    )
    n_clips, longest_s, alone_s, in_batch_s, same_n = map(float, numbers.groups())
    assert longest_s < in_batch_s < alone_s and n_clips == same_n == 4
    assert "may not fit" not in done.stderr
    assert "MB of activations" not in done.stderr  # they may be those of the head alone
    resumed = call("train --resume_from logs/run --num_epochs 2", cwd=home)
    assert resumed.returncode == 0 and "memory, about" in resumed.stderr  # perhaps on another card


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", "may not fit into memory: "),
        ("--last_layers 1 --cache_dir cache", "may not fit into memory: "),
        ("--freeze_encoder --cache_dir cache", None),  # no layer of the encoder is run
    ],
)
def test_a_batch_that_may_not_fit_is_said_before_it_fails(home, monkeypatch, flags, expected):
    monkeypatch.setattr(compute, "free_memory_bytes", lambda device: 3e5)
    done = call(COMMON, flags, "--logname run", cwd=home)
    assert done.returncode == 0, done.stderr
    if expected is None:
        assert "memory, about" not in done.stderr and "MB of activations" in done.stderr
    else:
        assert expected in done.stderr


@pytest.mark.slow
def test_where_the_system_does_not_say_what_is_free_nothing_is_said(home, monkeypatch):
    monkeypatch.setattr(compute, "free_memory_bytes", lambda device: float("nan"))
    done = call(COMMON, "--logname run", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "memory, about" not in done.stderr
