"""What the loader gives by its number of workers, and how long the device waits for it."""

import json
import sys
import tempfile

import torch

from asr_ctc.base.processors import n_usable_cores
from asr_ctc.corpus.corpus import find_corpus
from asr_ctc.data import WaveformProcessor
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.feature_cache import open_caches
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.loading.selection import prepare_split
from asr_ctc.text.charmap import CharMap
from asr_ctc.training.loop import train
from benchmarks.data_loading import measure
from benchmarks.gpu.step import Step, digits_config, scratch

NMELS = 40


def loading(step: Step, n_workers: int) -> None:
    """Writes the rows of the loader alone: French mp3 files, and the feature cache."""
    corpus = prepare_split(
        find_corpus(step.datasetroot, None, "fr"), "train", min_s=1.0, max_s=11.0
    )
    sampler = DurationBatchSampler(corpus.durations, 4 if step.is_dry else 8, seed=1)
    batches = list(sampler)
    audio_s = sum(float(corpus.durations[draw.row]) for batch in batches for draw in batch)
    processor = WaveformProcessor(nmels=NMELS, spectro_normalization=(-25.0, 25.0))
    plain = WaveformProcessor(nmels=NMELS)
    with tempfile.TemporaryDirectory() as cache_dir:
        (cache,) = open_caches(cache_dir, [corpus], plain.settings, max_gb=10.0)
        sources = (
            ("mp3", None, 4), ("filling the cache", cache, 1), ("from the cache", cache, 4)
        )  # fmt: skip
        for source, its_cache, n_times in sources:
            dataset = ClipDataset(corpus, CharMap(), processor, cache=its_cache)

            def maker(plan, dataset=dataset):
                return make_loader(dataset, plan, n_workers, pin_memory=not step.is_dry)

            seconds, cpu_s = measure(maker, n_times * batches, batches[-1:], once=True)
            step.row(
                source=source, workers=n_workers, audio_s_per_s=round(n_times * audio_s / seconds),
                cores_busy=round(cpu_s / seconds, 1),
            )  # fmt: skip


def training(step: Step, n_workers: int) -> None:
    """Writes the row of a run's second epoch, when the workers have started."""
    with scratch() as folder:
        train(digits_config(step, folder, logname="run", nthreads=n_workers))
        lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    epoch = json.loads(lines[-1])
    step.row(
        source="a run on the digits", workers=n_workers,
        audio_s_per_s=round(epoch["audio_s_per_s"]),
        wait_percent=round(100 * epoch["data_wait_share"], 1),
    )  # fmt: skip


def main() -> int:
    step = Step("loader", __doc__)
    torch.set_num_threads(1)
    n_cores = n_usable_cores()
    numbers = [1] if step.is_dry else sorted({2, min(8, n_cores), n_cores})
    for n_workers in numbers:
        loading(step, n_workers)
    for n_workers in sorted({numbers[0], numbers[-1]}):
        training(step, n_workers)
    return step.status


if __name__ == "__main__":
    sys.exit(main())
