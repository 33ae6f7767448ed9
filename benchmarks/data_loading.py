"""How many seconds of audio per second reach the trainer, against the textbook pipeline.

    python benchmarks/data_loading.py --datasetroot ROOT --lang fr

Five sides load the same clips, in batches of 32, with as many DataLoader workers, turn by turn:

textbook          torchaudio.load (torchcodec, FFmpeg), a Resample transform built for each clip,
                  MelSpectrogram and AmplitudeToDB on each padded batch; batches shuffled
textbook, sorted  the same, but handed our batches of clips of like duration
asr_ctc           ClipDataset and BatchCollate: libsndfile, soxr, log-mel of each clip; also
                  normalisation, labels and packing, which the textbook sides get away without
first epoch       the same, filling an empty --cache_dir
later epochs      the same, from the full one

Each figure is the best of several rounds, since other work on the machine can only slow a round
down; processor time, of the loading process and its workers together, suffers least from it.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch.utils.data import DataLoader, Dataset

from asr_ctc.corpus.corpus import find_corpus
from asr_ctc.data import WaveformProcessor
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.feature_cache import open_caches
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.loading.selection import prepare_split
from asr_ctc.text.charmap import CharMap
from benchmarks.machine import CORPORA, processor_name

TICKS = os.sysconf("SC_CLK_TCK")
RATE_HZ, WIN_S, HOP_S, BATCH_SIZE = 16_000, 0.04, 0.01, 32
AT_LEAST_S = 1.0  # passes that are quicker are repeated


class Textbook(Dataset):
    """What tutorials do: a clip's samples at 16 kHz."""

    def __init__(self, corpus):
        self.corpus = corpus

    def __getitem__(self, draw):
        import torchaudio

        samples, rate = torchaudio.load(self.corpus.file(draw.row))
        return torchaudio.transforms.Resample(rate, RATE_HZ)(samples).mean(dim=0)


class TextbookCollate:
    """A padded batch of log-mels (B, F, T) and the clips' frames."""

    def __init__(self, nmels: int):
        import torchaudio

        self.mel = torchaudio.transforms.MelSpectrogram(
            RATE_HZ, n_fft=round(WIN_S * RATE_HZ), hop_length=round(HOP_S * RATE_HZ), n_mels=nmels
        )
        self.to_db = torchaudio.transforms.AmplitudeToDB(top_db=None)

    def __call__(self, waveforms):
        padded = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
        n_frames = torch.tensor([len(w) for w in waveforms]) // round(HOP_S * RATE_HZ) + 1
        return self.to_db(self.mel(padded)), n_frames


def textbook_loader(corpus, batches, n_workers: int, nmels: int) -> DataLoader:
    """ImportError or RuntimeError says what the textbook pipeline lacks here."""
    import torchaudio

    torchaudio.load(corpus.file(0))
    return DataLoader(
        Textbook(corpus),
        batch_sampler=batches,
        collate_fn=TextbookCollate(nmels),
        num_workers=n_workers,
        persistent_workers=True,
        prefetch_factor=4,
    )


def measure(make_loader, batches, warm_up, once: bool) -> tuple[float, float]:
    """(seconds, processor seconds) that the batches take, by workers that have started already."""
    plan = list(warm_up)
    loader = make_loader(plan)
    load_all(loader)
    plan[:] = batches
    pids = [worker.pid for worker in loader._iterator._workers]
    n_passes, started, cpu_before = 0, time.perf_counter(), cpu_s(pids)
    while n_passes == 0 or (not once and time.perf_counter() < started + AT_LEAST_S):
        load_all(loader)
        n_passes += 1
    return (time.perf_counter() - started) / n_passes, (cpu_s(pids) - cpu_before) / n_passes


def load_all(loader) -> None:
    for _ in loader:
        pass


def cpu_s(pids) -> float:
    """Processor seconds of this process and of these workers so far."""
    ticks = 0
    for pid in pids:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(after_name[11]) + int(after_name[12])
    return time.process_time() + ticks / TICKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasetroot", default=CORPORA, help="default: %(default)s")
    parser.add_argument("--datasetversion")
    parser.add_argument("--lang", default="fr")
    parser.add_argument("--nmels", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clips", type=int, default=1000, help="clips of a pass, at most")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    folder = find_corpus(arguments.datasetroot, arguments.datasetversion, arguments.lang)
    corpus = prepare_split(folder, "train", min_s=1.0, max_s=11.0)
    epoch = list(DurationBatchSampler(corpus.durations, BATCH_SIZE, seed=1))
    n_batches = min(arguments.clips // BATCH_SIZE, len(epoch) - 2)
    batches, warm_up = epoch[:n_batches], epoch[-2:]
    draws = [draw for batch in batches for draw in batch]
    audio_s = sum(float(corpus.durations[draw.row]) for draw in draws)
    random.Random(1).shuffle(draws)
    shuffled = [draws[i : i + BATCH_SIZE] for i in range(0, len(draws), BATCH_SIZE)]

    plain = WaveformProcessor(RATE_HZ, WIN_S, HOP_S, arguments.nmels)
    normalised = WaveformProcessor(
        RATE_HZ, WIN_S, HOP_S, arguments.nmels, spectro_normalization=(-25.0, 25.0)
    )

    def ours(cache=None):
        dataset = ClipDataset(corpus, CharMap(), normalised, cache=cache)
        return lambda plan: make_loader(dataset, plan, arguments.workers)

    def textbook(plan):
        return textbook_loader(corpus, plan, arguments.workers, arguments.nmels)

    sides = {
        "textbook": (textbook, shuffled),
        "textbook, sorted": (textbook, batches),
        "asr_ctc": (ours(), batches),
        "first epoch": None,
        "later epochs": None,
    }
    try:
        textbook([])
    except (ImportError, RuntimeError, OSError) as error:
        print(f"textbook sides skipped: {str(error).strip().splitlines()[0]}")
        del sides["textbook"], sides["textbook, sorted"]

    best = {side: (float("inf"), float("inf")) for side in sides}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as cache_dir:
            (cache,) = open_caches(cache_dir, [corpus], plain.settings, max_gb=100.0)
            sides["first epoch"] = sides["later epochs"] = (ours(cache), batches)
            for side, (maker, its_batches) in sides.items():
                times = measure(maker, its_batches, warm_up, once=side == "first epoch")
                best[side] = tuple(map(min, best[side], times))

    n_clips = len(draws)
    print(f"{processor_name()}, torch {torch.__version__}, {arguments.workers} workers")
    print(f"{folder.parent.name}/{folder.name}: {n_clips} clips, {audio_s / 60:.0f} minutes\n")
    first = next(iter(sides))
    print(f"| side | audio s/s | × {first} | processor ms/clip | × {first} |")
    print("|---|---|---|---|---|")
    for side in sides:
        (wall, cpu), (wall_0, cpu_0) = best[side], best[first]
        print(
            f"| {side} | {audio_s / wall:,.0f} | {wall_0 / wall:.1f} | {1000 * cpu / n_clips:.2f} "
            f"| {cpu_0 / cpu:.1f} |"
        )
    faster = best["first epoch"][0] / best["later epochs"][0]
    print(f"\nlater epochs load {faster:.1f} times as fast as the first")


if __name__ == "__main__":
    main()
