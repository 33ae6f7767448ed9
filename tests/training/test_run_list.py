"""`runs`: folders made by hand, and one that training made."""

import json
import os
import subprocess
import sys

import pytest

from asr_ctc.base import files
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.training.run_list import as_json, as_table, differing, list_runs
from tests.helpers.command import REPOSITORY, call, train_small


def figures(epoch, cer, wer=0.5, loss=1.0):
    return {"epoch": epoch, "train_loss": 2.0, "dev_loss": loss, "dev_cer": cer, "dev_wer": wer}


def make_run(base, name, rows=(), age=0, **settings):
    folder = base / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(make_config({}, settings).to_yaml())
    os.utime(folder / "config.yaml", (10**9 - age, 10**9 - age))
    if rows:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metrics.jsonl").write_text(text)
    return folder


def listed(base):
    return {run.name: run for run in list_runs(base)}


def test_the_newest_run_is_last_wherever_it_lies(tmp_path):
    make_run(tmp_path, "b", age=5)
    make_run(tmp_path, "deeper/a", age=0)
    make_run(tmp_path, "c", age=9)
    (tmp_path / "b" / "plots").mkdir()
    (tmp_path / ".hidden").mkdir()
    assert [run.name for run in list_runs(tmp_path)] == ["c", "b", "deeper/a"]


@pytest.mark.parametrize(
    ("settings", "n_epochs", "state"),
    [
        ({"num_epochs": 3}, 0, "stopped"),
        ({"num_epochs": 3}, 2, "stopped"),
        ({"num_epochs": 3}, 3, "finished"),
        ({"num_epochs": 9, "early_stopping": 2}, 3, "finished"),  # none is better than the first
        ({"num_epochs": 9, "early_stopping": 3}, 3, "stopped"),
    ],
)
def test_the_state_of_a_run(tmp_path, settings, n_epochs, state):
    rows = [figures(epoch, 0.5 + epoch / 100) for epoch in range(1, n_epochs + 1)]
    make_run(tmp_path, "a", rows, **settings)
    found = listed(tmp_path)["a"]
    assert (found.state, found.epochs, found.num_epochs) == (
        state,
        n_epochs,
        settings["num_epochs"],
    )


@pytest.mark.slow
def test_a_run_is_running_while_a_process_has_its_log(tmp_path):
    log = make_run(tmp_path, "a", [figures(1, 0.5)], num_epochs=1) / "train.log"
    code = "import sys; from asr_ctc.base.files import lock_file; f = open(sys.argv[1], 'ab'); "
    code += "print(lock_file(f), flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", code, str(log)]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, cwd=REPOSITORY, text=True) as process:
        assert process.stdout.readline() == "True\n"
        assert listed(tmp_path)["a"].state == "running"
        process.kill()
    assert listed(tmp_path)["a"].state == "finished"


TAKE_AND_SAY_WHAT_IS_WAITED_FOR = """
import fcntl, sys
from asr_ctc.base import files

def lock(file, kind, *which):
    try:
        lockf(file, kind | fcntl.LOCK_NB, *which)
    except BlockingIOError:
        if kind & fcntl.LOCK_NB:
            raise
        print("waits", flush=True)
        lockf(file, kind, *which)

lockf, files.fcntl.lockf = fcntl.lockf, lock
print(files.lock_file(open(sys.argv[1], "ab")))
"""


@pytest.mark.slow
def test_looking_keeps_no_run_from_starting(tmp_path, monkeypatch):
    """One that starts in the very moment in which it is looked at."""
    log = make_run(tmp_path, "a", [figures(1, 0.5)]) / "train.log"
    log.touch()
    command = [sys.executable, "-c", TAKE_AND_SAY_WHAT_IS_WAITED_FOR, str(log)]
    lockf, started = files.fcntl.lockf, []

    def lock_and_let_another_start(*how):
        lockf(*how)
        starting = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        started.append((starting, starting.stdout.readline()))

    monkeypatch.setattr(files.fcntl, "lockf", lock_and_let_another_start)
    assert listed(tmp_path)["a"].state == "stopped"
    [(starting, said)] = started
    assert said + starting.communicate()[0] == "waits\nTrue\n"


def test_looking_leaves_everything_as_it_is(tmp_path):
    make_run(tmp_path, "a", [figures(1, 0.5)])
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    as_table(list_runs(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("by", "epoch"), [("cer", 1), ("wer", 2), ("loss", 3)])
def test_the_best_epoch_is_the_one_that_training_kept(tmp_path, by, epoch):
    rows = [figures(1, 0.1, 0.9, 3.0), figures(2, 0.2, 0.5, 2.0), figures(3, 0.3, 0.8, 1.0)]
    make_run(tmp_path, "a", rows, best_by=by)
    assert listed(tmp_path)["a"].best == rows[epoch - 1]


def test_an_epoch_done_again_counts_once(tmp_path):
    make_run(tmp_path, "a", [figures(1, 0.3), figures(2, 0.1), figures(2, 0.2)])
    found = listed(tmp_path)["a"]
    assert (found.epochs, found.best["dev_cer"]) == (2, 0.2)


def test_only_settings_that_differ_are_told(tmp_path):
    make_run(tmp_path, "a", base_lr=0.001, augment=["gain -6 6"], logname="a")
    make_run(tmp_path, "b", base_lr=0.001, scheduler="cosine", logname="b")
    runs = list_runs(tmp_path)
    assert differing(runs) == ["augment", "scheduler"]
    assert "    augment gain -6 6, scheduler none" in as_table(runs).splitlines()
    assert "    augment none, scheduler cosine" in as_table(runs).splitlines()
    assert "base_lr" not in as_table(runs)


def test_settings_of_other_versions(tmp_path):
    make_run(tmp_path, "a", age=1)
    other = make_run(tmp_path, "b") / "config.yaml"
    lines = other.read_text().replace("scheduler: null", "scheduler: true").splitlines()
    kept = [line for line in lines if not line.startswith("ema:")]
    other.write_text("\n".join([*kept, "colour: red"]))
    runs = list_runs(tmp_path)
    assert differing(runs) == ["scheduler", "colour"]
    assert [run.notes for run in runs] == [[], []]
    assert "    scheduler step, colour red" in as_table(runs)


def test_the_table(tmp_path):
    rows = [figures(1, 1.0, 1.0, 2.5), figures(2, 0.0512, 0.1234, 0.25)]
    make_run(tmp_path, "first", rows, age=1, num_epochs=2, seed=1)
    make_run(tmp_path, "second", num_epochs=2, seed=2)
    assert as_table(list_runs(tmp_path)) == (
        "run     state        epochs   best    CER %    WER %      loss\n"
        "first   finished        2/2      2     5.12    12.34    0.2500\n"
        "    seed 1\n"
        "second  stopped         0/2      -        -        -         -\n"
        "    seed 2"
    )


def test_the_table_fits_a_hundred_columns(tmp_path):
    rows = [figures(10**4, 3.2, 4.1, 123.4)]
    settings = dict(num_epochs=10**4, lang="x" * 200, datasetroot="/a b" * 40, nmels=80)
    make_run(tmp_path, "n" * 90, rows, **settings)
    make_run(tmp_path, "short", exclude="y-" * 70, **{"seed": 7, "nthreads": 1})
    lines = as_table(list_runs(tmp_path)).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[1] == "n" * 90 and "10000/10000" in lines[2]


def test_broken_folders_are_named_and_the_others_listed(tmp_path):
    make_run(tmp_path, "good", [figures(1, 0.5)])
    (tmp_path / "empty").mkdir()
    (make_run(tmp_path, "binary") / "config.yaml").write_bytes(b"\xff\xfe\x00")
    (make_run(tmp_path, "cut") / "config.yaml").write_text("lang: [fr")
    (make_run(tmp_path, "blank") / "config.yaml").write_text("")
    (make_run(tmp_path, "odd") / "config.yaml").write_text("num_epochs: many\n")
    (make_run(tmp_path, "by") / "config.yaml").write_text("best_by: luck\n")
    (make_run(tmp_path, "lost", [figures(3, 0.25)]) / "config.yaml").unlink()
    (make_run(tmp_path, "folder") / "metrics.jsonl").mkdir()
    found = listed(tmp_path)
    assert {name for name, run in found.items() if run.state == "broken"} == {
        "empty", "binary", "cut", "blank", "odd", "by", "lost",
    }  # fmt: skip
    assert found["empty"].notes == ["no config.yaml: not a run, or one that ended before it began"]
    assert found["cut"].notes == ["config.yaml cannot be read, or is cut off"]
    assert found["odd"].notes == ["config.yaml: num_epochs is 'many'"]
    assert found["by"].notes == ["config.yaml: best_by is 'luck'"]
    assert found["lost"].best["dev_cer"] == 0.25 and found["lost"].epochs == 3
    assert found["folder"].notes == ["metrics.jsonl cannot be read (Is a directory)"]
    assert found["good"].notes == []
    table = as_table(list(found.values()))
    assert all(name in table for name in found)
    assert "    note: config.yaml: num_epochs is 'many'" in table


def test_lines_that_are_no_figures_are_counted(tmp_path):
    folder = make_run(tmp_path, "a", [figures(1, 0.5), figures(2, 0.4)])
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(
            '[]\n{"epoch": 3}\n{"epoch": 4, "dev_cer": "0.1", "dev_wer": 1, "dev_loss": 1}\n'
        )
        file.write(json.dumps(figures(5, 0.3))[:-4])
    found = listed(tmp_path)["a"]
    assert found.epochs == 2
    assert found.notes == ["metrics.jsonl: no metrics of an epoch in 4 of 6 lines"]


def test_json_is_valid_whatever_the_figures(tmp_path):
    make_run(tmp_path, "a", [figures(1, float("nan"), loss=float("inf"))], seed=1, augment=["é"])
    make_run(tmp_path, "b", seed=2)
    (tmp_path / "c").mkdir()

    def refuse(constant):
        raise AssertionError(constant)

    told = json.loads(as_json(list_runs(tmp_path)), parse_constant=refuse)
    by_name = {run["run"]: run for run in told}
    assert [run["version"] for run in told] == [1, 1, 1]
    assert by_name["a"]["best"] == {**figures(1, None, loss=None)}
    assert by_name["a"]["settings"] == {"augment": ["é"], "seed": 1}
    assert by_name["b"]["best"] is None and by_name["b"]["state"] == "stopped"
    assert by_name["c"]["settings"] == {} and by_name["c"]["notes"]


@pytest.mark.parametrize("there", [True, False])
def test_no_runs(tmp_path, there):
    if there:
        (tmp_path / "logs").mkdir()
    why = "" if there else r" \(no such folder\)"
    with pytest.raises(UserError, match=f"no runs below .*logs{why}: start one with `python main"):
        list_runs(tmp_path / "logs")


@pytest.mark.slow
def test_a_run_that_training_made(tmp_path):
    train_small(tmp_path)
    finished = call("runs --json", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    [told] = json.loads(finished.stdout)
    assert (told["run"], told["state"], told["epochs"]) == ("small", "finished", 1)
    assert told["best"]["epoch"] == 1 and told["notes"] == []
    finished = call("--baselogdir logs runs", cwd=tmp_path)
    assert finished.stdout.splitlines()[1].startswith("small  finished        1/1      1")
    refused = call("runs --baselogdir nowhere", cwd=tmp_path)
    assert refused.returncode == 2 and "no runs below nowhere" in refused.stderr
