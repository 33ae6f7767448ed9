"""Clip i of a corpus: its log-mel spectrogram and its labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from asr_ctc.audio import decode as audio
from asr_ctc.audio.augment import Augmentation
from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.base.errors import AudioError
from asr_ctc.corpus.corpus import Corpus, ExcludedClip
from asr_ctc.loading.batch import Clip
from asr_ctc.loading.feature_cache import FeatureCache, Rounding
from asr_ctc.loading.sampling import Draw
from asr_ctc.text.feasibility import infeasible
from asr_ctc.text.units import Units


class Cache(Protocol):
    """Keeps features: a FeatureCache, its Rounding, or copies of which each draw takes one."""

    def of(self, draw: Draw) -> FeatureCache | Rounding: ...


class ClipDataset(Dataset):
    """Clip i of a corpus as a Clip, or as a ExcludedClip that says why it cannot be used.

    Items are asked for by row, or by Draw when the masks of SpecAugment depend on the epoch: the
    randomness of a clip comes from (seed, epoch, row) alone, whatever process loads it.
    ``for_training`` excludes what CTC cannot learn: clips without labels, and those with more
    labels + adjacent repeats than output frames, which ``output_lengths`` gives for input frames.
    Otherwise every clip that can be read is given, since scoring counts them all.
    ``aux_units`` give the labels of a second output layer.
    ``augmentation`` changes the waveforms; ``cache`` keeps the features. ValueError for both, since
    the features then differ at each draw, and for training without ``output_lengths``.
    """

    def __init__(
        self,
        corpus: Corpus,
        charmap: Units,
        processor: WaveformProcessor,
        *,
        seed: int = 0,
        for_training: bool = False,
        output_lengths: Callable | None = None,
        augmentation: Augmentation | None = None,
        cache: Cache | None = None,
        aux_units: Units | None = None,
    ):
        if augmentation is not None and cache is not None:
            raise ValueError("features of augmented waveforms cannot be kept in a cache")
        if for_training != (output_lengths is not None):
            raise ValueError("output_lengths are needed for training, and for nothing else")
        self.corpus, self.charmap, self.processor = corpus, charmap, processor
        self.seed, self.for_training, self.output_lengths = seed, for_training, output_lengths
        self.augmentation, self.cache = augmentation, cache
        self.aux_units = aux_units

    def __len__(self) -> int:
        return len(self.corpus)

    def waveform(self, row: int) -> np.ndarray:
        """Samples (S,) of a clip as recorded; AudioError when they cannot be used."""
        file = self.corpus.file(row)
        samples = audio.load(file, self.processor.rate, self.corpus.duration(row))
        if audio.is_silent(samples):
            raise AudioError(file, f"silent (peak under {audio.SILENCE_DBFS:g} dBFS)")
        return self._long_enough(file, samples)

    def _long_enough(self, file: Path, samples: np.ndarray) -> np.ndarray:
        needed = self.processor.min_samples
        if len(samples) < needed:
            raise AudioError(file, f"shorter than one window of {needed} samples")
        return samples

    def augmented_waveform(self, draw: Draw) -> np.ndarray:
        """Samples (S',) of a clip as the model hears them; AudioError when they cannot be used."""
        samples = self.waveform(draw.row)
        if self.augmentation is None:
            return samples
        random = self._random_of(draw)
        samples = self.augmentation(samples, self.processor.rate, random)
        return self._long_enough(self.corpus.file(draw.row), samples)

    def _random_of(self, draw: Draw) -> np.random.Generator:
        return np.random.default_rng([self.seed, draw.epoch, draw.row])

    @property
    def stretches(self) -> Callable[[int], np.ndarray] | None:
        """A function: how many times as long as recorded each clip (N,) is in an epoch.

        None where that is not known before a clip is loaded: no speed is drawn, or not as the first
        change of the waveform.
        """
        first = self.augmentation.first_speed if self.augmentation else None
        if first is None:
            return None
        probability, speed = first

        def stretches(epoch: int) -> np.ndarray:
            randoms = (self._random_of(Draw(row, epoch)) for row in range(len(self)))
            factors = [speed.draw(r) if r.random() < probability else 1.0 for r in randoms]
            return 1 / np.array(factors, np.float32)

        return stretches

    def analysed(self, draw: Draw) -> tuple[torch.Tensor, int]:
        """(features (T, F), samples S) of a clip, its waveform augmented, or from the cache.

        AudioError when it cannot be used.
        """

        def compute() -> tuple[torch.Tensor, int]:
            samples = self.augmented_waveform(draw)
            return self.processor.analyse(torch.from_numpy(samples)), len(samples)

        if self.cache is None:
            return compute()
        row = draw.row
        return self.cache.of(draw).get(int(self.corpus.rows[row]), self.corpus.file(row), compute)

    def __getitem__(self, draw: int | Draw) -> Clip | ExcludedClip:
        draw = draw if isinstance(draw, tuple) else Draw(draw, 0)
        clip_id, sentence = self.corpus.path(draw.row), self.corpus.sentence(draw.row)
        problem: str | None
        labels, problem = labels_or_why_not(sentence, self.charmap)
        aux_labels: list[int] | None = None
        if self.aux_units is not None:
            aux_labels, aux_problem = labels_or_why_not(sentence, self.aux_units)
            problem = problem or aux_problem
        if problem and self.for_training:
            return ExcludedClip(clip_id, problem)
        try:
            features, n_samples = self.analysed(draw)
        except AudioError as error:
            return ExcludedClip(clip_id, error.reason)
        generator = None
        if self.processor.spec_augment is not None:
            generator = torch.Generator().manual_seed(mix_seeds(self.seed, draw.epoch, draw.row))
        features = self.processor.finish(features, generator)
        if self.output_lengths is not None:
            n_frames = int(self.output_lengths(len(features)))
            problem = infeasible(labels, n_frames) or infeasible(aux_labels or [], n_frames)
            if problem:
                return ExcludedClip(clip_id, problem)
        return Clip(
            clip_id,
            features,
            torch.tensor(labels, dtype=torch.long),
            sentence,
            n_samples / self.processor.rate,
            not problem,
            None if aux_labels is None else torch.tensor(aux_labels, dtype=torch.long),
        )


def labels_or_why_not(sentence: str, units: Units) -> tuple[list[int], str]:
    """Labels of a transcript, and why it has none: then one label holds the place."""
    placeholder = [units.vocab_size - 1]
    if not sentence.strip():
        return placeholder, "empty transcript"
    try:
        labels = units.encode(sentence)
    except ValueError as error:
        return placeholder, str(error)
    return (labels, "") if labels else (placeholder, "empty transcript")


def mix_seeds(*numbers: int) -> int:
    """One seed of 63 bits from several numbers, well spread."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
