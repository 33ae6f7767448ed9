"""Is B better than A? The paired bootstrap over the clips that both have decoded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.base.report import Report
from asr_ctc.display.terminal import several
from asr_ctc.scoring import bootstrap
from asr_ctc.scoring.clips import ClipErrors, ScoredClip, count_errors
from asr_ctc.scoring.metrics import RATES, Pairs, rate_of
from asr_ctc.scoring.report import rates_of_units, units_of
from asr_ctc.text.normalise import Distinctions, described
from asr_ctc.text.segments import segmenter_of, why_no_words
from asr_ctc.text.writing import PLAIN, Writing

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class PairedRate:
    """An error rate of both systems, as fractions, and the 95 % interval of ``difference``, B - A.

    ``p_better`` is the probability of improvement: the fraction of resamples in which B makes
    fewer errors than A (Bisani & Ney 2004); ties count half.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_better: float


@dataclass(frozen=True)
class Comparison(Report):
    """Two systems on the same clips. ``a`` and ``b`` are their names; counts are of clips."""

    a: str
    b: str
    clips: int  # in both, with a transcript: the rates are over these
    empty_references: int  # in both, without a transcript
    only_a: int
    only_b: int
    resamples: int
    wer: PairedRate | None  # None where no words can be counted
    cer: PairedRate
    verdict: str
    case_folding: str  # with which both were scored
    scored_by: str  # what counts as an error in both, in words
    segmenter: str  # what cut the words of both, with its version; '' where spaces did
    units: str  # characters, or phonemes: then cer is of these


def compare(
    names: tuple[str, str],
    a: Sequence[ScoredClip],
    b: Sequence[ScoredClip],
    **distinctions: Unpack[Distinctions],
) -> Comparison:
    """Compares B with A. ``distinctions`` are those of ``metrics.error_rates``, such as case;
    without them, accents and writing profile are those that the clips were scored with.

    UserError if no clip with a transcript is in both, if the references of a clip differ, or if
    the clips were scored by different rules, or by words that different segmenters cut.
    """
    distinctions = {**_common_rule(names, (*a, *b), distinctions), **distinctions}
    writing = distinctions["writing"]
    segmenter = segmenter_of(writing)
    if segmenter:
        _refuse_different_segmenters(names, (*a, *b))
    of_a, of_b = _by_key(a), _by_key(b)
    both = [key for key in of_a if key in of_b]
    if not both:
        raise UserError(f"{names[0]} and {names[1]} have no clip in common: nothing to compare")
    errors = [count_errors([of[key] for key in both], **distinctions) for of in (of_a, of_b)]
    _refuse_different_references(names, *errors)
    scored = errors[0].scored
    if not scored.any():
        raise UserError(f"{names[0]}: no clip in common has a transcript: nothing to compare")
    counts = [system.counts[scored] for system in errors]
    sums = np.split(bootstrap.resampled_sums(np.hstack(counts)), 2, axis=1)
    totals = [system.sum(axis=0) for system in counts]
    names_of = rates_of_units(units_of(distinctions))
    cer = _paired_rate("cer", totals, sums)
    wer = None if why_no_words(writing) else _paired_rate("wer", totals, sums)
    return Comparison(
        a=names[0],
        b=names[1],
        clips=int(scored.sum()),
        empty_references=int((~scored).sum()),
        only_a=len(of_a) - len(both),
        only_b=len(of_b) - len(both),
        resamples=len(sums[0]),
        wer=wer,
        cer=cer,
        verdict=_verdict(names_of.of_words, wer)
        if wer and not segmenter
        else _verdict(names_of.of_symbols, cer),
        case_folding=writing.case_folding,
        scored_by=described(distinctions),
        segmenter=segmenter.name if segmenter else "",
        units=units_of(distinctions),
    )


def _common_rule(
    names: tuple[str, str], clips: Sequence[ScoredClip], given: Distinctions
) -> Distinctions:
    """Accents and writing profile of the clips, the defaults if none is known.

    UserError if they differ, in what is not ``given``. Profiles that differ in their names, or in
    what German maps keep, score alike.
    """
    rules = [clip.scored for clip in clips if clip.scored is not None]
    accents = {rule.get("accents", False) for rule in rules}
    if len(accents) > 1 and "accents" not in given:
        raise UserError(
            f"{names[0]} and {names[1]} were scored by different rules, one with accents and one "
            "without: an error in one may be none in the other; --accents or --no-accents scores "
            "both alike"
        )
    profiles = [rule.get("writing", PLAIN) for rule in rules]
    writings = {_as_scored(writing): writing for writing in profiles}
    if len(writings) > 1 and "writing" not in given:
        raise UserError(
            f"{names[0]} and {names[1]} were scored by different writing profiles "
            f"({'; '.join(sorted(map(str, writings.values())))}): an error in one may be none in "
            "the other; --profile names one for both"
        )
    phonemes = {rule.get("phonemes", False) for rule in rules}
    if len(phonemes) > 1:
        raise UserError(
            f"{names[0]} and {names[1]}: one is in letters, the other in phonemes: score both in "
            "the same units"
        )
    rule: Distinctions = {
        "accents": next(iter(accents), False),
        "writing": next(iter(writings.values()), PLAIN),
    }
    return {**rule, "phonemes": True} if True in phonemes else rule


def _refuse_different_segmenters(names: tuple[str, str], clips: Sequence[ScoredClip]) -> None:
    segmenters = sorted({clip.segmenter for clip in clips if clip.segmenter})
    if len(segmenters) > 1:
        raise UserError(
            f"{names[0]} and {names[1]} were scored by words that different segmenters cut "
            f"({'; '.join(segmenters)}): their WERs are of different words; write both again with "
            "`test --hypotheses` where one of them is installed"
        )


def _as_scored(writing: Writing) -> str:
    folding = writing.case_folding
    folding = "default" if folding == "german" else folding
    return json.dumps(replace(writing, name="", case_folding=folding).to_dict(), sort_keys=True)


def _by_key(clips: Sequence[ScoredClip]) -> dict[tuple[str, int], ScoredClip]:
    """The clips by id and by number among those of one id: a clip may have several rows."""
    numbers: dict[str, count[int]] = {}
    return {(clip.id, next(numbers.setdefault(clip.id, count()))): clip for clip in clips}


def _refuse_different_references(names: tuple[str, str], a: ClipErrors, b: ClipErrors) -> None:
    """References must be equal after normalisation only: case or punctuation may differ."""
    different = [
        (one, other)
        for one, other, pairs, other_pairs in zip(
            a.clips, b.clips, a.characters, b.characters, strict=True
        )
        if _reference(pairs) != _reference(other_pairs)
    ]
    if different:
        one, other = different[0]
        raise UserError(
            f"{names[0]} and {names[1]} have different references for {len(different)} of "
            f"{several(len(a.clips), 'clip')} (the first: {one.id}: {one.reference!r} and "
            f"{other.reference!r}): the same clips of the same corpus are needed"
        )


def _reference(pairs: Pairs) -> str:
    return "".join(character for character, _ in pairs if character is not None)


def _paired_rate(name: str, totals: list[np.ndarray], sums: list[np.ndarray]) -> PairedRate:
    """A rate of RATES from the counts of A and B: the totals (6,), and of the resamples (B, 6)."""
    column, n = RATES[name]
    rate_a, rate_b = (rate_of(total, name) for total in totals)
    # Both have the same references: integer errors compare exactly, rates would be rounded.
    errors_a, errors_b = (system[:, column] for system in sums)
    low, high = bootstrap.interval((errors_b - errors_a) / sums[0][:, n])
    return PairedRate(
        a=rate_a,
        b=rate_b,
        difference=rate_b - rate_a,
        low=low,
        high=high,
        p_better=bootstrap.probability_below(errors_b, errors_a),
    )


def _verdict(name: str, rate: PairedRate) -> str:
    p = rate.p_better
    if rate.high < 0:
        return f"B is better than A: its {name} is lower, with a probability of {100 * p:.1f} %."
    if rate.low > 0:
        worse = f"{100 * (1 - p):.1f} %"
        return f"B is worse than A: its {name} is higher, with a probability of {worse}."
    return (
        f"No significant difference in {name}: its 95 % interval contains zero "
        f"(B is better with a probability of {100 * p:.1f} %)."
    )
