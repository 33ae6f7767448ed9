"""Several processes that train together, started by torchrun on CPUs (gloo)."""

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asr_ctc.acoustic.model_file import load_model
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.selection import prepare_split
from asr_ctc.scoring.evaluation import evaluate
from asr_ctc.training.distributed import World, join_processes
from asr_ctc.training.loop import make_sampler
from tests.helpers.command import REPOSITORY, call, environment
from tools.toy_corpus import make_toy_corpus

pytestmark = pytest.mark.slow

COMMON = """
    train --nlayers_rnn 1 --nhidden_rnn 8 --precision fp32 --device cpu --seed 3 --min_duration 0.5
    --nthreads 0 --dropout 0 --base_lr 0.01 --datasetroot data
""".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds data/, a toy corpus of 16, 4 and 1 clips."""
    folder = tmp_path_factory.mktemp("together")
    make_toy_corpus(folder / "data", (16, 4, 1))
    return folder


def torchrun(*words, cwd, options=(), **extra: str) -> subprocess.CompletedProcess:
    started = "torch.distributed.run", "--standalone", "--nproc_per_node=2", *options
    return python(*started, "-m", "tests.helpers.dying", *words, cwd=cwd, **extra)


def together(*words, cwd, **extra: str) -> subprocess.CompletedProcess:
    """Like ``torchrun``, but nothing watches over the two processes."""
    return python("tests.helpers.together", *words, cwd=cwd, **extra)


def python(module: str, *words, cwd, **extra: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", module, *words]
    variables = environment(PYTHONPATH=str(REPOSITORY), **extra)
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, encoding="utf-8")


def figures(folder: Path, name: str, figure: str) -> list[float]:
    lines = (folder / "logs" / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)[figure] for line in lines]


def losses(folder: Path, name: str) -> list[float]:
    return figures(folder, name, "train_loss")


@pytest.mark.parametrize("normalisation", ["--freeze cnn", "--sync_batchnorm"])
def test_two_processes_follow_the_loss_curve_of_one(folder, normalisation):
    """16 clips are one step: 20 epochs are 20 steps. Normalisation is frozen, or over all clips."""
    name = normalisation.split()[0].strip("-")
    words = [*COMMON, "--num_epochs", "20", *normalisation.split(), "--logname"]
    alone = call(*words, f"{name}_1", "--batch_size 16", cwd=folder)
    assert alone.returncode == 0, alone.stderr
    both = together(*words, f"{name}_2", "--batch_size", "8", cwd=folder)
    assert both.returncode == 0, both.stderr
    assert "2 processes" in both.stderr
    assert both.stderr.count("epoch 20/20") == 1  # one of them speaks
    one, two = losses(folder, f"{name}_1"), losses(folder, f"{name}_2")
    assert len(one) == 20 and one[-1] < one[0]
    # Gradients that are zero but for rounding, of the biases before a normalisation, move by AdamW.
    assert two == pytest.approx(one, rel=1e-5 if name == "freeze" else 1e-3)
    scores = [load_model(folder / "logs" / f"{name}_{n}" / "last.pt").scores for n in (1, 2)]
    assert scores[0] == scores[1]


def test_what_is_scored_is_the_model_that_is_kept(folder):
    """Each process has seen other clips, but dev is scored with one set of running statistics."""
    words = [*COMMON, "--num_epochs", "1", "--batch_size", "2", "--ema", "0.5"]
    both = together(*words, "--logname", "scored", cwd=folder)
    assert both.returncode == 0, both.stderr
    file = load_model(folder / "logs" / "scored" / "best_model.pt")
    dev = prepare_split(folder / "data" / "toy-1.0" / "fr", "dev")
    dataset = ClipDataset(dev, file.charmap, file.build_processor())
    alone = evaluate(
        file.build_model(), make_loader(dataset, [[0, 1, 2, 3]], 0), torch.device("cpu")
    )
    assert file.scores["dev_loss"] == pytest.approx(alone.loss, rel=1e-6)


def test_a_dying_process_ends_the_others_and_the_run_goes_on_from_the_last_save(folder):
    """The error says what to do; the run that goes on ends as a straight one."""
    words = [*COMMON, "--batch_size", "4", "--num_epochs", "4", "--scheduler", "cosine"]
    dying = [*words, "--logname"]
    left = torchrun(*dying, "left", cwd=folder, STRIKE="SIGKILL 6")
    assert left.returncode != 0
    assert re.search(
        "another process of this run has ended.*: .*gloo.*; the last save stands: "
        "go on with --resume_from",
        left.stderr,
    )
    state = load_model(folder / "logs" / "left" / "last.pt").training["state"]
    assert (state["epoch"], state["n_batches"]) == (3, 1)  # all that was done before the sixth step

    shutil.copytree(folder / "logs" / "left", folder / "logs" / "resumed")
    resumed = together("train", "--resume_from", "logs/resumed", cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on in epoch 3, after 1 of its batches" in resumed.stderr
    straight = together(*words, "--logname", "straight", cwd=folder)
    assert straight.returncode == 0, straight.stderr
    a, b = (load_model(folder / "logs" / name / "last.pt") for name in ("straight", "resumed"))
    assert all(torch.equal(a.state_dict[name], b.state_dict[name]) for name in a.state_dict)
    assert losses(folder, "straight") == losses(folder, "resumed")

    # Another number of processes: the epoch that was left is begun again.
    alone = call("train --resume_from logs/left", cwd=folder)
    assert alone.returncode == 0, alone.stderr
    assert re.search(
        r"the run had 2 processes and has 1 now: epoch \d is begun again", alone.stderr
    )
    assert len(losses(folder, "left")) == 4
    assert figures(folder, "left", "lr") == pytest.approx(figures(folder, "straight", "lr"))


def test_a_restart_of_torchrun_is_refused(folder):
    """Its store has the addresses of dead processes, and the command line begins a new run."""
    words = [*COMMON, "--batch_size", "4", "--num_epochs", "4"]
    before = set((folder / "logs").iterdir())
    restarted = torchrun(
        *words,
        cwd=folder,
        options=["--max_restarts=1"],
        STRIKE="SIGKILL 6",
    )
    assert restarted.returncode != 0
    # torchrun ends the others as soon as one has ended, perhaps before they have said it.
    assert restarted.stderr.count("error: torchrun has restarted this process") in (1, 2)
    assert len(set((folder / "logs").iterdir()) - before) == 1


@pytest.mark.parametrize("rank", ["0", "1"])
def test_every_process_of_a_restart_is_refused(rank, monkeypatch):
    started = {"TORCHELASTIC_RUN_ID": "1", "TORCHELASTIC_RESTART_COUNT": "1"}
    for name, value in {**started, "RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="torchrun has restarted this process"):
        join_processes("cpu")


def on_two_machines(*words, cwd: Path, **extra: str) -> tuple[list[int], str]:
    """(exit statuses, all that was said) of two agents of torchrun, as on two machines."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1",
        "--rdzv_backend=c10d", f"--rdzv_endpoint=localhost:{port}",
        "-m", "tests.helpers.dying", *words,
    ]  # fmt: skip
    variables = environment(PYTHONPATH=str(REPOSITORY), **extra)
    logs = [cwd / "first.log", cwd / "second.log"]
    agents = []
    try:
        for log in logs:
            with log.open("w") as out:
                options = dict(cwd=cwd, env=variables, stdout=out, stderr=subprocess.STDOUT)
                agents.append(subprocess.Popen(command, **options))
        statuses = [agent.wait() for agent in agents]
    finally:
        for agent in agents:
            agent.kill()
    return statuses, "".join(log.read_text(encoding="utf-8") for log in logs)


def test_a_death_on_one_of_two_machines_ends_both_and_the_run_goes_on(folder):
    words = [*COMMON, "--batch_size", "4", "--num_epochs", "4", "--logname", "two"]
    statuses, said = on_two_machines(*words, cwd=folder, STRIKE="SIGKILL 6")
    assert all(statuses), said
    assert "the last save stands: go on with --resume_from" in said
    statuses, said = on_two_machines("train", "--resume_from", "logs/two", cwd=folder)
    assert statuses == [0, 0], said
    assert "going on in epoch 3" in said
    assert len(losses(folder, "two")) == 4


def test_when_one_process_is_asked_to_stop_all_stop_at_the_same_step(folder):
    words = [*COMMON, "--batch_size", "4", "--num_epochs", "4", "--logname", "asked"]
    words[words.index("--nthreads") + 1] = "1"
    asked = together(*words, cwd=folder, STRIKE="SIGTERM 6")
    assert asked.returncode != 0
    said = "stopped by SIGTERM in epoch 3, after 2 of its batches; go on with:"
    assert said in asked.stderr, asked.stderr
    assert "another process of this run has ended" not in asked.stderr
    state = load_model(folder / "logs" / "asked" / "last.pt").training["state"]
    assert (state["epoch"], state["n_batches"]) == (3, 2)


def test_fewer_clips_than_processes(folder, tmp_path):
    make_toy_corpus(tmp_path / "data", (4, 1, 1))
    refused = torchrun(*COMMON, cwd=tmp_path)
    assert refused.returncode != 0
    said = "error: 1 clips cannot be shared by 2 processes: start fewer processes"
    # torchrun ends the others as soon as one has ended, perhaps before they have said it.
    assert refused.stderr.count(f"\n{said}") in (1, 2)


@pytest.mark.parametrize("rank", [0, 1])
def test_every_process_refuses_fewer_clips_than_processes(rank):
    with pytest.raises(UserError, match="^1 clips cannot be shared by 2 processes: start fewer"):
        corpus = SimpleNamespace(durations=np.ones(1))
        make_sampler(corpus, None, make_config({}, {"seed": 1}), World(rank, 2, rank))
