"""Trains again and again in processes that are killed at chosen moments. For tests.

`python -m tests.helpers.interrupted JOBS.json` forks a process for each job, {"argv": words of
main_ctc.py, "moment": where to count, "count": when to strike there, "signal": with what}, so that
torch is imported once, and prints the exit statuses (negative: killed by that signal) as JSON. The
first job is a run of its own; the others are one run, and none is begun when it has come to its
end.
"""

import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from tests.helpers.figures import draw_no_figures


def strike(
    module, name: str, count: int, number: int, after: bool = False, kill: Callable = os.kill
) -> None:
    """The ``count``-th call of a function sends this process, or its group, a signal."""
    function, calls = getattr(module, name), []

    def counted(*args, **kwargs):
        calls.append(0)
        if len(calls) == count and not after:
            kill(os.getpid(), number)
        result = function(*args, **kwargs)
        if len(calls) == count and after:
            kill(os.getpid(), number)
        return result

    setattr(module, name, counted)


def write_half(count: int, number: int) -> None:
    """The ``count``-th file that is flushed is cut in the middle, and the process killed then."""
    from asr_ctc.base import files

    fsync, calls = os.fsync, []

    def cut(handle):
        if stat.S_ISREG(os.fstat(handle).st_mode):  # folders are flushed too
            calls.append(0)
        if len(calls) == count:
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            os.kill(os.getpid(), number)
        fsync(handle)

    files.os.fsync = cut


def run(job: dict) -> int:
    from asr_ctc.base import files
    from asr_ctc.commands import main as cli
    from asr_ctc.training import loop as training

    if job.get("moment"):
        count, number = job["count"], getattr(signal, job["signal"])
        {
            "before a step": lambda: strike(training, "train_step", count, number),
            "after a step": lambda: strike(training, "train_step", count, number, after=True),
            "in an evaluation": lambda: strike(training, "evaluate", count, number),
            "at the end of an epoch": lambda: strike(
                training, "log_epoch", count, number, after=True
            ),
            "while a file is written": lambda: write_half(count, number),
            "before a file is renamed": lambda: strike(files.os, "replace", count, number),
        }[job["moment"]]()
    return cli.main(job["argv"])


def main(jobs: list[dict]) -> list[int]:
    import torch._dynamo  # noqa: F401  as the optimizer does

    import asr_ctc.training.loop  # noqa: F401  once for all

    draw_no_figures()
    statuses = []
    for job in jobs:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            status = 70
            try:
                status = run(job)
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        statuses.append(os.waitstatus_to_exitcode(status))
        if statuses[-1] == 0 and job is not jobs[0]:
            break
    return statuses


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
