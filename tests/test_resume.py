"""Interrupted and resumed runs, which must end as straight ones do."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.command import REPOSITORY, environment

TIMES = {"epoch_s", "audio_s_per_s", "data_wait_share", "memory_mb", "elapsed_s", "waited_s"}
COMMON = """
    train --nlayers_rnn 1 --nhidden_rnn 8 --batch_size 4 --num_epochs 4 --precision fp32
    --device cpu --seed 3 --min_duration 0.5 --nthreads 2 --train_augment --save_every_s 0
    --grad_clip 5
""".split()
KINDS = {
    "cached": "--cache_dir cache --ema 0.9 --scheduler plateau --scheduler_step 1",
    "augmented": "--optimizer sgd --batch_size 2 --accumulate 2 --scheduler onecycle "
    "--average_best 2",
}


def run_jobs(jobs: list[dict], folder: Path) -> list[int]:
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with open(folder / "stdout", "w") as stdout, open(folder / "stderr", "w") as stderr:
        status = subprocess.call(
            [sys.executable, "-m", "tests.interrupted", str(folder / "jobs.json")],
            cwd=folder,
            env=environment(PYTHONPATH=str(REPOSITORY)),
            stdout=stdout,
            stderr=stderr,
        )
    assert status == 0, (folder / "stderr").read_text()
    return json.loads((folder / "stdout").read_text())


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, (list, tuple)):
        return [without_times(item) for item in value]
    return value


def assert_equal(a, b, where=""):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (one, other) in enumerate(zip(a, b)):
            assert_equal(one, other, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def content_of(file: Path) -> dict:
    content = torch.load(file, weights_only=True)
    content["origin"].pop("date")
    content["origin"].pop("command")
    if "training" in content:
        settings = content["training"].pop("config").splitlines()
        content["config"] = [s for s in settings if not s.startswith("cache_dir")]
    return without_times(content)


def metrics_of(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [without_times(json.loads(line)) for line in lines]


def curves_of(folder: Path) -> dict:
    events = EventAccumulator(str(folder))
    events.Reload()
    names = set(events.Tags()["scalars"]) - TIMES
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in sorted(names)}


def jobs_that_die(rng: random.Random, words: list[str]) -> list[dict]:
    """A run that is struck down over and over, mostly after a step or two, until it is let go."""
    moments = [
        "before a step", "after a step", "while a file is written", "before a file is renamed",
        "before a step", "after a step", "in an evaluation", "at the end of an epoch",
    ]  # fmt: skip
    jobs = [{"argv": [*words, "--logname", "struck"], "moment": moments[0], "count": 3}]
    for i in range(1, 40):
        count = 1 if "epoch" in moments[i % 8] or "evaluation" in moments[i % 8] else 2
        jobs.append({"argv": RESUME, "moment": moments[i % 8], "count": count})
    for job in jobs:
        is_write = "file" in job["moment"]
        job["signal"] = "SIGKILL" if is_write else rng.choice(["SIGKILL", "SIGTERM", "SIGINT"])
    return [*jobs, {"argv": RESUME}]


RESUME = ["train", "--resume_from", "logs/struck"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_struck_down_again_and_again_ends_as_a_straight_one(kind, toy_root, tmp_path):
    extra = KINDS[kind].split()
    if kind == "augmented":
        extra += ["--augment", "speed 0.9 1.1", "gain -6 6 p=0.5"]
    words = [*COMMON, "--datasetroot", str(toy_root), *extra]
    straight = {"argv": [*words, "--logname", "straight"]}
    first, *struck, end = run_jobs([straight, *jobs_that_die(random.Random(kind), words)], tmp_path)
    assert first == end == 0
    killed, asked = -signal.SIGKILL, {128 + signal.SIGINT, 128 + signal.SIGTERM}
    assert set(struck) == asked | {killed} and len(struck) >= 10, struck

    a, b = tmp_path / "logs" / "straight", tmp_path / "logs" / "struck"
    for name in "last.pt", "best_model.pt":
        assert_equal(content_of(a / name), content_of(b / name), name)
    assert [row["epoch"] for row in metrics_of(b)] == [1, 2, 3, 4]
    assert metrics_of(a) == metrics_of(b)
    assert curves_of(a) == curves_of(b)
    files = {path.name for path in b.rglob("*") if "tfevents" not in path.name}
    assert files == {path.name for path in a.rglob("*") if "tfevents" not in path.name}
