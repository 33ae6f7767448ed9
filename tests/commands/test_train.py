"""`main_ctc.py train`, from the command line to the run's folder; Ctrl-C; `--debug`."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import yaml

from asr_ctc.acoustic.model_file import load_model
from asr_ctc.config import load as config
from tests.helpers.command import MAIN, SMALL, call, environment, read_until, start

pytestmark = pytest.mark.slow

MODEL = "logs/small/best_model.pt"


def test_train_finds_its_corpus_and_leaves_a_run_folder(place):
    folder, finished = place
    run_folder = folder / "logs/small"
    names = {path.name for path in run_folder.iterdir()}
    events = {name for name in names if name.startswith("events.out.")}
    assert len(events) == 1
    assert names - events == {
        "config.yaml",
        "summary.txt",
        "train.log",
        "metrics.jsonl",
        "best_model.pt",
        "last.pt",
        "last.previous.pt",
    }
    assert "toy-1.0/fr train: 2" in finished.stderr
    assert "285,068 parameters; the run is in logs/small" in finished.stderr
    assert "epoch 1/1  train loss " in finished.stderr and "\n  dev   ref " in finished.stderr
    figures = json.loads((run_folder / "metrics.jsonl").read_text())
    assert {"train_loss", "dev_loss", "dev_cer", "dev_wer", "lr"} <= set(figures)
    assert "Total params: 285,068" in (run_folder / "summary.txt").read_text()


def test_the_run_writes_down_what_flags_file_and_defaults_came_to(folder):
    written = yaml.safe_load((folder / "logs/small/config.yaml").read_text())
    assert (written["num_epochs"], written["base_lr"], written["dropout"]) == (1, 5e-4, 0.1)
    values = config.read_yaml(folder / "logs/small/config.yaml")
    assert config.make_config(values, {}).training.weight_decay == 0


def test_train_starts_from_the_weights_of_a_model(folder, tmp_path):
    words = f"train {SMALL} --num_epochs 1 --resume_from", folder / MODEL
    finished = call(*words, "--datasetroot", folder / "data", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert f"starting from the weights of {folder / MODEL}" in finished.stderr
    before = float(re.search(r"before training.*loss ([\d.]+)", finished.stderr)[1])
    assert before == pytest.approx(load_model(folder / MODEL).scores["dev_loss"], abs=2e-3)
    assert "resumed from   " + str(folder / MODEL) in call("info", cwd=tmp_path).stdout


def test_train_refuses_flags_that_contradict_the_model_it_starts_from(folder):
    finished = call(f"train --cell_type LSTM --nhidden_rnn 16 --resume_from {MODEL}", cwd=folder)
    assert finished.returncode == 2
    assert "contradict --cell_type LSTM (the file has GRU); omit" in finished.stderr


def test_debug_says_when_a_batch_is_learnt_by_heart(folder):
    words = f"train --debug {SMALL} --nhidden_rnn 32 --batch_size 2 --base_lr 0.005"
    finished = call(words, "--train_augment --scheduler", cwd=folder)
    assert finished.returncode == 0, finished.stderr
    assert "PASSED: all 2 clips of the batch decoded perfectly after" in finished.stderr


def test_debug_explains_a_batch_that_is_not_learnt(folder):
    finished = call(f"train --debug {SMALL} --debug_steps 1", cwd=folder)
    assert finished.returncode == 1
    assert "FAILED: 0 of 8 clips decoded perfectly after 1 step. So few steps" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert {path.name for path in (folder / "logs").iterdir()} == {"small"}  # saves nothing


@pytest.mark.parametrize("n_workers", [0, 2])
def test_ctrl_c_keeps_the_best_model_and_says_how_to_go_on(folder, n_workers):
    words = f"train {SMALL} --num_epochs 1000 --logname a --nthreads {n_workers}"
    words += f" --baselogdir interrupted_{n_workers}"
    process = start(words, cwd=folder)
    read_until(process, "epoch 1/1000")
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to every process
    rest = process.stderr.read()
    assert process.wait() == 130, rest
    assert "stopped by Ctrl-C in epoch" in rest
    assert f"main_ctc.py train --resume_from interrupted_{n_workers}/a\n" in rest
    assert "Traceback" not in rest and "Exception" not in rest
    for file in ("best_model.pt", "last.pt"):
        load_model(folder / f"interrupted_{n_workers}" / "a" / file)


def test_training_goes_on_when_nobody_reads_standard_error_any_more(folder):
    process = start(f"train {SMALL} --num_epochs 1 --nthreads 1 --logname unread", cwd=folder)
    process.stderr.readline()
    process.stderr.close()
    assert process.wait() == 0
    assert "done: best dev CER" in (folder / "logs/unread/train.log").read_text()


def test_training_needs_no_standard_error(folder):
    words = f"train {SMALL} --num_epochs 1 --nthreads 1 --logname daemon".split()
    closed = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', sys.executable, str(MAIN), *words]
    assert subprocess.call(closed, cwd=folder, env=environment()) == 0
    assert "done: best dev CER" in (folder / "logs/daemon/train.log").read_text()


def test_ctrl_c_before_the_first_epoch_leaves_no_traceback(folder):
    process = start(f"train --debug {SMALL} --base_lr 1e-9", cwd=folder)
    read_until(process, "computing on cpu")
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait() == 130, rest
    assert "stopped by Ctrl-C" in rest and "Traceback" not in rest


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", ".", ".."])
def test_the_run_stays_below_its_folder(tmp_path, name):
    refused = call(f"train --logname {name}", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: --logname {name}: must name a folder below")
    assert list(tmp_path.iterdir()) == []
