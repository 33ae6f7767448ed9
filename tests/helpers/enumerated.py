"""Brute force over all paths of few frames, and random language models."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from asr_ctc.lm.ngrams import EOS, SPECIAL_WORDS, GrowingModel, LanguageModel


def random_model(rng, vocabulary: Sequence[str]) -> LanguageModel:
    """Of orders 1 and 2, with half of the pairs of words."""
    words = [*SPECIAL_WORDS, *vocabulary]
    n = len(words)
    model = GrowingModel(words, -rng.exponential(2, n), -rng.exponential(1, n))
    pairs = [(w, v) for w in range(n) for v in range(EOS, n) if w != EOS and rng.random() < 0.5]
    parents, last = np.array(pairs).T
    n_pairs = len(last)
    model.add(1 + parents, last, -rng.exponential(1, n_pairs), -rng.exponential(1, n_pairs))
    return model.finish()


def probabilities(frames: np.ndarray, classes: Sequence[int]) -> dict[tuple[int, ...], float]:
    """The log probability of every sequence of labels: the sum over all paths."""
    totals: dict[tuple[int, ...], float] = {}
    for path in itertools.product(classes, repeat=len(frames)):
        labels = tuple(label for label, _ in itertools.groupby(path) if label)
        logp = float(sum(frame[label] for frame, label in zip(frames, path, strict=True)))
        totals[labels] = float(np.logaddexp(totals.get(labels, -math.inf), logp))
    return totals
