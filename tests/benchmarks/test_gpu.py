"""benchmarks/gpu.sh: its dry run, its refusals, its tables."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from benchmarks.gpu.table import tables
from tests.helpers.command import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "gpu.sh"

pytestmark = pytest.mark.skipif(not shutil.which("timeout"), reason="there is no timeout")


def run(*words) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHON": sys.executable}
    command = [str(SCRIPT), *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8")


def rows(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_the_dry_run_passes(tmp_path):
    ended = run(tmp_path / "out", "--device", "cpu")
    log = (tmp_path / "out" / "log.txt").read_text(encoding="utf-8")
    assert ended.returncode == 0, ended.stdout + log[-5000:]
    steps = [row["step"] for row in rows(tmp_path / "out" / "steps.jsonl")]
    measured = "train_step beam resume digits loader failures compiled".split()
    assert steps == ["corpora", "compilation", "tests", *measured]
    results = rows(tmp_path / "out" / "results.jsonl")
    assert {row["step"] for row in results} == set(measured)
    assert not [row for row in results if "error" in row]
    assert all(row["same_bits"] is True for row in results if "same_bits" in row)
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "dry run, no GPU" in table and "| tests |" in table and "### failures" in table


def test_the_steps_on_a_gpu_take_under_eight_minutes():
    script = SCRIPT.read_text(encoding="utf-8")
    limits = dict(re.findall(r"^ *(?:step|measure) (\w+) (\d+)", script, re.MULTILINE))
    del limits["corpora"]  # of the dry run
    assert len(limits) == 10 and sum(map(int, limits.values())) < 8 * 60


@pytest.mark.parametrize("words", [[], ["out", "--device"], ["out", "--device", "tpu"]])
def test_wrong_words_are_refused(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = run(*words)
    assert ended.returncode == 2 and ended.stderr.startswith("usage: ")
    assert not list(tmp_path.iterdir())


def test_results_are_not_mixed_with_older_ones(tmp_path):
    (tmp_path / "steps.jsonl").write_text("")
    ended = run(tmp_path, "--device", "cpu")
    assert ended.returncode == 2
    assert ended.stderr == f"error: {tmp_path} holds results already: give another folder\n"


def test_tables(tmp_path):
    (tmp_path / "machine.txt").write_text("a GPU\n")
    (tmp_path / "steps.jsonl").write_text(
        '{"step": "beam", "seconds": 40, "status": 124}\n'
        '{"step": "tests", "seconds": 9, "status": 0}\n'
    )
    (tmp_path / "results.jsonl").write_text(
        '{"step": "beam", "ms": 1.5}\n{"step": "beam", "ms": 2000, "note": "a|b"}\n{"step": "be'
    )
    assert tables(tmp_path).split("\n") == [
        "a GPU", "",
        "| step | seconds | status |", "| --- | --- | --- |",
        "| beam | 40 | out of time |", "| tests | 9 | passed |", "",
        "### beam", "",
        "| ms | note |", "| --- | --- |", "| 1.5 |  |", "| 2,000 | a\\|b |", "",
        "### unknown", "",
        "| error |", "| --- |", "| a line is cut |", "",
    ]  # fmt: skip
