"""A language model of a made text: how long it takes to estimate, write and read, what it weighs.

    python benchmarks/language_model.py [--words 10000000] [--order 4] [--prune 0 0 1]

The text has sentences of 5 to 25 words out of 200,000, drawn by Zipf's law; every second word
follows from the one before, so that n-grams come back as they do in a language. All runs in a
process of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from asr_ctc.assembly.language_model import full_prune, read_text
from asr_ctc.lm.arpa import read_arpa, write_arpa
from asr_ctc.lm.counting import Numbering, count_windows
from asr_ctc.lm.kneser_ney import estimate
from asr_ctc.text.charmap import CharMap

N_VOCABULARY = 200_000
SYLLABLES = [a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "ou", "é")]


def make_text(path: Path, n_words: int) -> None:
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(SYLLABLES, size)) for size in draw.integers(1, 6, N_VOCABULARY)]
    # A rank r with probability ~ 1 / r: the exponential of a uniform number.
    ranks = np.exp(draw.random(n_words) * np.log(N_VOCABULARY)).astype(np.int64) - 1
    follows = draw.random(n_words) < 0.5
    follows[0] = False
    for _ in range(8):  # chains of following words are short
        after = np.flatnonzero(follows)
        ranks[after] = (7 * ranks[after - 1] + 3) % 1000
    ends = np.cumsum(draw.integers(5, 26, n_words // 5))
    with path.open("w", encoding="utf-8") as file:
        for first, last in zip(
            [0, *ends[ends < n_words]], [*ends[ends < n_words], n_words], strict=True
        ):
            file.write(" ".join([words[rank] for rank in ranks[first:last]]).capitalize() + ".\n")


def measure(text: Path, order: int, prune: tuple[int, ...]) -> dict:
    steps, clock = {}, [0.0, 0.0]

    def step(name: str | None) -> None:
        now = time.perf_counter(), time.process_time()
        if name:
            steps[name] = [now[0] - clock[0], now[1] - clock[1]]
        clock[:] = now

    step(None)
    numbering = Numbering(CharMap(), "word")
    sentences = (numbering.sentence(line) for piece in read_text(text) for line in piece if line)
    tables = [count_windows(sentences, order, prune)]
    step("read, normalise, count")
    model = estimate(tables.pop(), order, list(numbering.ids), prune=prune)
    step("estimate")
    arpa = text.with_suffix(".arpa")
    write_arpa(arpa, model)
    step("write the ARPA file")
    counts = model.counts
    del model
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    step(None)
    read_arpa(arpa)
    step("read it")
    return {
        "steps": steps,
        "counts": counts,
        "peak_mb": peak_mb,
        "file_mb": arpa.stat().st_size / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--words", type=int, default=10_000_000)
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--prune", type=int, nargs="+", default=[0])
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        prune = full_prune(arguments.prune, arguments.order)
        print(json.dumps(measure(arguments.measure, arguments.order, prune)))
        return
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        make_text(text, arguments.words)
        command = [sys.executable, *sys.argv, "--measure", str(text)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        output = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True).stdout
        text_mb = text.stat().st_size / 1e6
    found = json.loads(output)
    ngrams = ", ".join(f"{count:,} {n}-grams" for n, count in enumerate(found["counts"], 1))
    print(f"{arguments.words:,} words, {text_mb:.0f} MB; {ngrams}.\n\n| step | time | processor |")
    print("|---|---|---|")
    for name, (clock, used) in found["steps"].items():
        print(f"| {name} | {clock:.1f} s | {used:.1f} s |")
    print(
        f"\n{found['peak_mb']:,.0f} MB at the peak of making it, all of Python and torch included; "
        f"the ARPA file has {found['file_mb']:,.0f} MB."
    )


if __name__ == "__main__":
    main()
