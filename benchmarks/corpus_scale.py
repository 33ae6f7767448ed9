"""A corpus of the size of English Common Voice: how long until it can be batched, what it weighs.

    python benchmarks/corpus_scale.py [--rows 1800000] [--folder FOLDER]

A TSV with the columns of a release and its clip_durations.tsv are made up in a temporary folder (or
in FOLDER, where they stay). Then, each in a process of its own:

time    load_split, with_durations, between, and the first batch of a DurationBatchSampler; then
        what reads every transcript: the characters for --charset auto, the frames that CTC needs.
        Once with nothing kept in the index, once again.
memory  the proportional set sizes (PSS) of a process and its four DataLoader workers, all of which
        have read thousands of clips of the corpus; less the same for a corpus of 1,000 rows.

No audio is read: the durations are listed.
"""

import argparse
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from asr_ctc.corpus import transcripts
from asr_ctc.corpus.corpus import between, load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.text.charmap import CharMap

LANG, VERSION, FEW_ROWS, N_WORKERS, N_BATCHES, BATCH_SIZE = "en", "made-up-1.0", 1000, 4, 400, 32
HEADER = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender"
    "\taccents\tvariant\tlocale\tsegment"
)


def make_corpus(folder: Path, n_rows: int, seed: int = 0) -> None:
    """A train.tsv of ``n_rows`` clips and their clip_durations.tsv, as large as those of a release.

    Few speakers have most of the clips; words are 2 to 12 letters long, some with an accent.
    """
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    letters = np.array(list("eeeeaaaiiooutttnnnssshhrrddllcmwfgypbvké’-"))
    words = ["".join(random.choice(letters, random.integers(2, 12))) for _ in range(50_000)]
    n_speakers = max(3, n_rows // 20)
    names = [random.bytes(64).hex() for _ in range(n_speakers)]
    accents = ["", "", "", "United States English", "England English,Southern English"]
    with (
        open(folder / "train.tsv", "w", encoding="utf-8") as table,
        open(folder / "clip_durations.tsv", "w", encoding="utf-8") as durations,
    ):
        table.write(HEADER + "\n")
        durations.write("clip\tduration[ms]\n")
        for first in range(0, n_rows, 10_000):
            n = min(10_000, n_rows - first)
            speakers = (n_speakers * random.random(n) ** 4).astype(int)
            counts = random.integers(6, 15, n)
            drawn = random.integers(0, len(words), (n, 15))
            milliseconds = (250 * counts + random.gamma(4, 500, n)).astype(int)
            ids = random.bytes(32 * n).hex()
            for i in range(n):
                clip = f"common_voice_en_{17_000_000 + 7 * (first + i)}.mp3"
                text = " ".join([words[word] for word in drawn[i, : counts[i]]]).capitalize()
                table.write(
                    f"{names[speakers[i]]}\t{clip}\t{ids[64 * i : 64 * i + 64]}\t{text}.\t\t2\t0\t"
                    f"twenties\tmale_masculine\t{accents[i % 5]}\t\t{LANG}\t\n"
                )
                durations.write(f"{clip}\t{milliseconds[i]}\n")


# ------------------------------------------------------------------- in a process of its own


def load(folder: Path, index_dir: Path):
    """(corpus ready to batch, its sampler, the first batch)."""
    corpus = with_durations(load_split(folder, "train", index_dir=index_dir))
    corpus = between(corpus, 1.0, 10.0)
    sampler = DurationBatchSampler(corpus.durations, BATCH_SIZE)
    return corpus, sampler, next(iter(sampler))


def measure_time(folder: Path, index_dir: Path) -> dict:
    """Seconds, of the clock and of the processor, of each step; MB of memory at the peak."""
    figures = {}

    def timed(name, step):
        clock_s, processor_s = time.perf_counter(), time.process_time()
        result = step()
        figures[name] = time.perf_counter() - clock_s, time.process_time() - processor_s
        return result

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    corpus, *_ = timed("ready to batch", lambda: load(folder, index_dir))
    figures["peak"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    figures["clips"] = len(corpus)
    timed("characters", lambda: transcripts.character_counts(corpus))
    timed("frames", lambda: transcripts.ctc_frames(corpus, CharMap()))
    return figures


def measure_memory(folder: Path, index_dir: Path) -> dict:
    """MB of this process and its workers after many batches, all but the sound of them real."""
    import torch
    from torch.utils.data import DataLoader

    from asr_ctc.data import WaveformProcessor
    from asr_ctc.loading.batch import BatchCollate
    from asr_ctc.loading.dataset import ClipDataset

    class Soundless(ClipDataset):
        def analysed(self, draw):
            return torch.zeros(8, self.processor.settings.nmels), self.processor.min_samples

    corpus, sampler, _ = load(folder, index_dir)
    loader = DataLoader(
        Soundless(corpus, CharMap(), WaveformProcessor()),
        batch_sampler=sampler,
        collate_fn=BatchCollate(),
        num_workers=N_WORKERS,
        persistent_workers=True,
    )
    epochs = itertools.chain.from_iterable(itertools.repeat(loader))
    for batch in itertools.islice(epochs, N_BATCHES):
        assert len(batch.ids) > 0
    processes = [os.getpid(), *children_of(os.getpid())]
    return {"processes": len(processes), "pss": sum(map(pss_mb_of, processes))}


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def pss_mb_of(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)[1]) / 1024


# --------------------------------------------------------------------------------- the table


def ask(what: str, folder: Path, index_dir: Path) -> dict:
    """``measure_time`` or ``measure_memory`` in a process of its own."""
    command = [sys.executable, __file__, "--ask", what, str(folder), str(index_dir)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    return json.loads(finished.stdout)


def report(n_rows: int, folder: Path) -> str:
    large, small = folder / VERSION / LANG, folder / f"{VERSION}-few" / LANG
    for where, n in (large, n_rows), (small, FEW_ROWS):
        if not (where / "train.tsv").exists():
            make_corpus(where, n)
    size_mb = (large / "train.tsv").stat().st_size / 1e6
    with tempfile.TemporaryDirectory() as index_dir:
        index_dir = Path(index_dir)
        first, again = (ask("time", large, index_dir) for _ in range(2))
        with_corpus, without = (ask("memory", where, index_dir) for where in (large, small))
    rows = [("", "first time", "kept in the index")]
    for name, step in (
        ("load, filter, first batch", "ready to batch"),
        ("characters for --charset auto", "characters"),
        ("frames that CTC needs", "frames"),
    ):
        clocks = [f"{clock:.1f} s ({used:.1f} s)" for clock, used in (first[step], again[step])]
        rows.append((name, *clocks))
    rows.append(
        (
            "memory added at the peak of loading",
            f"{first['peak']:.0f} MB",
            f"{again['peak']:.0f} MB",
        )
    )
    lines = [
        f"{n_rows:,} rows, {size_mb:.0f} MB; {first['clips']:,} clips of 1 to 10 s. In brackets "
        "the time of the processor, which other work on the machine does not add to.",
        "",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"With {with_corpus['processes'] - 1} workers after {N_BATCHES} batches: "
        f"{with_corpus['pss']:.0f} MB in all, {without['pss']:.0f} MB with {FEW_ROWS:,} rows; "
        f"**the corpus adds {with_corpus['pss'] - without['pss']:.0f} MB**.",
    ]
    lines.insert(3, "|---|---|---|")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_800_000)
    parser.add_argument("--folder", type=Path, help="where the corpus is made, and kept")
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        what, folder, index_dir = arguments.ask
        measure = {"time": measure_time, "memory": measure_memory}[what]
        print(json.dumps(measure(Path(folder), Path(index_dir))))
    elif arguments.folder:
        print(report(arguments.rows, arguments.folder))
    else:
        with tempfile.TemporaryDirectory() as folder:
            print(report(arguments.rows, Path(folder)))


if __name__ == "__main__":
    main()
