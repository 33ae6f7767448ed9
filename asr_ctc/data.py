"""From a corpus to batches, by the classic names.

CharMap            text/charmap.py        which class a character is
WaveformProcessor  here                   samples to log-mel spectrograms, SpecAugment: the one of
                                          audio/log_mel.py with its settings as keywords
BatchCollate       loading/batch.py       clips to a pair of PackedSequences
ClipDataset        loading/dataset.py     clip i of a corpus
make_loader        here                   batches of like durations, made by worker processes
get_dataloaders    here                   all of it for a Common Voice corpus
"""

import logging

import numpy as np
from torch.utils.data import DataLoader

from asr_ctc.audio import log_mel
from asr_ctc.audio.log_mel import FeatureSettings
from asr_ctc.audio.spec_augment import SpecAugment
from asr_ctc.corpus import index
from asr_ctc.corpus.corpus import find_corpus
from asr_ctc.corpus.durations import with_durations
from asr_ctc.loading import loader
from asr_ctc.loading.batch import BatchCollate
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.normalization import measure_normalization
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.loading.selection import prepare_split
from asr_ctc.text.charmap import CharMap

__all__ = [
    "BatchCollate",
    "CharMap",
    "ClipDataset",
    "WaveformProcessor",
    "get_dataloaders",
    "make_loader",
]


class WaveformProcessor(log_mel.WaveformProcessor):
    """Waveforms (S, B) to log-mel spectrograms (T, B, F), its settings written out.

    rate: samples per second; win_length, win_step: seconds; nmels: mel bins F.
    augment: mask each clip with masks of its own (SpecAugment), sized by the last settings.
    spectro_normalization: (mean, standard deviation) in dB; None leaves dB.
    """

    def __init__(
        self,
        rate: int = 16_000,
        win_length: float = 0.04,
        win_step: float = 0.01,
        nmels: int = 20,
        augment: bool = False,
        spectro_normalization: tuple[float, float] | None = None,
        n_freq_masks: int = 1,
        max_freq_share: float = 0.25,
        n_time_masks: int = 1,
        max_time_s: float = 0.1,
        max_warp_s: float = 0.0,
    ):
        masks = SpecAugment(
            n_freq_masks=n_freq_masks,
            max_freq_share=max_freq_share,
            n_time_masks=n_time_masks,
            max_time_s=max_time_s,
            max_warp_s=max_warp_s,
        )
        super().__init__(
            FeatureSettings(rate=rate, win_length=win_length, win_step=win_step, nmels=nmels),
            normalization=spectro_normalization,
            spec_augment=masks if augment else None,
        )


def make_loader(
    dataset: ClipDataset,
    *,
    batch_size: int = 16,
    batch_seconds: float | None = None,
    shuffle: bool = True,
    seed: int = 0,
    n_workers: int = 4,
    pin_memory: bool = False,
) -> DataLoader:
    """Batches of clips of like duration: ``for spectrograms, transcripts in make_loader(dataset)``.

    ``batch_seconds`` bounds a batch by seconds of audio, padding counted, in place of
    ``batch_size``. Everything follows from the seed and the epoch, whatever ``n_workers`` is. The
    durations are measured first where the corpus does not list them. UserError when more than half
    of the clips cannot be opened.
    """
    corpus = dataset.corpus
    durations = corpus.durations
    if np.isnan(durations).any():
        durations = with_durations(corpus, n_workers, keep_broken=True).durations
    batches = DurationBatchSampler(
        durations, batch_size, seed=seed, shuffle=shuffle, batch_seconds=batch_seconds
    )
    return loader.make_loader(dataset, batches, n_workers, pin_memory=pin_memory)


def get_dataloaders(
    commonvoice_root: str,
    commonvoice_version: str | None,
    cuda: bool,
    batch_size: int = 64,
    n_threads: int = 4,
    min_duration: float = 1,
    max_duration: float = 5,
    small_experiment: bool = False,
    train_augment: bool = False,
    nmels: int = 20,
    logger: logging.Logger | None = None,
    normalize: bool = True,
    lang: str = "fr",
) -> tuple[DataLoader, DataLoader, DataLoader]:
    """(train, valid, test) loaders of a Common Voice corpus, with the default character map.

    Durations in seconds. ``small_experiment`` keeps one batch of each split; ``normalize`` measures
    mean and standard deviation on the training split; ``cuda`` pins the batches' memory, for a GPU;
    ``logger`` is told what was loaded. UserError as the functions it is made of.
    """
    folder = find_corpus(commonvoice_root, commonvoice_version, lang)
    charmap, normalization = CharMap(), None
    loaders = []
    for split in ("train", "dev", "test"):
        corpus = prepare_split(
            folder,
            split,
            min_s=min_duration,
            max_s=max_duration,
            n_threads=n_threads,
            index_dir=index.folder(),
        )
        if small_experiment:
            corpus = corpus.select(np.arange(len(corpus)) < batch_size)
        if split == "train" and normalize:
            plain = ClipDataset(corpus, charmap, WaveformProcessor(nmels=nmels))
            normalization = measure_normalization(plain, n_threads)
        augment = train_augment and split == "train"
        processor = WaveformProcessor(
            nmels=nmels, augment=augment, spectro_normalization=normalization
        )
        dataset = ClipDataset(corpus, charmap, processor)
        sampler = DurationBatchSampler(corpus.durations, batch_size, shuffle=split == "train")
        loaders.append(loader.make_loader(dataset, sampler, n_threads, pin_memory=cuda))
        if logger is not None:
            logger.info("%s: %d clips, %.2f h", corpus.name, len(corpus), corpus.hours)
    train, dev, test = loaders
    return train, dev, test
