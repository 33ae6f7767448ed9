"""What `test --split` says of a split, as one dictionary that JSON can hold."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from asr_ctc.scoring import bootstrap
from asr_ctc.scoring.clips import RATES, ClipErrors, operations
from asr_ctc.scoring.metrics import Pairs

DURATION_EDGES_S = (2, 4, 6, 8, 10, 15, 30)
UNREADABLE = "not readable"
N_EXAMPLES = 3
N_CONFUSIONS = 10


def make_report(
    errors: ClipErrors, strict: ClipErrors, columns: Mapping[str, Sequence[str]]
) -> dict:
    """The rates with their 95 % intervals, slices by ``columns``, confusions, examples.

    ``strict`` are the same clips with case, accents and punctuation kept; ``columns`` {name: N
    texts} say what slice each clip belongs to. A rate is None where there is nothing to score.
    """
    scored = errors.scored
    report = {
        "clips": int(scored.sum()),
        "empty_references": int((~scored).sum()),
        "resamples": bootstrap.N_RESAMPLES,
        **_rates(errors.counts[scored], RATES),
        "words": _totals(errors.words),
        "characters": _totals(errors.characters),
    }
    total = strict.counts.sum(axis=0)
    report["strict"] = {name: _rate(total, name) for name in ("wer", "cer")}
    report["slices"] = {name: slices(errors, name, values) for name, values in columns.items()}
    report["confusions"] = confusions(errors.characters)
    report["examples"] = examples(errors)
    return report


def _rate(total: np.ndarray, name: str) -> float | None:
    wrong, n = RATES[name]
    return float(total[wrong] / total[n]) if total[n] else None


def _rates(counts: np.ndarray, names: Sequence[str]) -> dict[str, dict]:
    """{name: rate, low and high}; one clip says nothing of how others vary: no interval."""
    total = counts.sum(axis=0)
    found = {name: {"rate": _rate(total, name), "low": None, "high": None} for name in names}
    if len(counts) > 1:
        sums = bootstrap.resampled_sums(counts)
        for name, figures in found.items():
            wrong, n = RATES[name]
            figures["low"], figures["high"] = bootstrap.interval(sums[:, wrong] / sums[:, n])
    return found


def _totals(alignments: Sequence[Pairs]) -> dict[str, int]:
    total = sum(said is not None for pairs in alignments for said, _ in pairs)
    found = np.sum([operations(pairs) for pairs in alignments] or [(0, 0, 0)], axis=0).tolist()
    return {"total": total} | dict(zip(("substituted", "deleted", "inserted"), found, strict=True))


def slices(errors: ClipErrors, name: str, values: Sequence[str]) -> list[dict]:
    """Clips, words, WER and CER of each value; durations in order, others the largest first."""
    scored = errors.scored
    counts, kept = errors.counts[scored], np.array(values, dtype=object)[scored]
    found = []
    for value in dict.fromkeys(kept):
        part = counts[kept == value]
        found.append(
            {
                "value": value,
                "clips": len(part),
                "words": int(part[:, RATES["wer"][1]].sum()),
                **_rates(part, ("wer", "cer")),
            }
        )
    if name == "duration":
        order = [*_duration_names(), UNREADABLE]
        return sorted(found, key=lambda row: order.index(row["value"]))
    return sorted(found, key=lambda row: (-row["clips"], row["value"]))


def duration_bins(durations_s: np.ndarray) -> list[str]:
    """The name of each clip's bin, half-open; a clip that cannot be opened lasts 0 s."""
    names, bins = _duration_names(), np.digitize(durations_s, DURATION_EDGES_S)
    return [
        names[which] if seconds > 0 else UNREADABLE
        for which, seconds in zip(bins, durations_s, strict=True)
    ]


def _duration_names() -> list[str]:
    edges = DURATION_EDGES_S
    between = [f"{low} to {high} s" for low, high in pairwise(edges)]
    return [f"under {edges[0]} s", *between, f"{edges[-1]} s and more"]


def confusions(alignments: Sequence[Pairs]) -> dict[str, list]:
    """The most frequent characters substituted, deleted and inserted, as [*characters, times]."""
    found = Counter(pair for pairs in alignments for pair in pairs if pair[0] != pair[1])
    kinds = {
        "substituted": lambda said, read: said is not None and read is not None,
        "deleted": lambda said, read: read is None,
        "inserted": lambda said, read: said is None,
    }
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1] or ""))
    return {
        kind: [
            [*(character for character in pair if character is not None), times]
            for pair, times in ordered
            if belongs(*pair)
        ][:N_CONFUSIONS]
        for kind, belongs in kinds.items()
    }


def examples(errors: ClipErrors) -> dict[str, list[dict]]:
    """The worst, median and best clips by WER, then CER; of equal ones the longer is more telling.

    Few clips are told once each: the worst first, then the best.
    """
    counts = errors.counts

    def badness(i: int) -> tuple:
        wrong, words, wrong_characters, characters = counts[i, :4]
        sign = 1 if wrong_characters else -1  # of the right ones the longest is the best
        return wrong / words, wrong_characters / characters, sign * characters

    ranked = sorted(np.flatnonzero(errors.scored).tolist(), key=badness, reverse=True)
    n = min(N_EXAMPLES, max(1, len(ranked) // 3))
    middle = (len(ranked) - n) // 2
    chosen = {
        "worst": ranked[:n],
        "median": ranked[middle : middle + n] if len(ranked) >= 3 * n else [],
        "best": ranked[max(n, len(ranked) - n) :][::-1],
    }
    return {
        kind: [
            {
                "id": errors.clips[i].id,
                "wer": _rate(counts[i], "wer"),
                "cer": _rate(counts[i], "cer"),
                "words": errors.words[i],
            }
            for i in rows
        ]
        for kind, rows in chosen.items()
    }
