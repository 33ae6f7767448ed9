"""Runs main_ctc.py as a user does, in a process of its own or in this one. For tests."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

from asr_ctc.commands.main import main
from tests.helpers.figures import draw_no_figures
from tests.helpers.log import log_put_back
from tools.toy_corpus import make_toy_corpus

REPOSITORY = Path(__file__).resolve().parents[2]
MAIN = REPOSITORY / "main_ctc.py"
SMALL = (
    "--nmels 20 --win_step 0.01 --nlayers_rnn 1 --nhidden_rnn 16 --batch_size 8 --base_lr 5e-4 "
    "--nthreads 0 --precision fp32 --seed 1"
)


def environment(**extra: str) -> dict[str, str]:
    """This process's, without a corpus or a GPU in it, and with one thread: others work too."""
    inherited = {name: value for name, value in os.environ.items() if name != "COMMONVOICE_ROOT"}
    ours = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    return {**inherited, **ours, **extra}


def _arguments(words: tuple) -> list[str]:
    """Strings are split at spaces; paths, which may hold some, are not."""
    split = [word.split() if isinstance(word, str) else [str(word)] for word in words]
    return [word for several in split for word in several]


def run(*words, cwd, **extra: str) -> subprocess.CompletedProcess:
    """`python main_ctc.py WORDS` in the folder ``cwd``; ``extra`` are environment variables."""
    return subprocess.run(
        [sys.executable, str(MAIN), *_arguments(words)],
        cwd=cwd,
        env=environment(**extra),
        capture_output=True,
        encoding="utf-8",
    )


def call(*words, cwd, **extra: str) -> subprocess.CompletedProcess:
    """Like ``run``, but in this process, which is faster by the time that torch is loaded in.

    Training draws no figures.
    """
    arguments = _arguments(words)
    if "train" in arguments:
        draw_no_figures()
    output, errors, before = io.StringIO(), io.StringIO(), os.getcwd()
    with (
        mock.patch.dict(os.environ, environment(**extra), clear=True),
        mock.patch.object(sys, "argv", ["main_ctc.py"]),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        log_put_back(),
    ):
        os.chdir(cwd)
        try:
            status = main(arguments)
        except SystemExit as ended:  # of --help
            status = ended.code
        finally:
            os.chdir(before)
    return subprocess.CompletedProcess(words, status, output.getvalue(), errors.getvalue())


def start(*words, cwd) -> subprocess.Popen:
    """Like ``run``, but still running, at the head of a process group as under a terminal."""
    return subprocess.Popen(
        [sys.executable, str(MAIN), *_arguments(words)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        # A test run in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def read_until(process: subprocess.Popen, wanted: str) -> None:
    """Reads the process's standard error up to the line that holds ``wanted``."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if wanted in line:
            return
    raise AssertionError(f"the process ended without saying {wanted!r}:\n{''.join(lines)}")


def train_small(folder: Path, *words) -> subprocess.CompletedProcess:
    """A toy corpus in FOLDER/data and a model of it in FOLDER/logs/small, one epoch old."""
    make_toy_corpus(folder / "data")
    finished = call(f"train {SMALL} --num_epochs 1 --logname small", *words, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    return finished
