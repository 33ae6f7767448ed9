"""Word, character and sentence error rates with intervals, and the alignments behind them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import jiwer
import numpy as np

from asr_ctc.base.report import Report
from asr_ctc.display.terminal import several
from asr_ctc.scoring import bootstrap
from asr_ctc.text.ipa import normalise_ipa, phonemes_of
from asr_ctc.text.languages import writing_of_language
from asr_ctc.text.normalise import Distinctions, normalise_text
from asr_ctc.text.segments import why_no_words, words_apart
from asr_ctc.text.writing import PLAIN, Writing

# Columns of the counts of clips (N, 6), and the two that make each rate: errors over their number.
COUNTS = ("word_errors", "words", "character_errors", "characters", "wrong", "sentences")
RATES = {"wer": (0, 1), "cer": (2, 3), "ser": (4, 5)}
OPERATIONS = ("equal", "substitute", "delete", "insert")  # as jiwer calls them

Pairs = list[tuple[str | None, str | None]]  # (reference, hypothesis), None where one has nothing


# jiwer's alignment of references with hypotheses, by words or by characters.
Process = Callable[[list[str], list[str]], jiwer.WordOutput | jiwer.CharacterOutput]


@dataclass(frozen=True)
class Rate:
    """An error rate as a fraction, and its 95 % interval.

    ``rate`` is nan if there is nothing to score. ``low`` and ``high`` are None below two clips: a
    single clip has no variance.
    """

    rate: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends of the 95 % interval, as fractions; None below two clips."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class ErrorRates(Report):
    """Errors of a set of clips; the rates are fractions, nan if there is nothing to score.

    An interval holds 95 % of the bootstrap resamples of the clips (see ``bootstrap``); None below
    two clips. Clips whose reference is empty after normalisation are counted in
    ``n_empty_references`` and excluded from every rate: they have no word to get right.
    """

    wer: float  # word errors / reference words; above 1 if many words are inserted
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
    writing: Writing | str = PLAIN,
    phonemes: bool = False,
    n_resamples: int = bootstrap.N_RESAMPLES,
) -> ErrorRates:
    """Word, character and sentence error rates of ``hypotheses``, one for each of ``references``.

    Both are normalised alike (see ``normalise_text``). Differences in case, accents or punctuation
    count as errors only with ``case``, ``accents`` or ``punctuation``; ``writing`` is a profile or
    the code of a language that has one, such as tr: how case folds and what else is equal. Of a
    language that writes no spaces between words the WER is that of word segments, cut alike in
    both, or nan where nothing can cut them (see ``text.segments``). With ``phonemes`` the texts are
    IPA, compared as they are: the words are theirs, and in place of characters stand phonemes,
    without the spaces. Errors are summed over all clips before they are divided, so a long clip
    weighs more than a short one. Alignments are jiwer's.
    The intervals are of ``n_resamples`` resamples of the clips; 0 skips them, which is faster.

    Raises ValueError if the two differ in length, if one is a text instead of a list of texts, and
    for a code without a profile.
    """
    if isinstance(references, str) or isinstance(hypotheses, str):
        raise ValueError("references and hypotheses are lists of texts; found a text")
    if len(references) != len(hypotheses):
        raise ValueError(
            f"{several(len(references), 'reference')} and "
            f"{several(len(hypotheses), 'hypothesis', 'hypotheses')}; needed equally many"
        )
    if isinstance(writing, str):
        profile = writing_of_language(writing)
        if profile is None:
            raise ValueError(f"writing: there is no profile of the language {writing!r}")
        writing = profile
    distinctions = Distinctions(
        case=case, accents=accents, punctuation=punctuation, writing=writing, phonemes=phonemes
    )
    references = normalised(references, **distinctions)
    hypotheses = normalised(hypotheses, **distinctions)
    pairs = [(ref, hyp) for ref, hyp in zip(references, hypotheses, strict=True) if ref]
    words = _word_operations(pairs, writing)
    if phonemes:
        chars = _count_operations(jiwer.process_words, [(_apart(r), _apart(h)) for r, h in pairs])
    else:
        chars = _count_operations(jiwer.process_characters, pairs)
    wrong = np.array([ref != hyp for ref, hyp in pairs], dtype=np.int64)
    of_words = words[:, 1:].sum(axis=1), words[:, :3].sum(axis=1)
    of_chars = chars[:, 1:].sum(axis=1), chars[:, :3].sum(axis=1)
    counts = np.stack([*of_words, *of_chars, wrong, np.ones_like(wrong)], axis=1)
    rates = rates_of(counts, RATES, n_resamples)
    _, word_substitutions, word_deletions, word_insertions = words.sum(axis=0).tolist()
    _, char_substitutions, char_deletions, char_insertions = chars.sum(axis=0).tolist()
    return ErrorRates(
        wer=rates["wer"].rate,
        cer=rates["cer"].rate,
        ser=rates["ser"].rate,
        wer_interval=rates["wer"].interval,
        cer_interval=rates["cer"].interval,
        ser_interval=rates["ser"].interval,
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
    texts: Iterable[str],
    *,
    case: bool = False,
    accents: bool = False,
    punctuation: bool = False,
    writing: Writing = PLAIN,
    phonemes: bool = False,
) -> list[str]:
    """The texts as they are scored, by ``normalise_text``, or as IPA."""
    if phonemes:
        return list(map(normalise_ipa, texts))
    return [
        normalise_text(
            text,
            writing=writing,
            keep_case=case,
            keep_accents=accents,
            keep_punctuation=punctuation,
        )
        for text in texts
    ]


def _apart(ipa: str) -> str:
    """A text of IPA with a space between two phonemes."""
    return " ".join(phonemes_of(ipa))


def rate_of(total: np.ndarray, name: str) -> float:
    """A rate of RATES from counts (6,) or their sum; nan if there is nothing to score."""
    errors, n = RATES[name]
    return float(total[errors] / total[n]) if total[n] else math.nan


def rates_of(
    counts: np.ndarray, names: Iterable[str], n_resamples: int = bootstrap.N_RESAMPLES
) -> dict[str, Rate]:
    """{name: rate} of the counts (N, 6) of clips, with intervals if there are two clips or more."""
    total = counts.sum(axis=0)
    rates = {name: rate_of(total, name) for name in names}
    if len(counts) < 2 or not n_resamples:
        return {name: Rate(rate) for name, rate in rates.items()}
    sums = bootstrap.resampled_sums(counts, n_resamples)
    return {
        name: Rate(rate)
        if math.isnan(rate)
        else Rate(rate, *bootstrap.interval(sums[:, RATES[name][0]] / sums[:, RATES[name][1]]))
        for name, rate in rates.items()
    }


def _word_operations(pairs: Sequence[tuple[str, str]], writing: Writing) -> np.ndarray:
    """``_count_operations`` of words; zeros where the writing has none."""
    words = _count_operations(
        jiwer.process_words,
        [(words_apart(ref, writing), words_apart(hyp, writing)) for ref, hyp in pairs],
    )
    if why_no_words(writing):
        words[:] = 0
    return words


def _count_operations(process: Process, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Number of each of OPERATIONS in the alignment of each clip (N, 4)."""
    counts = np.zeros((len(pairs), len(OPERATIONS)), dtype=np.int64)
    if not pairs:
        return counts
    alignments = process([ref for ref, _ in pairs], [hyp for _, hyp in pairs]).alignments
    for row, chunks in zip(counts, alignments, strict=True):
        for chunk in chunks:
            n_references = chunk.ref_end_idx - chunk.ref_start_idx
            n_hypotheses = chunk.hyp_end_idx - chunk.hyp_start_idx
            row[OPERATIONS.index(chunk.type)] += max(n_references, n_hypotheses)
    return counts


def align_words(
    references: Iterable[str], hypotheses: Iterable[str], *, writing: Writing = PLAIN
) -> list[Pairs]:
    """Each clip's words as pairs (reference, hypothesis) of a minimal alignment, by jiwer.

    (word, None) is a deletion, (None, word) an insertion. Texts are aligned as they are; normalise
    them first. Words are cut as in ``writing``.
    """
    apart = ([words_apart(text, writing) for text in texts] for texts in (references, hypotheses))
    return _aligned(jiwer.process_words, *apart)


def align_characters(
    references: Sequence[str], hypotheses: Sequence[str], *, phonemes: bool = False
) -> list[Pairs]:
    """The same for characters (code points, spaces included), or for phonemes of IPA."""
    if phonemes:
        return align_words(map(_apart, references), map(_apart, hypotheses))
    return _aligned(jiwer.process_characters, references, hypotheses)


def _aligned(process: Process, references: Sequence[str], hypotheses: Sequence[str]) -> list[Pairs]:
    if not references:
        return []
    output = process(list(references), list(hypotheses))
    return [
        [pair for chunk in chunks for pair in _pairs_of(chunk, reference, hypothesis)]
        for chunks, reference, hypothesis in zip(
            output.alignments, output.references, output.hypotheses, strict=True
        )
    ]


def _pairs_of(chunk: jiwer.AlignmentChunk, reference: list[str], hypothesis: list[str]) -> Pairs:
    return list(
        zip_longest(
            reference[chunk.ref_start_idx : chunk.ref_end_idx],
            hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx],
        )
    )
