"""Interrupted and resumed runs, which must end as straight ones do; steps that go wrong."""

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asr_ctc.acoustic import loss
from asr_ctc.acoustic.model_file import load_model, save_model
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config, parse_yaml
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.training import loop as training
from asr_ctc.training.loop import train
from asr_ctc.training.resume import find_start
from asr_ctc.training.setup import set_up_run
from tests.helpers.command import REPOSITORY, environment
from tests.helpers.compared import TIMES, assert_equal, content_of, metrics_of
from tests.helpers.whisper_folder import make_whisper_folder
from tools.toy_corpus import SMALL, make_toy_corpus

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("log_everything")]

COMMON = """
    train --nlayers_rnn 1 --nhidden_rnn 8 --batch_size 4 --num_epochs 4 --precision fp32
    --device cpu --seed 3 --min_duration 0.5 --nthreads 2 --train_augment --save_every_s 0
    --grad_clip 5
""".split()
KINDS = {
    "cached": "--cache_dir cache --ema 0.9 --scheduler plateau --scheduler_step 1",
    "encoder": "--encoder tiny --projection 8 --last_layers 1 --cache_dir cache "
    "--encoder_copies 2 --mask_time 0.2",
    "augmented": "--batch_size 2 --accumulate 2 --scheduler onecycle --average_best 2 "
    "--nlayers_rnn 2 --rnn_dropout 0.2",
}


def run_jobs(jobs: list[dict], folder: Path) -> list[int]:
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with open(folder / "stdout", "w") as stdout, open(folder / "stderr", "w") as stderr:
        status = subprocess.call(
            [sys.executable, "-m", "tests.helpers.interrupted", str(folder / "jobs.json")],
            cwd=folder,
            env=environment(PYTHONPATH=str(REPOSITORY)),
            stdout=stdout,
            stderr=stderr,
        )
    assert status == 0, (folder / "stderr").read_text()
    return json.loads((folder / "stdout").read_text())


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
    make_whisper_folder(tmp_path / "tiny")
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


# --- What a run can go on from, and what not ------------------------------------------------------


def go(root: Path, logs: Path, **flags) -> Path:
    """Trains in ``logs``/run, or goes on with what ``resume_from`` names."""
    flags = {"datasetroot": str(root), "baselogdir": str(logs), "logname": "run", **flags}
    file_values = {} if "resume_from" in flags else SMALL
    assert not train(make_config(file_values, flags)).interrupted
    return logs / "run"


@pytest.fixture(scope="module")
def finished(toy_root, tmp_path_factory) -> Path:
    """The folder of a run of two epochs. Read only."""
    return go(toy_root, tmp_path_factory.mktemp("logs"))


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "logs" / "run")


def test_a_longer_run_is_the_same_as_one_that_was_lengthened(toy_root, folder, tmp_path):
    long = go(toy_root, tmp_path / "long", num_epochs=4)
    go(toy_root, tmp_path, resume_from=str(folder), num_epochs=4)
    assert_equal(
        content_of(long / "last.pt")["state_dict"], content_of(folder / "last.pt")["state_dict"]
    )
    assert metrics_of(long) == metrics_of(folder)


def test_flags_that_contradict_the_run_are_refused_by_name(toy_root, folder, tmp_path):
    flags = dict(nhidden_rnn=9, nmels=40, charset="auto", base_lr=0.1, l2=1.0, nthreads=1)
    with pytest.raises(UserError) as refused:
        go(toy_root, tmp_path, resume_from=str(folder), **flags)
    for words in (
        "--nhidden_rnn 9 (the run has 8)", "--nmels 40 (the run has 20)",
        "--charset auto (the run has default)", "--base_lr 0.1 (the run has 0.0005)",
        "--l2 1.0 (the run has 0.0)",
    ):  # fmt: skip
        assert words in str(refused.value)
    assert "--nthreads" not in str(refused.value)


def test_another_corpus_is_refused(folder, tmp_path):
    make_toy_corpus(tmp_path / "other", (24, 6, 6), seed=1)
    with pytest.raises(UserError, match="toy-1.0/fr train has changed since the run began"):
        go(tmp_path / "other", tmp_path, resume_from=str(folder), num_epochs=3)


def test_a_state_apart_from_its_run_is_refused(finished, tmp_path):
    """It would go on without the run's figures and best model."""
    copied = shutil.copy(finished / "last.pt", tmp_path / "mine.pt")
    with pytest.raises(UserError, match="mine.pt: its run is elsewhere .no config.yaml beside it"):
        find_start(make_config({}, {"resume_from": str(copied)}))
    assert find_start(make_config({}, {"resume_from": str(finished / "last.pt")})).folder


def test_a_finished_run_says_so_and_how_to_extend_it(folder, caplog):
    before = content_of(folder / "last.pt")
    train(make_config({}, {"resume_from": str(folder)}))
    said = f"{folder}: the run is finished: 2 of 2 epochs done; a larger --num_epochs extends it"
    assert said in caplog.text and "going on" not in caplog.text
    assert_equal(content_of(folder / "last.pt"), before)


def test_a_run_that_stopped_early_says_what_extends_it(toy_root, tmp_path, caplog):
    settings = {**SMALL, "num_epochs": 9, "early_stopping": 1, "base_lr": 1e-12}
    where = {"datasetroot": str(toy_root), "baselogdir": str(tmp_path), "logname": "run"}
    train(make_config({}, {**settings, **where}))
    train(make_config({}, {"resume_from": str(tmp_path / "run")}))
    said = (
        r"the run is finished: it stopped early after epoch \d; a larger --early_stopping extends"
    )
    assert re.search(said, caplog.text) and "going on" not in caplog.text


def test_a_folder_without_last_pt(toy_root, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: holds no last.pt"):
        go(toy_root, tmp_path, resume_from=str(tmp_path / "empty"))


def test_a_run_that_another_has_gone_on_with_is_refused(folder, toy_root, tmp_path, monkeypatch):
    """While this process set up, the other one ended: what was read before is old."""
    set_up_run = training.set_up_run

    def meanwhile(*args, **how):
        os.utime(folder / "last.pt")
        return set_up_run(*args, **how)

    monkeypatch.setattr(training, "set_up_run", meanwhile)
    before = content_of(folder / "last.pt")["training"]["state"]["epoch"]
    with pytest.raises(UserError, match="another process has gone on with this run meanwhile"):
        go(toy_root, tmp_path, resume_from=str(folder), num_epochs=3)
    assert content_of(folder / "last.pt")["training"]["state"]["epoch"] == before


def test_a_folder_in_use_is_refused(folder, toy_root, tmp_path, monkeypatch):
    """The lock is that of a process, so another one holds it here."""
    hold = "import sys; from asr_ctc.base.files import lock_file; f = open(sys.argv[1], 'a')"
    hold += "; print(lock_file(f)); sys.stdout.flush(); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(folder / "train.log")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=REPOSITORY, text=True) as other:
        assert other.stdout.readline() == "True\n"
        with monkeypatch.context() as patched:
            patched.setattr(training, "set_up_run", None)  # refused before it is needed
            with pytest.raises(UserError, match="another process trains in this folder"):
                go(toy_root, tmp_path, resume_from=str(folder), num_epochs=3)
        other.stdin.close()
    go(toy_root, tmp_path, resume_from=str(folder), num_epochs=3)


# --- Transfer -------------------------------------------------------------------------------------


def test_transfer_keeps_all_but_the_output_layer_for_another_map(
    toy_root, finished, tmp_path, caplog
):
    source = finished / "best_model.pt"
    config = make_config(
        SMALL, {"datasetroot": str(toy_root), "charset": "auto", "charset_min_count": 1,
                "resume_from": str(source)}
    )  # fmt: skip
    made = set_up_run(find_start(config))
    assert "other units than the file's, 12 classes for its 44" in caplog.text
    before, after = load_model(source).state_dict, made.model.state_dict()
    for name, weights in before.items():
        if name.startswith("charlin"):
            assert len(after[name]) == 12
        else:
            assert torch.equal(after[name], weights)
    assert made.normalization == load_model(source).normalization


def test_a_frozen_part_stays_as_it_was(toy_root, finished, tmp_path):
    """Its normalisation, too; the rest learns."""
    flags = dict(logname=None, freeze=["cnn"], resume_from=str(finished / "best_model.pt"))
    config = {**SMALL, "datasetroot": str(toy_root), "baselogdir": str(tmp_path), "num_epochs": 1}
    assert not train(make_config(config, flags)).interrupted
    (new,) = tmp_path.glob("*/best_model.pt")
    before, after = load_model(finished / "best_model.pt").state_dict, load_model(new).state_dict
    for name, weights in before.items():
        assert torch.equal(after[name], weights) == name.startswith("cnn"), name


def test_a_run_older_than_a_setting_has_its_default(finished, tmp_path):
    file = load_model(finished / "last.pt")
    training = {**file.training, "config": "nhidden_rnn: 8"}
    save_model(tmp_path / "last.pt", replace(file, training=training))
    (tmp_path / "config.yaml").write_text(training["config"])
    given = {"resume_from": str(tmp_path)}
    assert not find_start(make_config(given, {"rnn_norm": False})).config.model.rnn_norm
    with pytest.raises(UserError, match=r"contradicts --rnn_norm True \(the run has False\)"):
        find_start(make_config(given, {"rnn_norm": True}))


def start_of_run_with(settings: str, finished, folder):
    """How a run goes on that recorded these settings (YAML) alone."""
    file = load_model(finished / "last.pt")
    save_model(folder / "last.pt", replace(file, training={**file.training, "config": settings}))
    (folder / "config.yaml").write_text(settings)
    return find_start(make_config({}, {"resume_from": str(folder)}))


def test_a_run_older_than_clip_norm_goes_on_without_it(finished, tmp_path):
    start = start_of_run_with("nhidden_rnn: 8", finished, tmp_path)
    assert start.config.features.clip_norm == "none"
    assert start.config.features.clip_range_db is None
    assert make_config({}, {}).features.clip_norm == "mean"


def test_a_run_that_recorded_a_bare_scheduler_halves_as_it_did(finished, tmp_path):
    start = start_of_run_with("nhidden_rnn: 8\nscheduler: true", finished, tmp_path)
    assert start.config.training.scheduler == "step"
    assert parse_yaml("scheduler: true", "now.yaml") == {"scheduler": "onecycle"}


REMOVED = "optimizer: 'adamw'\nmomentum: 0.9\nhistograms: false\n"


def written_by_an_earlier_version(folder: Path, **values: str) -> None:
    """Puts settings that are removed now into a run's config.yaml and last.pt."""
    removed = REMOVED
    for name, value in values.items():
        removed = re.sub(f"{name}: .*", f"{name}: {value}", removed)
    file = load_model(folder / "last.pt")
    file.training["config"] += removed
    save_model(folder / "last.pt", file)
    (folder / "config.yaml").write_text(file.training["config"])


def test_a_run_of_an_earlier_version_goes_on_as_one_of_this(toy_root, folder, tmp_path, caplog):
    other = shutil.copytree(folder, tmp_path / "other" / "run")
    written_by_an_earlier_version(folder, histograms="true")  # which changed no step
    for run in folder, other:
        go(toy_root, run.parent, resume_from=str(run), num_epochs=3)
    assert_equal(
        content_of(folder / "last.pt")["state_dict"], content_of(other / "last.pt")["state_dict"]
    )
    again = load_model(folder / "last.pt").training["config"]
    assert "optimizer" not in again and "histograms" not in again
    assert not {record.levelname for record in caplog.records} & {"WARNING", "ERROR"}


def test_batches_are_alike_in_the_durations_that_the_speeds_give(toy_root, tmp_path, monkeypatch):
    """Clips of 1 to 2 s at half or twice their speed: sorted as recorded, half were padding."""
    filled = padded = 0.0

    def spy(model, batches, *arguments, **how):
        nonlocal filled, padded
        [batch] = batches
        filled += sum(batch.durations)
        padded += len(batch.durations) * max(batch.durations)
        return train_step(model, batches, *arguments, **how)

    train_step = training.train_step
    monkeypatch.setattr(training, "train_step", spy)
    go(toy_root, tmp_path, augment=["speed 0.5 2"], num_epochs=2, batch_size=4)
    assert 1 - filled / padded < 0.25


def test_a_run_that_sorted_clips_as_recorded_begins_its_epoch_again(toy_root, tmp_path, caplog):
    folder = go(toy_root, tmp_path, augment=["speed 0.9 1.1"], num_epochs=1)
    file = load_model(folder / "last.pt")
    del file.training["sampler"]["has_stretches"]
    save_model(folder / "last.pt", file)
    caplog.clear()
    go(toy_root, tmp_path, resume_from=str(folder), num_epochs=2)
    assert caplog.text.count("an earlier version sorted the clips otherwise: epoch 2 is begun") == 1


def test_a_run_that_needs_what_is_removed_is_refused(folder):
    written_by_an_earlier_version(folder, optimizer="sgd")
    with pytest.raises(
        UserError,
        match="--resume_from .*last.pt: optimizer: sgd was removed: .*; the run cannot go on",
    ):
        find_start(make_config({}, {"resume_from": str(folder)}))


# --- What goes wrong in a step --------------------------------------------------------------------


def test_ten_steps_in_a_row_that_are_not_finite_end_the_run(toy_root, tmp_path, caplog):
    flags = dict(batch_size=2, num_epochs=9, base_lr=1e30, warmup_steps=0)
    with pytest.raises(UserError, match="10 steps in a row were skipped, in epoch 1"):
        go(toy_root, tmp_path, **flags)
    assert re.search(
        r"step skipped: the (loss|gradient) is not finite; clips .*toy_train_\d+.mp3 \(",
        caplog.text,
    )
    file = load_model(tmp_path / "run" / "last.pt")
    assert file.training["state"]["n_skipped_in_a_row"] == 10
    assert "10 steps in a row" in (tmp_path / "run" / "train.log").read_text()


def test_a_skipped_step_leaves_the_statistics_as_they_were(toy_root, tmp_path, monkeypatch):
    seen = []

    def poisoned(self, draw):
        item = get(self, draw)
        if self.output_lengths is not None and not seen:  # the first clip that training reads
            seen.append(item.id)
            return item._replace(features=item.features * math.nan)
        return item

    get = ClipDataset.__getitem__
    monkeypatch.setattr(ClipDataset, "__getitem__", poisoned)
    folder = go(toy_root, tmp_path)
    assert [row["steps_skipped"] for row in metrics_of(folder)] == [1, 0]
    for name, value in load_model(folder / "last.pt").state_dict.items():
        assert value.isfinite().all(), name


def test_a_batch_that_needs_too_much_memory_is_named_and_skipped(
    toy_root, tmp_path, monkeypatch, caplog
):
    losses, calls = loss.ctc_losses, []

    def short_of_memory(*args):
        calls.append(args)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return losses(*args)

    monkeypatch.setattr(loss, "ctc_losses", short_of_memory)
    folder = go(toy_root, tmp_path)
    assert re.search(r"out of memory on a batch of 8 clips, padded to \d\.\d s each", caplog.text)
    assert "--batch_seconds below" in caplog.text
    assert [row["steps_skipped"] for row in metrics_of(folder)] == [1, 0]
