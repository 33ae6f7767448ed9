"""Word, character and sentence error rates with their intervals, and the alignments behind them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import jiwer
import numpy as np

from asr_ctc.base.report import Report
from asr_ctc.scoring import bootstrap
from asr_ctc.text.normalise import normalise_text

# Columns of the counts of clips (N, 6), and which of them make a rate: errors over their number.
COUNTS = ("word_errors", "words", "character_errors", "characters", "wrong", "sentences")
RATES = {"wer": (0, 1), "cer": (2, 3), "ser": (4, 5)}
OPERATIONS = ("equal", "substitute", "delete", "insert")  # as jiwer calls them


@dataclass(frozen=True)
class Rate:
    """An error rate as a fraction, and its 95 % interval.

    ``rate`` is nan where there is nothing to score. ``low`` and ``high`` are None below two clips:
    one says nothing of how others vary.
    """

    rate: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None else (self.low, self.high)


@dataclass(frozen=True)
class ErrorRates(Report):
    """Errors of a set of clips; the rates are fractions, nan when there is nothing to score.

    An interval holds 95 % of the bootstrap resamples of the clips (see ``bootstrap``); None below
    two clips. Clips whose reference is empty after normalisation count in ``n_empty_references``
    alone: they have no word to get right, and every rate leaves them out.
    """

    wer: float  # word errors / reference words: above 1 when many words are inserted
    cer: float  # the same for characters (code points, spaces included)
    ser: float  # sentence error rate: clips with any error / clips scored
    wer_interval: tuple[float, float] | None
    cer_interval: tuple[float, float] | None
    ser_interval: tuple[float, float] | None
    n_clips: int
    n_empty_references: int
    n_words: int
    word_substitutions: int
    word_deletions: int
    word_insertions: int
    n_chars: int
    char_substitutions: int
    char_deletions: int
    char_insertions: int


def error_rates(
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    case: bool = False,
    accents: bool = False,
    punctuation: bool = False,
    n_resamples: int = bootstrap.N_RESAMPLES,
) -> ErrorRates:
    """Word, character and sentence error rates of ``hypotheses``, one for each of ``references``.

    Both are normalised alike (see ``normalise_text``); ``case``, ``accents`` and ``punctuation``
    say which differences count as errors all the same. Errors are summed over all clips before
    they are divided, so a long clip weighs more than a short one. Alignments are jiwer's.
    ``n_resamples`` clips are drawn for the intervals; 0 leaves them out, which is quicker.

    Raises ValueError when the two differ in length, or are a text each instead of a list.
    """
    if isinstance(references, str) or isinstance(hypotheses, str):
        raise ValueError("references and hypotheses are lists of texts; found a text")
    if len(references) != len(hypotheses):
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} hypotheses; needed as many"
        )
    how = {"case": case, "accents": accents, "punctuation": punctuation}
    references, hypotheses = normalised(references, **how), normalised(hypotheses, **how)
    pairs = [(ref, hyp) for ref, hyp in zip(references, hypotheses, strict=True) if ref]
    words = _count_operations(jiwer.process_words, pairs)
    chars = _count_operations(jiwer.process_characters, pairs)
    wrong = np.array([ref != hyp for ref, hyp in pairs], dtype=np.int64)
    counts = np.stack(
        [
            words[:, 1:].sum(axis=1),
            words[:, :3].sum(axis=1),
            chars[:, 1:].sum(axis=1),
            chars[:, :3].sum(axis=1),
            wrong,
            np.ones_like(wrong),
        ],
        axis=1,
    )
    rates = rates_of(counts, RATES, n_resamples)
    _, word_substitutions, word_deletions, word_insertions = words.sum(axis=0).tolist()
    _, char_substitutions, char_deletions, char_insertions = chars.sum(axis=0).tolist()
    return ErrorRates(
        **{name: rate.rate for name, rate in rates.items()},
        **{f"{name}_interval": rate.interval for name, rate in rates.items()},
        n_clips=len(pairs),
        n_empty_references=len(references) - len(pairs),
        n_words=int(words[:, :3].sum()),
        word_substitutions=word_substitutions,
        word_deletions=word_deletions,
        word_insertions=word_insertions,
        n_chars=int(chars[:, :3].sum()),
        char_substitutions=char_substitutions,
        char_deletions=char_deletions,
        char_insertions=char_insertions,
    )


def normalised(
    texts: Iterable[str], *, case: bool = False, accents: bool = False, punctuation: bool = False
) -> list[str]:
    """The texts as they are scored, by ``normalise_text``, with what is to count kept."""
    keep = {"keep_case": case, "keep_accents": accents, "keep_punctuation": punctuation}
    return [normalise_text(text, **keep) for text in texts]


def rate_of(total: np.ndarray, name: str) -> float:
    """A rate of RATES from counts (6,) or their sum; nan where there is nothing to score."""
    errors, n = RATES[name]
    return float(total[errors] / total[n]) if total[n] else math.nan


def rates_of(
    counts: np.ndarray, names: Iterable[str], n_resamples: int = bootstrap.N_RESAMPLES
) -> dict[str, Rate]:
    """{name: rate} of the counts (N, 6) of clips, with intervals from two clips on."""
    total = counts.sum(axis=0)
    rates = {name: rate_of(total, name) for name in names}
    if len(counts) < 2 or not n_resamples:
        return {name: Rate(rate) for name, rate in rates.items()}
    sums = bootstrap.resampled_sums(counts, n_resamples)
    return {
        name: Rate(rate, *bootstrap.interval(sums[:, RATES[name][0]] / sums[:, RATES[name][1]]))
        for name, rate in rates.items()
    }


def _count_operations(process, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """How often each of OPERATIONS stands in the alignment of each clip (N, 4)."""
    counts = np.zeros((len(pairs), len(OPERATIONS)), dtype=np.int64)
    if not pairs:
        return counts
    references, hypotheses = map(list, zip(*pairs, strict=True))
    alignments = process(references, hypotheses).alignments
    for row, chunks in zip(counts, alignments, strict=True):
        for chunk in chunks:
            n_references = chunk.ref_end_idx - chunk.ref_start_idx
            n_hypotheses = chunk.hyp_end_idx - chunk.hyp_start_idx
            row[OPERATIONS.index(chunk.type)] += max(n_references, n_hypotheses)
    return counts


Pairs = list[tuple[str | None, str | None]]


def align_words(references: Sequence[str], hypotheses: Sequence[str]) -> list[Pairs]:
    """Each clip's words as pairs (reference, hypothesis) of a cheapest alignment, by jiwer.

    None stands where the one has no word: (word, None) is deleted, (None, word) inserted. Texts
    are taken as they are; normalise them first.
    """
    return _aligned(jiwer.process_words, references, hypotheses)


def align_characters(references: Sequence[str], hypotheses: Sequence[str]) -> list[Pairs]:
    """The same for characters (code points, spaces included)."""
    return _aligned(jiwer.process_characters, references, hypotheses)


def _aligned(process, references: Sequence[str], hypotheses: Sequence[str]) -> list[Pairs]:
    if not references:
        return []
    output = process(list(references), list(hypotheses))
    return [
        [pair for chunk in chunks for pair in _pairs_of(chunk, reference, hypothesis)]
        for chunks, reference, hypothesis in zip(
            output.alignments, output.references, output.hypotheses, strict=True
        )
    ]


def _pairs_of(chunk, reference: list[str], hypothesis: list[str]) -> Pairs:
    return list(
        zip_longest(
            reference[chunk.ref_start_idx : chunk.ref_end_idx],
            hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx],
        )
    )
