"""The self-check that a student runs: it passes, and it names the part that is broken."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers.command import REPOSITORY, environment

pytestmark = pytest.mark.slow


def run_selfcheck(folder) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "test_implementation.py"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
    )


@pytest.fixture
def copy(tmp_path):
    """A copy of what the self-check needs, to be broken."""
    ignored = shutil.ignore_patterns("*.pyc")  # the compiled beam search comes along
    shutil.copytree(REPOSITORY / "asr_ctc", tmp_path / "asr_ctc", ignore=ignored)
    (tmp_path / "tools").mkdir()
    for file in ("test_implementation.py", "tools/toy_corpus.py"):
        shutil.copy(REPOSITORY / file, tmp_path / file)
    return tmp_path


def failures(output: str) -> dict[str, list[str]]:
    """{step: the checks that failed in it} of a self-check's output."""
    found, step = {}, ""
    for line in output.splitlines():
        if heading := re.match(r"\d+\. (.*)", line):
            step = heading[1]
        elif line.startswith("  FAILED  "):
            found.setdefault(step, []).append(line.removeprefix("  FAILED  "))
    return found


def test_everything_passes():
    finished = run_selfcheck(REPOSITORY)
    *lines, summary = finished.stdout.splitlines()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    n_checks = sum(line.startswith("  PASSED  ") for line in lines)
    assert summary == f"PASSED: all {n_checks} checks" and n_checks >= 35
    headings = [line for line in lines if not line.startswith("  ")]
    assert [heading.split(". ")[0] for heading in headings] == [str(i) for i in range(1, 11)]
    assert finished.stderr == ""


BROKEN = [  # file, line, what it becomes, the step that finds it, what it says
    (
        "text/charmap.py",
        '        "?": ".",\n',
        "",
        "Character map",
        r"accents, .*: expected '¶coeur naif, alzbeta. ca  \.¦', found '¶.*❌¦'",
    ),
    (
        "acoustic/masked_norm.py",
        "return dropout(hardtanh(norm(x, mask))) * mask",
        "return dropout(hardtanh(norm(x, mask)))",
        "Forward pass",
        "a clip's logits in a batch, as when it is alone: .*off by up to",
    ),
    (
        "acoustic/loss.py",
        "return losses / n_labels.to(losses.device)",
        "return losses",
        "Loss",
        "'ab' in three frames.*: expected 0.8432, found 1.6864",
    ),
    (
        "decoding/greedy.py",
        "starts[1:] = path[1:] != path[:-1]",
        "starts[1:] = True",
        "Decoding",
        "greedy: repeats merged.*: expected 'aab', found 'aaabb'",
    ),
]


def test_broken_lines_are_named(copy):
    for file, line, broken, _, _ in BROKEN:
        text = (copy / "asr_ctc" / file).read_text(encoding="utf-8")
        assert text.count(line) == 1, "the line to break has changed: change this test"
        (copy / "asr_ctc" / file).write_text(text.replace(line, broken), encoding="utf-8")
    finished = run_selfcheck(copy)
    assert finished.returncode == 1 and finished.stderr == ""
    failed = failures(finished.stdout)
    for *_, step, said in BROKEN:
        assert any(re.match(said, check) for check in failed[step]), finished.stdout
    n_failed = sum(len(checks) for checks in failed.values())
    assert finished.stdout.splitlines()[-1].startswith(f"FAILED: {n_failed} of ")


def test_a_part_that_cannot_be_imported_stops_no_other(copy):
    with open(copy / "asr_ctc/acoustic/ctc_model.py", "a", encoding="utf-8") as file:
        file.write("\nclass CTCModel(:\n")
    finished = run_selfcheck(copy)
    assert finished.returncode == 1 and finished.stderr == ""
    failed = failures(finished.stdout)
    assert {"Convolutions", "Recurrent layers", "Output layer", "Forward pass"} <= set(failed)
    assert all("stopped by SyntaxError: " in line for line in failed["Convolutions"])
    assert not {"Character map", "Features", "Dataloaders"} & set(failed)
