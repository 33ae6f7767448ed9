"""What goes wrong in a run, and what a run that goes on is given wrongly."""

import errno
import json
import math
import multiprocessing
import os
import shutil
import signal
import socket
from dataclasses import replace
from datetime import timedelta

import pytest
import torch

from asr_ctc.acoustic.model_file import load_model, save_model
from asr_ctc.assembly import scored_split
from asr_ctc.base.errors import UserError
from asr_ctc.commands import main as cli
from asr_ctc.config.load import make_config, read_yaml
from asr_ctc.scoring import evaluation
from asr_ctc.training import curves, distributed, interruption, resume
from asr_ctc.training import loop as training
from asr_ctc.training.loop import train
from asr_ctc.training.result import RunResult
from asr_ctc.training.resume import find_start
from asr_ctc.training.run_list import list_runs
from asr_ctc.training.setup import set_up_run
from asr_ctc.training.step import Reason, Skipped, train_step
from tests.helpers.batches import make_batch, make_model
from tools.toy_corpus import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("log_everything")]


def go(root, logs, **flags) -> RunResult:
    """Trains in ``logs``/run."""
    where = {"datasetroot": str(root), "baselogdir": str(logs), "logname": "run"}
    config = make_config({**SMALL, "batch_size": 2, **where}, flags)
    return train(config)


def go_on(folder, **flags) -> RunResult:
    config = make_config({}, {"resume_from": str(folder), **flags})
    return train(config)


@pytest.fixture
def folder(few_root, tmp_path):
    """That of a finished run."""
    assert not go(few_root, tmp_path).interrupted
    return tmp_path / "run"


# --- Steps that fail -----------------------------------------------------------------------------


def weights_of(model) -> list:
    return [value.clone() for value in model.state_dict().values()]


def step_of(model, batch, scaler=None, lr=0.1, **more):
    cpu = torch.device("cpu")
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return train_step(
        model, [batch], optimizer, device=cpu, precision="fp32", scaler=scaler, **more
    )


def test_any_other_error_leaves_the_model_as_it_was():
    """So that the run can be saved when another process has gone."""
    model, before = make_model(), weights_of(make_model())

    def fail(*args):
        raise RuntimeError("gloo: Connection closed by peer")

    model.charlin.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        step_of(model, make_batch([1]))
    assert all(torch.equal(a, b) for a, b in zip(weights_of(model), before, strict=True))


OUT_OF_MEMORY = [
    "CUDA out of memory. Tried to allocate 2.00 GiB.",
    "CUDA error: out of memory",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "[enforce fail at alloc_cpu.cpp:126] DefaultCPUAllocator: can't allocate memory",
]


@pytest.mark.parametrize("words", OUT_OF_MEMORY)
def test_every_way_to_say_that_memory_is_out_skips_the_step(words, caplog):
    model = make_model()

    def fail(*args):
        raise RuntimeError(words)

    model.charlin.register_forward_hook(fail)
    assert step_of(model, make_batch([1])) == Skipped(Reason.OUT_OF_MEMORY)
    assert "step skipped: out of memory on a batch of 1 clip," in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        MemoryError(),
        MemoryError("Caught MemoryError in DataLoader worker process 0.\nOriginal Traceback ..."),
    ],
)
def test_memory_that_a_command_lacks_is_one_line(error, monkeypatch, capsys):
    def fail(*args):
        raise error

    monkeypatch.setitem(cli.COMMANDS, "test", replace(cli.COMMANDS["test"], run=fail))
    assert cli.main(["test"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: out of memory") and said.count("\n") == 1


def test_other_errors_of_torch_are_not_hidden(monkeypatch):
    def fail(*args):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setitem(cli.COMMANDS, "test", replace(cli.COMMANDS["test"], run=fail))
    with pytest.raises(RuntimeError, match="shapes"):
        cli.main(["test"])


def test_memory_that_the_optimiser_lacks_ends_the_run_at_the_last_save(
    few_root, tmp_path, monkeypatch
):
    """Half of the weights may have moved: they are not saved."""

    def fail(*args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(torch.optim.AdamW, "step", fail)
    with pytest.raises(UserError, match="while the optimiser .* last save stands; in a new run"):
        go(few_root, tmp_path)
    state = load_model(tmp_path / "run" / "last.pt").training["state"]
    assert (state["epoch"], state["n_batches"]) == (1, 0)


def test_what_another_process_is_asked_stops_this_one_before_the_step(
    few_root, tmp_path, monkeypatch, caplog
):
    class OneIsAsked(distributed.World):
        def sum(self, values, device):
            if len(values) == len(interruption.SIGNALS):
                n_ctrl_c, n_sigterm = values
                return [n_ctrl_c, n_sigterm + 1]
            return list(values)

    monkeypatch.setattr(distributed, "join_processes", lambda device: OneIsAsked())
    monkeypatch.setattr(training, "train_step", lambda *args, **how: pytest.fail("a step"))
    result = go(few_root, tmp_path)
    assert (result.signal, result.n_epochs, result.best) == (signal.SIGTERM, 0, None)
    assert "stopped by SIGTERM in epoch 1, after 0 of its batches" in caplog.text


def test_an_error_in_waiting_for_others_is_quoted(monkeypatch):
    """It may be this process's own."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    refused = pytest.raises(UserError, match="cannot be reached: NCCL error in: x.cpp:1, invalid")
    with refused, distributed.as_user_error_when_a_peer_dies():
        raise RuntimeError("NCCL error in: x.cpp:1, invalid usage\nLast error: Duplicate GPU")
    with pytest.raises(RuntimeError, match="shapes"), distributed.as_user_error_when_a_peer_dies():
        raise RuntimeError("shapes differ")


def test_the_scaler_seeks_its_scale_but_not_for_ever(caplog):
    """A gradient that is infinite at every scale is no matter of the scale."""
    model = make_model()
    model.charlin[0].bias.register_hook(lambda gradient: gradient * math.inf)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    done = [step_of(model, make_batch([1, 2]), scaler) for _ in range(4)]
    # At 4 and 2; then it is a failure.
    assert [step.reason for step in done] == 2 * [Reason.CALIBRATING] + 2 * [Reason.NOT_FINITE]
    assert [step.is_failure for step in done] == [False, False, True, True]
    assert caplog.text.count("step skipped: the gradient is not finite") == 2


# --- Going on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_state_is_replaced_by_the_one_before(folder, damage, caplog):
    wanted, last = load_model(folder / "last.pt").state_dict, folder / "last.pt"
    data = last.read_bytes()
    last.unlink()
    if damage == "cut":
        last.write_bytes(data[: len(data) // 2])
    assert not go_on(folder).interrupted
    assert f"going on from {folder / 'last.previous.pt'}" in caplog.text
    assert "going on in epoch 2, after 0 of its batches" in caplog.text
    found = load_model(last).state_dict
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_state_with_a_part_missing_is_refused(folder):
    file = load_model(folder / "last.pt")
    file.training["state"]["best"] = {"epoch": 2}
    save_model(folder / "last.pt", file)
    with pytest.raises(UserError, match="run/last.pt: cannot go on: its state has no 'ranks'$"):
        go_on(folder)


def test_a_run_goes_on_where_it_was_even_if_there_is_a_gpu(folder, monkeypatch):
    """Its device is its own, unless another is given now: the processes are joined for it."""
    devices = []
    monkeypatch.setattr(
        distributed, "join_processes", lambda device: devices.append(device) or distributed.ALONE
    )
    assert not go_on(folder).interrupted
    assert devices == ["cpu"]


def test_a_restart_of_torchrun_is_refused_before_any_work(few_root, tmp_path, monkeypatch):
    """It would begin the run anew, in another folder."""
    for name, value in under_torchrun(restarts=1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="torchrun has restarted this .*--resume_from FOLDER"):
        go(few_root, tmp_path)
    assert not list(tmp_path.iterdir())


def test_processes_that_do_not_reach_each_other_are_one_line(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("localhost", 0))  # and nobody listens there
        address = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(closed.getsockname()[1])}
        for name, value in {**under_torchrun(size=2), **address}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(distributed, "PATIENCE", timedelta(seconds=1))
        with pytest.raises(
            UserError, match="torchrun started do not reach each other: .*localhost"
        ):
            distributed.join_processes("cpu")


def under_torchrun(size: int = 1, restarts: int = 0) -> dict[str, str]:
    """What torchrun tells the last of ``size`` processes."""
    return {
        "TORCHELASTIC_RUN_ID": "1", "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": str(restarts), "WORLD_SIZE": str(size),
        "RANK": str(size - 1), "LOCAL_RANK": str(size - 1),
    }  # fmt: skip


def test_the_best_epochs_are_known_without_their_figures(few_root, tmp_path, caplog):
    assert not go(few_root, tmp_path, average_best=2).interrupted
    assert "average of epochs 1, 2:" in caplog.text
    (tmp_path / "run" / "metrics.jsonl").unlink()
    caplog.clear()
    assert not go_on(tmp_path / "run").interrupted
    assert "average of epochs 1, 2:" in caplog.text


def test_on_a_processor_of_another_precision_the_scaler_starts_anew(folder):
    start = find_start(make_config({}, {"resume_from": str(folder)}))
    run = set_up_run(start)
    state = training.make_state(run, 3)
    state.scaler = torch.amp.GradScaler("cpu")
    sampler = training.make_sampler(run.train_corpus, run.model, run.config)
    resume.restore(start, state, sampler, run.world)
    assert state.epoch == 3 and state.scaler.get_scale() == 65536.0


# --- Workers, disks and clips that fail meanwhile -------------------------------------------------


@pytest.mark.parametrize("moment", ["train_step", "evaluate"])
def test_a_killed_worker_ends_the_run_saved(moment, few_root, tmp_path, monkeypatch):
    """Whatever was under way: the run goes on from there to the same bits."""
    assert not go(few_root, tmp_path / "straight").interrupted
    original, calls = getattr(training, moment), []

    def kill_a_worker(*args, **how):
        calls.append(0)
        if len(calls) == 2:
            for worker in multiprocessing.active_children():
                worker.kill()
        return original(*args, **how)

    with monkeypatch.context() as patched, pytest.raises(UserError) as refused:
        patched.setattr(training, moment, kill_a_worker)
        go(few_root, tmp_path, nthreads=1)
    said = str(refused.value)
    assert "audio was killed by SIGKILL" in said and "\n" not in said
    assert f"the run is saved: go on with --resume_from {tmp_path / 'run'}" in said
    assert not go_on(tmp_path / "run").interrupted
    assert_same_weights(tmp_path / "straight" / "run", tmp_path / "run")


def assert_same_weights(*folders):
    first, second = (load_model(folder / "last.pt").state_dict for folder in folders)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_killed_worker_ends_a_test_in_one_line(folder, few_root, monkeypatch, capsys):
    original = evaluation.log_posteriors

    def kill_workers(*args):
        for worker in multiprocessing.active_children():
            worker.kill()
        return original(*args)

    monkeypatch.setattr(evaluation, "log_posteriors", kill_workers)
    monkeypatch.setattr(scored_split, "CLIPS_AT_A_TIME", 1)
    words = f"test --modelpath {folder / 'best_model.pt'} --datasetroot {few_root} --lang fr"
    words += " --split train --nthreads 1 --min_duration 0 --device cpu"
    assert cli.main(words.split()) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: a worker process that loads audio was killed by SIGKILL")


def test_a_full_disk_under_the_curves_is_one_line(few_root, tmp_path, monkeypatch, capfd):
    def no_room(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(curves.RecordWriter, "write", no_room)
    with pytest.raises(UserError, match="cannot write .*events.out.*: No space left on device"):
        go(few_root, tmp_path)
    assert "Traceback" not in capfd.readouterr().err


def test_metrics_that_cannot_be_written_are_named(few_root, tmp_path, monkeypatch):
    written = training.write_settings

    def be_in_the_way(run, folder):
        (folder / "metrics.jsonl").mkdir()
        written(run, folder)

    monkeypatch.setattr(training, "write_settings", be_in_the_way)
    with pytest.raises(UserError, match="cannot write .*metrics.jsonl: Is a directory"):
        go(few_root, tmp_path)


@pytest.mark.parametrize("n_threads", [0, 1])
def test_clips_that_vanish_are_excluded_and_named_once(
    n_threads, few_root, tmp_path, monkeypatch, caplog
):
    """Also one that vanishes between its evaluation and its picture."""
    root = shutil.copytree(few_root, tmp_path / "data")
    clips = root / "toy-1.0" / "fr" / "clips"
    logged = training.log_epoch

    def vanish(run, metrics, dev, **how):
        if metrics["epoch"] == 1:
            (clips / dev.clips[0].id).unlink()
            (clips / run.train_corpus.path(0)).unlink()
        logged(run, metrics, dev, **how)

    monkeypatch.setattr(training, "log_epoch", vanish)
    assert not go(root, tmp_path, num_epochs=3, nthreads=n_threads).interrupted
    assert caplog.text.count("excluded: toy_train_0.mp3: no such file") == 1
    assert caplog.text.count("no such file") == 2
    rows = [json.loads(row) for row in (tmp_path / "run" / "metrics.jsonl").open()]
    assert [row["clips_left_out"] for row in rows] == [0, 1, 1]
    assert [row["dev_clips_left_out"] for row in rows] == [0, 1, 1]


def test_a_run_goes_on_without_clips_that_have_vanished(few_root, tmp_path, caplog):
    root = shutil.copytree(few_root, tmp_path / "data")
    assert not go(root, tmp_path).interrupted
    for name in "toy_train_0.mp3", "toy_dev_0.mp3":
        (root / "toy-1.0" / "fr" / "clips" / name).unlink()
    caplog.clear()
    assert not go_on(tmp_path / "run", num_epochs=3).interrupted
    assert "the run had 6 clips and has 5 now: epoch 3 is begun again" in caplog.text
    assert caplog.text.count("toy_dev_0.mp3: ") == caplog.text.count("toy_train_0.mp3: ") == 1


# --- Runs without a save, and with other settings ------------------------------------------------


def test_a_run_without_a_save_begins_again(few_root, tmp_path, monkeypatch, caplog):
    def die(*args):
        raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(training.Saver, "save", die)
        go(few_root, tmp_path)
    folder = tmp_path / "run"
    assert (folder / "train.log").exists() and not (folder / "last.pt").exists()
    with pytest.raises(
        UserError,
        match=f"ended before its first save.*train --config {folder}/config.yaml --baselogdir "
        f"{tmp_path} --logname run",
    ):
        go_on(folder)
    caplog.clear()
    assert not go(few_root, tmp_path).interrupted
    assert caplog.text.count(f"{folder}: its run ended before its first save and begins again") == 1
    assert not go(few_root, tmp_path / "straight").interrupted
    assert_same_weights(folder, tmp_path / "straight" / "run")


@pytest.mark.parametrize("other", ["best_model.pt", "last.previous.pt", "metrics.jsonl", "thesis"])
def test_a_folder_that_holds_more_is_not_begun_again(other, few_root, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("train.log", "config.yaml", other):
        (tmp_path / "run" / name).write_text("")
    with pytest.raises(UserError, match="run holds a run already"):
        go(few_root, tmp_path)


def test_a_lengthened_run_is_written_down(folder, few_root, tmp_path):
    started = [run.name for run in list_runs(tmp_path)]
    assert not go_on(folder, num_epochs=3).interrupted
    (summary,) = list_runs(tmp_path)
    assert [summary.name] == started
    assert (summary.state, summary.epochs, summary.num_epochs) == ("finished", 3, 3)
    again = make_config(read_yaml(folder / "config.yaml"), {"baselogdir": str(tmp_path / "again")})
    repeated = train(again).folder
    assert_same_weights(folder, repeated)


def test_fewer_epochs_than_there_are_is_refused(folder):
    before = (folder / "config.yaml").read_text()
    with pytest.raises(UserError, match="--num_epochs 1: .*run has finished 2 epochs already"):
        go_on(folder, num_epochs=1)
    assert (folder / "config.yaml").read_text() == before


def test_a_cache_is_refused_where_there_was_none(folder, few_root, tmp_path):
    """It rounds the features: the run would go on with other numbers."""
    with pytest.raises(UserError, match=r"contradicts --cache_dir .*cache \(the run has None\)"):
        go_on(folder, cache_dir=str(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()
    assert not go(few_root, tmp_path / "cached", cache_dir=str(tmp_path / "a")).interrupted
    with pytest.raises(UserError, match=r"contradicts --cache_dir None \(the run has .*a\)"):
        go_on(tmp_path / "cached" / "run", cache_dir=None)
    assert not go_on(tmp_path / "cached" / "run", cache_dir=str(tmp_path / "b")).interrupted


# --- From a model's weights ----------------------------------------------------------------------
