"""Is B better than A? The paired bootstrap over the clips that both have read."""

from collections.abc import Sequence
from itertools import count

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.scoring import bootstrap
from asr_ctc.scoring.clips import RATES, ClipErrors, ScoredClip, count_errors

PAIRED_RATES = ("wer", "cer")


def compare(
    names: tuple[str, str], a: Sequence[ScoredClip], b: Sequence[ScoredClip], **keep: bool
) -> dict:
    """What tells A from B: for WER and CER both rates, their difference B - A, its interval.

    ``p_better`` is the probability of improvement: the share of the resamples in which B makes
    fewer errors than A (Bisani & Ney 2004). ``keep`` as in ``metrics.normalise_text``. UserError
    when no clip, or none with a transcript, is in both, and when a clip's references differ.
    """
    of_a, of_b = _by_key(a), _by_key(b)
    both = [key for key in of_a if key in of_b]
    if not both:
        raise UserError(f"{names[0]} and {names[1]} have no clip in common: nothing to compare")
    errors = [count_errors([of[key] for key in both], **keep) for of in (of_a, of_b)]
    _refuse_other_references(names, *errors)
    scored = errors[0].scored
    if not scored.any():
        raise UserError(f"{names[0]}: no clip in common has a transcript: nothing to compare")
    counts = np.hstack([system.counts[scored] for system in errors])
    total, sums = counts.sum(axis=0), bootstrap.resampled_sums(counts)
    width = errors[0].counts.shape[1]
    report = {
        "a": names[0],
        "b": names[1],
        "clips": int(scored.sum()),
        "empty_references": int((~scored).sum()),
        "only_a": len(of_a) - len(both),
        "only_b": len(of_b) - len(both),
        "resamples": len(sums),
    }
    for name in PAIRED_RATES:
        wrong, n = RATES[name]
        rate_a, rate_b = total[wrong] / total[n], total[width + wrong] / total[width + n]
        # Both are over the same reference: errors compare exactly, where rates would round.
        low, high = bootstrap.interval((sums[:, width + wrong] - sums[:, wrong]) / sums[:, n])
        report[name] = {
            "a": float(rate_a),
            "b": float(rate_b),
            "difference": float(rate_b - rate_a),
            "low": low,
            "high": high,
            "p_better": bootstrap.probability_below(sums[:, width + wrong], sums[:, wrong]),
        }
    return report | {"verdict": _verdict(report)}


def _by_key(clips: Sequence[ScoredClip]) -> dict[tuple[str, int], ScoredClip]:
    """The clips by id and by how often the id came before: rows may name one clip twice."""
    seen: dict[str, count] = {}
    return {(clip.id, next(seen.setdefault(clip.id, count()))): clip for clip in clips}


def _refuse_other_references(names: tuple[str, str], a: ClipErrors, b: ClipErrors) -> None:
    """References need only be the same as scored: case or punctuation may differ."""
    others = [
        (one, other)
        for one, other, said, meant in zip(
            a.clips, b.clips, a.characters, b.characters, strict=True
        )
        if _reference(said) != _reference(meant)
    ]
    if others:
        one, other = others[0]
        raise UserError(
            f"{names[0]} and {names[1]} have different references for {len(others)} of "
            f"{len(a.clips)} clips (the first: {one.id}: {one.reference!r} and "
            f"{other.reference!r}): the same clips of the same corpus are needed"
        )


def _reference(pairs) -> str:
    return "".join(said for said, _ in pairs if said is not None)


def _verdict(report: dict) -> str:
    wer = report["wer"]
    p = wer["p_better"]
    if wer["high"] < 0:
        return f"B is better than A: its WER is lower, with a probability of {100 * p:.1f} %."
    if wer["low"] > 0:
        return f"B is worse than A: its WER is higher, with a probability of {100 * (1 - p):.1f} %."
    return (
        "No difference in WER that these clips can tell: its 95 % interval holds zero "
        f"(B is better with a probability of {100 * p:.1f} %)."
    )
