"""From a corpus to batches, by the classic names.

CharMap            text/charmap.py        which class a character is
WaveformProcessor  audio/log_mel.py       samples to log-mel spectrograms, SpecAugment
BatchCollate       loading/batch.py       clips to a pair of PackedSequences
ClipDataset        loading/dataset.py     clip i of a corpus
make_loader        loading/loader.py      batches made by worker processes
get_dataloaders    here                   all of it for a Common Voice corpus
"""

import numpy as np
from torch.utils.data import DataLoader

from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.corpus import index
from asr_ctc.corpus.corpus import find_corpus
from asr_ctc.loading.batch import BatchCollate
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import make_loader
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
    logger=None,
    normalize: bool = True,
    lang: str = "fr",
) -> tuple[DataLoader, DataLoader, DataLoader]:
    """(train, valid, test) loaders of a Common Voice corpus, with the default character map.

    Durations in seconds. ``small_experiment`` keeps one batch of each split; ``normalize`` measures
    mean and deviation on the training split; ``cuda`` pins the batches' memory, for a GPU;
    ``logger`` is told what was loaded. UserError as the functions it is made of.
    """
    folder = find_corpus(commonvoice_root, commonvoice_version, lang)
    charmap, normalization = CharMap(), None
    loaders = []
    for split in ("train", "dev", "test"):
        corpus = prepare_split(
            folder,
            split,
            min_duration,
            max_duration,
            n_threads,
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
        loaders.append(make_loader(dataset, sampler, n_threads, pin_memory=cuda))
        if logger is not None:
            logger.info("%s: %d clips, %.2f h", corpus.name, len(corpus), corpus.hours)
    return tuple(loaders)
