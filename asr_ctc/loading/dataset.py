"""From a corpus to batches: the dataset of clips, BatchCollate, the normalisation, get_dataloaders.

CharMap and WaveformProcessor, which do the two halves of the work, are importable from here too.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import DataLoader, Dataset

from asr_ctc.audio import decode as audio
from asr_ctc.audio.augment import Augmentation
from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.base.progress import bar
from asr_ctc.corpus import index, transcripts
from asr_ctc.corpus.corpus import (
    Corpus,
    LeftOut,
    find_corpus,
    load_split,
    refuse_if_mostly_broken,
    with_durations,
)
from asr_ctc.corpus.exclude import leave_out_listed
from asr_ctc.loading.feature_cache import FeatureCache
from asr_ctc.loading.sampling import Draw, DurationBatchSampler
from asr_ctc.text.charmap import CharMap

__all__ = [
    "Batch",
    "BatchCollate",
    "CharMap",
    "Clip",
    "ClipDataset",
    "WaveformProcessor",
    "get_dataloaders",
    "make_loader",
    "measure_normalization",
    "prepare_split",
]

NORMALIZATION_CLIPS = 2000
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies


class Clip(NamedTuple):
    """One clip, ready to be batched."""

    id: str
    features: torch.Tensor  # (T, F) log-mel
    labels: torch.Tensor  # (U,) int64
    sentence: str
    duration_s: float
    has_labels: bool = True  # False where the transcript gives none: scored, but without a loss


class Batch(tuple):
    """A pair (spectrograms, transcripts) of PackedSequences that also knows its clips.

    Spectrograms hold (T, F) log-mels by decreasing length, transcripts (U,) labels; clip i of the
    one is clip i of the other, and of ``ids``, ``sentences`` and ``durations`` (seconds).
    ``left_out`` names the clips that could not be used; when no clip was left the pair is
    (None, None) and ``len(batch.ids)`` is 0.
    """

    ids: tuple[str, ...]
    sentences: tuple[str, ...]
    durations: tuple[float, ...]
    has_labels: tuple[bool, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def duration_s(self) -> float:
        """Seconds of audio in the batch, padding not counted."""
        return sum(self.durations)

    def to(self, device) -> "Batch":
        """The batch on a device; from pinned memory the copy overlaps with computing."""
        return self._with(lambda part: part.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        return self._with(lambda part: part.pin_memory())

    def _with(self, change: Callable[[PackedSequence], PackedSequence]) -> "Batch":
        changed = Batch(None if part is None else change(part) for part in self)
        changed.__dict__.update(self.__dict__)
        return changed

    def __reduce__(self):
        """From a worker only the spectrograms travel as a tensor, in shared memory.

        Handing over a tensor costs a millisecond, whatever its size: more than all else that there
        is to do for a batch from the feature cache. The small ones travel as bytes.
        """
        spectrograms, transcripts = self
        if spectrograms is None:
            return _batch_of, (None, (), self.__dict__)
        small = (*spectrograms[1:], *transcripts)
        arrays = [None if tensor is None else tensor.numpy() for tensor in small]
        return _batch_of, (spectrograms.data, arrays, self.__dict__)


def _batch_of(frames: torch.Tensor | None, arrays, attributes: dict) -> Batch:
    """What ``Batch.__reduce__`` took apart."""
    if frames is None:
        batch = Batch((None, None))
    else:
        small = [None if array is None else torch.from_numpy(array) for array in arrays]
        batch = Batch((PackedSequence(frames, *small[:3]), PackedSequence(*small[3:])))
    batch.__dict__.update(attributes)
    return batch


class BatchCollate:
    """Makes a Batch of a list of Clips (and of LeftOuts, which it passes on)."""

    def __call__(self, items: Sequence[Clip | LeftOut]) -> Batch:
        clips = [item for item in items if isinstance(item, Clip)]
        clips.sort(key=lambda clip: len(clip.features), reverse=True)
        if clips:
            batch = Batch(
                (
                    pack_sequence([clip.features for clip in clips]),
                    pack_sequence([clip.labels for clip in clips], enforce_sorted=False),
                )
            )
        else:
            batch = Batch((None, None))
        batch.ids = tuple(clip.id for clip in clips)
        batch.sentences = tuple(clip.sentence for clip in clips)
        batch.durations = tuple(clip.duration_s for clip in clips)
        batch.has_labels = tuple(clip.has_labels for clip in clips)
        batch.left_out = tuple(item for item in items if isinstance(item, LeftOut))
        return batch


class ClipDataset(Dataset):
    """Clip i of a corpus as a Clip, or as a LeftOut that says why it cannot be used.

    Items are asked for by row, or by Draw when the masks of SpecAugment depend on the epoch: the
    randomness of a clip comes from (seed, epoch, row) alone, whatever process loads it.
    ``output_lengths`` maps frames to the model's output frames; when given, clips that CTC cannot
    learn (labels + adjacent repeats > output frames) are left out.
    ``augmentation`` changes the waveforms; ``cache`` keeps the features. ValueError for both: then
    the features differ at each draw.
    """

    def __init__(
        self,
        corpus: Corpus,
        charmap: CharMap,
        processor: WaveformProcessor,
        seed: int = 0,
        output_lengths: Callable | None = None,
        augmentation: Augmentation | None = None,
        cache: FeatureCache | None = None,
    ):
        if augmentation is not None and cache is not None:
            raise ValueError("features of augmented waveforms cannot be kept in a cache")
        self.corpus, self.charmap, self.processor = corpus, charmap, processor
        self.seed, self.output_lengths = seed, output_lengths
        self.augmentation, self.cache = augmentation, cache

    def __len__(self) -> int:
        return len(self.corpus)

    def waveform(self, row: int) -> np.ndarray:
        """Samples (S,) of a clip as recorded; AudioError when they cannot be used."""
        file = self.corpus.file(row)
        samples = audio.load(file, self.processor.rate, self.corpus.duration(row))
        if audio.is_silent(samples):
            raise AudioError(file, f"silent (peak under {audio.SILENCE_DBFS:g} dBFS)")
        return self._long_enough(file, samples)

    def _long_enough(self, file, samples: np.ndarray) -> np.ndarray:
        needed = self.processor.min_samples
        if len(samples) < needed:
            raise AudioError(file, f"shorter than one window of {needed} samples")
        return samples

    def decibels(self, draw: Draw) -> tuple[torch.Tensor, int]:
        """(log-mel (T, F) in dB, samples S) of a clip, its waveform augmented, or from the cache.

        AudioError when it cannot be used.
        """
        row, file = draw.row, self.corpus.file(draw.row)

        def compute():
            samples = self.waveform(row)
            if self.augmentation is not None:
                random = np.random.default_rng([self.seed, draw.epoch, row])
                samples = self.augmentation(samples, self.processor.rate, random)
                samples = self._long_enough(file, samples)
            return self.processor.decibels(torch.from_numpy(samples)), len(samples)

        if self.cache is None:
            return compute()
        return self.cache.get(int(self.corpus.rows[row]), file, compute)

    def __getitem__(self, draw: int | Draw) -> Clip | LeftOut:
        draw = draw if isinstance(draw, tuple) else Draw(draw, 0)
        clip_id, sentence = self.corpus.path(draw.row), self.corpus.sentence(draw.row)
        for_training = self.output_lengths is not None
        labels, problem = self._labels(sentence)
        if problem and for_training:
            return LeftOut(clip_id, problem)
        try:
            decibels, n_samples = self.decibels(draw)
        except AudioError as error:
            return LeftOut(clip_id, error.reason)
        generator = None
        if self.processor.augment:
            generator = torch.Generator().manual_seed(mix_seeds(self.seed, draw.epoch, draw.row))
        features = self.processor.finish(decibels, generator)
        if for_training:
            problem = infeasible(labels, int(self.output_lengths(len(features))))
            if problem:
                return LeftOut(clip_id, problem)
        labels = torch.tensor(labels, dtype=torch.long)
        return Clip(
            clip_id, features, labels, sentence, n_samples / self.processor.rate, not problem
        )

    def _labels(self, sentence: str) -> tuple[list[int], str]:
        """Labels of a transcript, and why it has none: then one label holds the place."""
        placeholder = [self.charmap.vocab_size - 1]
        if not sentence.strip():
            return placeholder, "empty transcript"
        try:
            labels = self.charmap.encode(sentence)
        except ValueError as error:
            return placeholder, str(error)
        return (labels, "") if labels else (placeholder, "empty transcript")


def mix_seeds(*numbers: int) -> int:
    """One seed of 63 bits from several numbers, well spread."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def infeasible(labels: Sequence[int], n_output_frames: int) -> str | None:
    """Why CTC cannot learn these labels in so many output frames; None when it can."""
    needed = transcripts.frames_needed(labels)
    if needed <= n_output_frames:
        return None
    return f"transcript too long for its audio: {needed} output frames needed of {n_output_frames}"


def prepare_split(
    folder: Path,
    split: str,
    min_s: float = 0.0,
    max_s: float = float("inf"),
    n_threads: int = 4,
    keep_broken: bool = False,
    excluded: Mapping[str, str] | None = None,
    layout: str = "commonvoice",
    index_dir: Path | None = None,
) -> Corpus:
    """A split with durations, cut to the bounds (seconds); UserError when no clip is left.

    ``keep_broken`` keeps clips that cannot be opened, for scoring, where they count. The clips of
    ``excluded`` ({clip: reason}, see exclude.py) are left out before any is opened.
    ``layout`` and ``index_dir`` as in ``load_split``.
    """
    corpus = leave_out_listed(load_split(folder, split, layout, index_dir), excluded)
    corpus = with_durations(corpus, n_threads, keep_broken)
    return between_or_refuse(corpus, min_s, max_s)


def between_or_refuse(
    corpus: Corpus, min_s: float, max_s: float, keep_broken: bool = False
) -> Corpus:
    """The clips of ``min_s`` to ``max_s`` seconds; UserError when there is none.

    ``keep_broken`` keeps clips that cannot be opened too: they have a duration of 0.
    """
    durations = corpus.durations
    within = (durations >= min_s) & (durations <= max_s)
    chosen = corpus.select(within | (durations == 0) if keep_broken else within)
    if not within.any():
        raise UserError(
            f"{corpus.name}: none of {len(corpus)} clips lasts {min_s:g} to {max_s:g} s (they last "
            f"{durations.min():.2f} to {durations.max():.2f} s): "
            "change --min_duration, --max_duration"
        )
    return chosen


def leave_out_unlearnable(
    corpus: Corpus, charmap: CharMap, processor: WaveformProcessor, output_lengths: Callable
) -> Corpus:
    """Takes out the clips whose transcript is empty or too long for CTC, before training."""
    n_samples = torch.from_numpy(np.round(corpus.durations * processor.rate).astype(np.int64))
    available = np.asarray(output_lengths(processor.get_spectro_length(n_samples)))
    needed = transcripts.ctc_frames(corpus, charmap)
    keep = (needed > 0) & (needed <= available)
    left_out = [
        LeftOut(corpus.path(i), _why_unlearnable(corpus.sentence(i), charmap, int(available[i])))
        for i in np.flatnonzero(~keep)
    ]
    refuse_if_mostly_broken(corpus.name, left_out, len(corpus))
    return corpus.select(keep, left_out)


def _why_unlearnable(sentence: str, charmap: CharMap, n_output_frames: int) -> str:
    if not sentence.strip():
        return "empty transcript"
    try:
        return infeasible(charmap.encode(sentence), n_output_frames) or "empty transcript"
    except ValueError as error:
        return str(error)


def measure_normalization(
    dataset: ClipDataset, n_threads: int = 0, seed: int = 0, n_clips: int = NORMALIZATION_CLIPS
) -> tuple[float, float]:
    """(mean, deviation) in dB over all frames and bins of at most ``n_clips`` seeded clips.

    The dataset's processor must leave dB: no normalisation, no masks. Broken clips are passed over
    here (training names them); UserError when they are more than half.
    """
    rows = np.random.default_rng(seed).permutation(len(dataset))[:n_clips]
    draws = [[Draw(int(row), 0)] for row in np.sort(rows)]
    count, total, squares, broken = 0, 0.0, 0.0, []
    loader = make_loader(dataset, draws, n_threads)
    for batch in bar(loader, "normalisation", "clip"):
        broken += batch.left_out
        if batch.ids:
            values = batch[0].data.double()
            count += values.numel()
            total += float(values.sum())
            squares += float(values.square().sum())
    refuse_if_mostly_broken(dataset.corpus.name, broken, len(rows))
    mean = total / count
    return mean, max(squares / count - mean**2, 1e-12) ** 0.5


def make_loader(
    dataset: Dataset, batches: Iterable, n_threads: int, pin_memory: bool = False
) -> DataLoader:
    """A loader of Batches from a batch sampler (or any list of lists of rows or Draws).

    ``pin_memory`` is for batches that go to a GPU: their copy overlaps with computing.
    """
    n_workers = min(n_threads, os.cpu_count() or 1)
    return _Loader(
        dataset,
        batch_sampler=batches,
        collate_fn=BatchCollate(),
        num_workers=n_workers,
        worker_init_fn=_follow_the_main_process,
        persistent_workers=n_workers > 0,
        prefetch_factor=4 if n_workers else None,
        pin_memory=pin_memory,
        # The default draws from torch's own stream, which must not depend on loaders.
        generator=torch.Generator(),
    )


class _Loader(DataLoader):
    """Its workers begin with SIGTERM blocked, hence also the threads that torch starts in them."""

    def __iter__(self):
        if sys.platform != "linux":
            return super().__iter__()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _follow_the_main_process(worker_id: int) -> None:
    """A worker leaves Ctrl-C and SIGTERM, which may reach every process, to the main process.

    A terminal sends Ctrl-C to all of them; torchrun and job schedulers do so with SIGTERM (which
    is left to the main process on Linux only). A worker ends with the main one even when that is
    killed: torch watches for it, but not from the worker's first moment on. SIGTERM is blocked: see
    ``_Loader``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        threading.Thread(target=_end_when_the_main_process_asks, daemon=True).start()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != multiprocessing.parent_process().pid:
            os._exit(1)


def _end_when_the_main_process_asks() -> None:
    """Its SIGTERM ends a worker whose loader it did not shut down before its end."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


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
