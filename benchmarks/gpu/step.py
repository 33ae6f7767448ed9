"""What the steps of gpu.sh share: their arguments, the rows they write, and an interruption."""

import argparse
import itertools
import json
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch

from asr_ctc.config.load import make_config
from asr_ctc.training import loop


class Step:
    """A step of gpu.sh: where it computes, what it reads, and the file that its rows go to.

    ``is_dry`` on a CPU: the step then does the same on as little as possible.
    """

    def __init__(self, name: str, doc: str):
        parser = argparse.ArgumentParser(description=doc.splitlines()[0])
        parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
        parser.add_argument("--datasetroot", required=True, help="digits (en) and French (fr)")
        parser.add_argument("--results", required=True, help="file of JSON lines to add to")
        arguments = parser.parse_args()
        self.name, self.results = name, Path(arguments.results)
        self.device, self.datasetroot = torch.device(arguments.device), arguments.datasetroot
        self.is_dry = arguments.device == "cpu"
        self._has_failed = False

    def row(self, **cells) -> None:
        """Adds a row of results, at once: the step may be out of time in the next moment."""
        line = json.dumps({"step": self.name, **cells})
        print(line, flush=True)
        with self.results.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def expect(self, what: str, holds: bool) -> None:
        """A row that says whether what must be so is so."""
        self.row(what=what, holds=bool(holds))
        self._has_failed |= not holds

    @property
    def status(self) -> int:
        return int(self._has_failed)


@contextmanager
def scratch():
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def digits_config(step: Step, folder: Path, **settings):
    """A short run on the digits: its settings, with ``settings`` on top."""
    least = dict(nlayers_rnn=1, nhidden_rnn=16, batch_size=4, nthreads=0, max_duration=8.0)
    small = least if step.is_dry else {}
    given = dict(
        datasetroot=step.datasetroot, lang="en", baselogdir=str(folder), device=step.device.type,
        min_duration=0.5, max_duration=8.0, nlayers_rnn=2, nhidden_rnn=256, batch_size=16,
        num_epochs=2, dropout=0.1, train_augment=True, grad_clip=5.0, seed=1,
    )  # fmt: skip
    return make_config({}, {**given, **settings, **small})


@contextmanager
def ctrl_c_at_step(number: int):
    """Ctrl-C is pressed when a run begins its ``number``-th step."""
    calls, train_step = itertools.count(1), loop.train_step

    def interrupted(*args, **options):
        if next(calls) == number:
            signal.raise_signal(signal.SIGINT)
        return train_step(*args, **options)

    with mock.patch.object(loop, "train_step", interrupted):
        yield
