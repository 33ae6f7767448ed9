"""Kills training N times, at any moment, and compares what comes of it with undisturbed runs.

    python benchmarks/kills.py 300 --folder kills

Small runs on the toy corpus are killed and resumed until they end: half of the time at a random
time after the start of the process, else at a random step, evaluation or write (then a file is cut
in the middle). SIGKILL, SIGTERM and SIGINT. A run that ends is compared with a straight one of its
kind, bit by bit: weights, optimizer and all other state, best model and metrics.jsonl.

What to do is drawn from --seed. The same command in the same folder goes on with the next run.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch._dynamo  # noqa: F401  as the optimizer does: torch is loaded once, for all processes

import asr_ctc.training.loop  # noqa: F401
from asr_ctc.base.files import write_atomically
from tests.helpers.compared import assert_equal, content_of, metrics_of
from tests.helpers.interrupted import run
from tools.toy_corpus import make_toy_corpus

COMMON = """
    train --datasetroot data --nlayers_rnn 1 --nhidden_rnn 8 --batch_size 4 --num_epochs 3
    --precision fp32 --device cpu --seed 3 --min_duration 0.5 --save_every_s 0 --grad_clip 5
"""
KINDS = {
    "plain": "--nthreads 0 --scheduler onecycle",
    "workers": "--nthreads 2 --train_augment --ema 0.9",
    "cached": "--nthreads 0 --cache_dir cache --scheduler plateau --scheduler_step 1",
    "averaged": "--nthreads 0 --accumulate 2 --average_best 2 --train_augment",
}
MOMENTS = {  # and the latest time that it comes, of all the times in a straight run
    "before a step": 5,
    "after a step": 5,
    "in an evaluation": 2,
    "at the end of an epoch": 1,
    "while a file is written": 10,
    "before a file is renamed": 10,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n_kills", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept, to go on later (default: temporary)")
    options = parser.parse_args()
    if options.folder is not None:
        return strike_and_compare(options.folder, options.n_kills, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        return strike_and_compare(Path(folder), options.n_kills, options.seed)


def strike_and_compare(folder: Path, n_kills: int, seed: int) -> int:
    """Exit status 0 when no run differs."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if not Path("data").exists():
        make_toy_corpus(Path("data.new"))
        os.replace("data.new", "data")
    progress = Path(f"kills-{seed}.json")
    runs = json.loads(progress.read_text()) if progress.exists() else []
    while sum(sum(run["kills"].values()) for run in runs) < n_kills:
        missing = n_kills - sum(sum(run["kills"].values()) for run in runs)
        runs.append(strike_run(len(runs), seed, missing))
        write_atomically(progress, json.dumps(runs, indent=1).encode())
        print(f"run {len(runs)}: {runs[-1]}", file=sys.stderr)
    print(table(runs))
    return int(any(run["difference"] for run in runs))


def strike_run(number: int, seed: int, n_kills: int) -> dict:
    """Kills a run, ``n_kills`` times at most, until it ends; what differs from a straight one."""
    kind = list(KINDS)[number % len(KINDS)]
    words, rng = [*COMMON.split(), *KINDS[kind].split()], random.Random(f"{seed} {number}")
    straight, struck = Path(f"logs/straight-{kind}"), Path(f"logs/struck-{seed}-{number}")
    report = {"kind": kind, "kills": {}, "difference": ""}
    duration_s = straight_run(straight, words)
    shutil.rmtree(struck, ignore_errors=True)  # of a benchmark that was itself killed
    kills: Counter = Counter()
    while True:
        is_begun = (struck / "last.pt").exists() or (struck / "last.previous.pt").exists()
        begin = [*words, "--logname", struck.name]
        job: dict = {"argv": ["train", "--resume_from", str(struck)] if is_begun else begin}
        delay_s = None
        if kills.total() < n_kills:
            delay_s = draw_kill(job, rng, duration_s)
        status = run_in_child(job, delay_s)
        if status == 0:
            break
        ended_by = -status if status < 0 else status - 128
        if ended_by not in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            last_lines = Path("log").read_text().splitlines()[-1:]
            return {**report, "kills": dict(kills), "difference": f"{status}: {last_lines}"}
        what = "in a write" if "file" in job.get("moment", "") else signal.Signals(ended_by).name
        kills[what] += 1
    report["kills"] = dict(kills)
    try:
        for name in "last.pt", "best_model.pt":
            assert_equal(content_of(straight / name), content_of(struck / name), name)
        assert_equal(metrics_of(straight), metrics_of(struck), "metrics.jsonl")
    except AssertionError as error:
        return {**report, "difference": str(error).splitlines()[0]}
    shutil.rmtree(struck)
    return report


def draw_kill(job: dict, rng: random.Random, duration_s: float) -> float | None:
    """A signal at a time, which is returned, or at a moment, which the job then tells."""
    name = rng.choice(["SIGKILL", "SIGKILL", "SIGTERM", "SIGINT"])
    if rng.random() < 0.5:
        job["timed"] = name
        return rng.uniform(0, duration_s / 2)
    moment = rng.choice(list(MOMENTS))
    name = "SIGKILL" if "file" in moment else name
    job.update(moment=moment, count=rng.randint(1, MOMENTS[moment]), signal=name)
    return None


def straight_run(folder: Path, words: list[str]) -> float:
    """Seconds that an undisturbed run took; it is made when it is not there."""
    took = folder / "seconds"
    if not took.exists():
        shutil.rmtree(folder, ignore_errors=True)
        started = time.perf_counter()
        status = run_in_child({"argv": [*words, "--logname", folder.name]}, None)
        if status:
            raise SystemExit(f"the straight run failed:\n{Path('log').read_text()}")
        took.write_text(str(time.perf_counter() - started))
    return float(took.read_text())


def run_in_child(job: dict, delay_s: float | None) -> int:
    """The exit status of a process that does the job, negative where a signal ended it."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            status = run(job)
        except KeyboardInterrupt:  # before the command line has begun
            status = 128 + signal.SIGINT
        finally:
            sys.stderr.flush()
            os._exit(status)
    if delay_s is not None:
        time.sleep(delay_s)
        os.kill(child, getattr(signal, job["timed"]))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def table(runs: list[dict]) -> str:
    """Markdown: a row for each kind of run, and one for all."""
    ways = ["SIGKILL", "SIGTERM", "SIGINT", "in a write"]
    lines = [
        f"{date.today()}",
        "",
        f"| run | runs | kills | {' | '.join(ways)} | runs that differ |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for kind in [*KINDS, "all"]:
        ours = [run for run in runs if kind in ("all", run["kind"])]
        kills: Counter = sum((Counter(run["kills"]) for run in ours), Counter())
        differing = sum(bool(run["difference"]) for run in ours)
        counts = [len(ours), kills.total(), *(kills[way] for way in ways), differing]
        lines.append(f"| {kind} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
