"""The report of `test --split`: rates, slices, confusions and examples of a split."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from asr_ctc.base.report import Report
from asr_ctc.scoring import bootstrap
from asr_ctc.scoring.clips import ClipErrors, operations
from asr_ctc.scoring.metrics import RATES, Pairs, Rate, rate_of, rates_of
from asr_ctc.text.normalise import Distinctions
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.units import Rates

DURATION_EDGES_S = (2, 4, 6, 8, 10, 15, 30)
UNREADABLE = "not readable"
N_EXAMPLES = 3
N_CONFUSIONS = 10
EXAMPLE_TITLES = {"worst": "worst clips", "median": "clips in the middle", "best": "best clips"}


@dataclass(frozen=True)
class SplitDecoding:
    """How a split was decoded."""

    corpus: str  # corpus and split
    n_decoded: int = field(metadata={"json": "clips_read"})
    # clips of the whole split, those outside the duration bounds included
    n_rows: int = field(metadata={"json": "clips_there"})
    hours: float  # of audio, of the clips decoded
    decoding: str  # greedy, or the beam search with its language model
    device: str
    unreadable: int  # clips that are unreadable or silent: their hypothesis is empty
    # those of case, accents and punctuation that count as errors
    distinctions: list[str] = field(metadata={"json": "kept"})
    case_folding: str  # of the writing profile
    scored_by: str  # what counts as an error, and the writing profile, in words
    units: str  # characters, or phonemes: then cer and characters are of these
    has_words: bool  # False: there are no spaces between words, nothing cuts them, and no WER
    why_no_wer: str  # and why; '' with words
    segmenter: str  # what cut the words, with its version; '' where spaces did, and without words
    seconds: float  # decoding time
    real_time_factor: float | None  # decoding time / duration of the audio; None without audio

    @property
    def is_by_words(self) -> bool:
        """Whether the WER comes first: where writers put spaces between words."""
        return self.has_words and not self.segmenter


@dataclass(frozen=True)
class EditCounts:
    """Words or characters of the references (``total``), and the edits in the hypotheses."""

    total: int
    substituted: int
    deleted: int
    inserted: int


@dataclass(frozen=True)
class StrictRates:
    """Rates with case, accents and punctuation scored; nan if there is nothing to score."""

    wer: float
    cer: float


@dataclass(frozen=True)
class Slice:
    """The scored clips with one value of a column, such as gender."""

    value: str
    clips: int
    words: int
    wer: Rate
    cer: Rate


@dataclass(frozen=True)
class Confusions:
    """The most frequent character errors, each with its count."""

    substituted: list[tuple[str, str, int]]  # reference, hypothesis, count
    deleted: list[tuple[str, int]]
    inserted: list[tuple[str, int]]


@dataclass(frozen=True)
class Example:
    """A clip with its words as pairs (reference, hypothesis), None where one of them has none."""

    id: str
    wer: float
    cer: float
    words: Pairs


@dataclass(frozen=True)
class Examples:
    """Clips by WER, or by CER where that comes first."""

    worst: list[Example]
    median: list[Example]
    best: list[Example]


@dataclass(frozen=True)
class SplitReport(Report, SplitDecoding):
    """The error rates of a split, overall and by slices, with confusions and examples."""

    clips: int  # scored clips: those with a transcript
    empty_references: int  # clips without a transcript
    resamples: int  # of the bootstrap, for the intervals
    wer: Rate
    cer: Rate
    ser: Rate
    words: EditCounts
    characters: EditCounts
    strict: StrictRates
    slices: dict[str, list[Slice]]  # by column
    confusions: Confusions
    examples: Examples

    @property
    def rate_names(self) -> Rates:
        """What the rates are called: a model of phonemes has a PER."""
        return rates_of_units(self.units)

    def rates_of(self, clip: Example) -> str:
        """The rates of a clip in words, the one to read first; only one if it has no words."""
        names = self.rate_names
        rates = [(names.of_words, clip.wer), (names.of_symbols, clip.cer)]
        told = [f"{name} {100 * rate:.0f} %" for name, rate in rates if not math.isnan(rate)]
        return ", ".join(told if self.is_by_words else reversed(told))


def units_of(distinctions: Distinctions) -> str:
    """Of what texts are made that are scored so: characters or phonemes."""
    return "phonemes" if distinctions.get("phonemes") else "characters"


def rates_of_units(units: str) -> Rates:
    """What the rates of ``units_of`` are called."""
    return Phonemes.rates if units == "phonemes" else Rates()


def make_report(
    decoding: SplitDecoding,
    errors: ClipErrors,
    strict: ClipErrors,
    columns: Mapping[str, Sequence[str]],
) -> SplitReport:
    """The rates with their 95 % intervals, slices by ``columns``, confusions, examples.

    ``strict`` are the same clips with case, accents and punctuation scored; ``columns`` {name: N
    texts} name the slice of each clip.
    """
    scored = errors.scored
    rates = rates_of(errors.counts[scored], RATES)
    strict_total = strict.counts[scored].sum(axis=0)
    return SplitReport(
        **vars(decoding),
        clips=int(scored.sum()),
        empty_references=int((~scored).sum()),
        resamples=bootstrap.N_RESAMPLES,
        wer=rates["wer"],
        cer=rates["cer"],
        ser=rates["ser"],
        words=_edit_counts(errors.words if decoding.has_words else []),
        characters=_edit_counts(errors.characters),
        strict=StrictRates(rate_of(strict_total, "wer"), rate_of(strict_total, "cer")),
        slices={name: slices(errors, name, values) for name, values in columns.items()},
        confusions=confusions(errors.characters),
        examples=examples(errors, by_words=decoding.is_by_words),
    )


def _edit_counts(alignments: Sequence[Pairs]) -> EditCounts:
    total = sum(reference is not None for pairs in alignments for reference, _ in pairs)
    edits = np.sum([operations(pairs) for pairs in alignments] or [(0, 0, 0)], axis=0)
    return EditCounts(total, *edits.tolist())


def slices(errors: ClipErrors, name: str, values: Sequence[str]) -> list[Slice]:
    """The slice of each value; durations in order, other values by size, the largest first."""
    scored = errors.scored
    counts, scored_values = errors.counts[scored], np.array(values, dtype=object)[scored]
    parts = []
    for value in dict.fromkeys(scored_values):
        part = counts[scored_values == value]
        n_words = int(part[:, RATES["wer"][1]].sum())
        rates = rates_of(part, ("wer", "cer"))
        parts.append(Slice(value, len(part), n_words, wer=rates["wer"], cer=rates["cer"]))
    if name == "duration":
        order = [*_duration_names(), UNREADABLE]
        return sorted(parts, key=lambda part: order.index(part.value))
    return sorted(parts, key=lambda part: (-part.clips, part.value))


def duration_bins(durations_s: np.ndarray) -> list[str]:
    """The name of each clip's half-open bin; a clip that cannot be opened has a duration of 0 s."""
    names, bins = _duration_names(), np.digitize(durations_s, DURATION_EDGES_S)
    return [
        names[number] if seconds > 0 else UNREADABLE
        for number, seconds in zip(bins, durations_s, strict=True)
    ]


def _duration_names() -> list[str]:
    edges = DURATION_EDGES_S
    between = [f"{low} to {high} s" for low, high in pairwise(edges)]
    return [f"under {edges[0]} s", *between, f"{edges[-1]} s and more"]


def confusions(alignments: Sequence[Pairs]) -> Confusions:
    """The ten most frequent characters substituted, deleted and inserted."""
    counts = Counter(pair for pairs in alignments for pair in pairs if pair[0] != pair[1])
    edits = [(ref or "", hyp or "", n) for (ref, hyp), n in counts.items()]
    edits.sort(key=lambda edit: (-edit[2], *edit[:2]))
    return Confusions(
        substituted=[edit for edit in edits if edit[0] and edit[1]][:N_CONFUSIONS],
        deleted=[(ref, n) for ref, hyp, n in edits if not hyp][:N_CONFUSIONS],
        inserted=[(hyp, n) for ref, hyp, n in edits if not ref][:N_CONFUSIONS],
    )


def examples(errors: ClipErrors, *, by_words: bool = True) -> Examples:
    """The worst, median and best clips by WER, then CER; of equal ones the longer comes first.

    By CER, then WER, unless ``by_words``.

    No clip is in two of the lists: if there are few, the worst take precedence, then the best.
    """
    counts = errors.counts

    def badness(i: int) -> tuple[float, float, int]:
        word_errors, words, character_errors, characters = counts[i, :4].tolist()
        sign = 1 if character_errors else -1  # of clips without errors the longest is the best
        wer, cer = word_errors / max(1, words), character_errors / characters
        return *((wer, cer) if by_words else (cer, wer)), sign * characters

    ranked = sorted(np.flatnonzero(errors.scored).tolist(), key=badness, reverse=True)
    n = min(N_EXAMPLES, max(1, len(ranked) // 3))
    middle = (len(ranked) - n) // 2

    def make_examples(rows: list[int]) -> list[Example]:
        rates = [(rate_of(counts[i], "wer"), rate_of(counts[i], "cer")) for i in rows]
        return [
            Example(errors.clips[i].id, wer, cer, errors.words[i])
            for i, (wer, cer) in zip(rows, rates, strict=True)
        ]

    return Examples(
        worst=make_examples(ranked[:n]),
        median=make_examples(ranked[middle : middle + n] if len(ranked) >= 3 * n else []),
        best=make_examples(ranked[max(n, len(ranked) - n) :][::-1]),
    )
