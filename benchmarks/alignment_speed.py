"""The alignment of texts beside torchaudio's: time, memory, and the likelihood of the path.

    python benchmarks/alignment_speed.py

Made posteriors of 40 ms frames and 44 classes, and random labels, 11 a second: a clip of 30 s, and
half an hour (of faster speech torchaudio's crashes: more than 2³¹ states). One thread, processor
time, the fastest of several runs, in processes of their own. Memory is how far the peak rose over
what was there before. torchaudio's rows are missing where it is not installed.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import numpy as np
import torch

from asr_ctc.decoding.alignment import best_path
from benchmarks.machine import processor_name

FRAMES_PER_S, LABELS_PER_S, N_CLASSES = 25, 11, 44
DURATIONS_S = {"30 s": 30, "half an hour": 1800}
AT_LEAST_S = 1.0  # runs that are quicker are repeated


def ours(logp: torch.Tensor, labels: list[int]) -> float:
    return best_path(logp, labels).logp


def torchaudios(logp: torch.Tensor, labels: list[int]) -> float:
    from torchaudio.functional import forced_align

    _, scores = forced_align(logp[None], torch.tensor([labels], dtype=torch.int32), blank=0)
    return float(scores.double().sum())


ALIGNERS = {"asr_ctc": ours, "torchaudio": torchaudios}


def measure(aligner: str, duration_s: int) -> dict:
    """The fastest seconds, the megabytes that memory grew by, and the path's log probability."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    n_frames, n_labels = duration_s * FRAMES_PER_S, duration_s * LABELS_PER_S
    logits = torch.from_numpy(3 * rng.standard_normal((n_frames, N_CLASSES), np.float32))
    logp, labels = logits.log_softmax(-1), rng.integers(1, N_CLASSES, n_labels).tolist()
    align = ALIGNERS[aligner]
    align(logp[:9], labels[:2])  # loads what it needs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times_s, started = [], time.perf_counter()
    while not times_s or time.perf_counter() < started + AT_LEAST_S:
        begun = time.process_time()
        total = align(logp, labels)
        times_s.append(time.process_time() - begun)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": min(times_s), "mb": grown_kb / 1024, "logp": total}


def main() -> None:
    print(f"{processor_name()}, torch {torch.__version__}, numpy {np.__version__}\n")
    print("| recording | aligner | ms | memory, MB | log probability of the path |")
    print("|---|---|---|---|---|")
    for name, duration_s in DURATIONS_S.items():
        for aligner in ALIGNERS:
            finished = subprocess.run(
                [sys.executable, __file__, aligner, str(duration_s)],
                capture_output=True,
                encoding="utf-8",
            )
            if finished.returncode != 0:
                print(f"{aligner}: exit {finished.returncode}, {finished.stderr}", file=sys.stderr)
                continue
            found = json.loads(finished.stdout)
            print(
                f"| {name} | {aligner} | {1000 * found['seconds']:,.1f} | {found['mb']:,.0f} "
                f"| {found['logp']:,.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
