"""Interpolated modified Kneser-Ney smoothing.

Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling",
sections 3 and 4: equations (26), (27).
"""

from dataclasses import dataclass, field

import numpy as np

from asr_ctc.lm.counting import FIRST_WORD, Table, starts_of_groups, without, word_at
from asr_ctc.lm.ngrams import BOS, GrowingModel, LanguageModel

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # where too few n-grams are there to estimate them
IMPOSSIBLE_LOGP = -99 * np.log(10)  # of <s>, which no context predicts


@dataclass
class Level:
    """The n-grams of one order, sorted by their words from the last to the first; N rows.

    Row r is the word ``first[r]`` before the n-gram of row ``suffix[r]`` of the order below; the
    rows of the lowest order, and those below it, are the words. ``context[r]`` is the row of the
    order below that holds the n-gram without its last word.
    """

    first: np.ndarray  # (N,) int32
    suffix: np.ndarray  # (N,) int32
    word: np.ndarray  # (N,) int32, the last word
    raw: np.ndarray  # (N,) int32: how often it is in the text
    count: np.ndarray  # (N,) int32: what its probability is estimated from
    context: np.ndarray = field(init=False)  # (N,) int32

    def __post_init__(self) -> None:
        for name in ("first", "suffix", "word", "raw", "count"):
            setattr(self, name, getattr(self, name).astype(np.int32))


def levels_of(table: Table, order: int, n_words: int) -> list[Level]:
    """The n-grams of every order 1 to ``order``, with their counts.

    An n-gram of less than ``order`` words counts the different words before it, once each; at the
    beginning of a sentence, where no word is before, how often it is there.
    """
    keys, raw, count = table.keys, table.counts, table.counts
    levels = []
    for n in range(order, 1, -1):
        first = word_at(keys, n - 1) - FIRST_WORD
        shorter = without(keys, n - 1)
        starts = starts_of_groups(shorter)
        groups = np.flatnonzero(starts)
        next_keys = shorter[:, groups]
        next_first = word_at(next_keys, n - 2) - FIRST_WORD
        word = word_at(keys, 0) - FIRST_WORD
        suffix = word if n == 2 else (np.cumsum(next_first >= 0) - 1)[np.cumsum(starts) - 1]
        is_ngram = first >= 0
        levels.append(Level(*(c[is_ngram] for c in (first, suffix, word, raw, count))))
        n_before = np.diff(np.append(groups, len(starts)))
        raw = np.add.reduceat(raw, groups) if len(groups) else raw
        count = np.where((next_first == BOS) | (next_first < 0), raw, n_before)
        keys = next_keys
    word = np.arange(n_words)
    ids = word_at(keys, 0) - FIRST_WORD
    raw_of, count_of = np.zeros((2, n_words), dtype=np.int64)
    raw_of[ids], count_of[ids] = raw, count
    levels.append(Level(word, word, word, raw_of, count_of))
    levels.reverse()
    _find_contexts(levels)
    return levels


def _find_contexts(levels: list[Level]) -> None:
    n_words = len(levels[0].word)
    levels[0].context = np.zeros(n_words, dtype=np.int32)
    for n, level in enumerate(levels[1:], 1):
        level.context = level.first
        if n > 1:
            below = levels[n - 1]
            context_keys = below.context[level.suffix] * np.int64(n_words) + level.first
            keys_below = below.suffix * np.int64(n_words) + below.first
            level.context = np.searchsorted(keys_below, context_keys).astype(np.int32)


def discounts_of(count: np.ndarray) -> np.ndarray:
    """What is taken off a count of 0, 1, 2, and 3 or more: (4,) float64. Equation (26).

    FALLBACK_DISCOUNTS where the formula divides by zero or leaves 0 < D(c) <= c.
    """
    n = [0.0, *(float((count == c).sum()) for c in (1, 2, 3, 4))]
    fallback = np.array([0.0, *FALLBACK_DISCOUNTS])
    if not (n[1] and n[2] and n[3]):
        return fallback
    y = n[1] / (n[1] + 2 * n[2])
    discounts = np.array([0.0, *(c - (c + 1) * y * n[c + 1] / n[c] for c in (1, 2, 3))])
    possible = (discounts[1:] > 0) & (discounts[1:] <= [1, 2, 3])
    return discounts if possible.all() else fallback


def estimate(
    table: Table,
    order: int,
    words: list[str],
    *,
    prune: tuple[int, ...],
    shares: np.ndarray | None = None,
) -> LanguageModel:
    """The model of counted windows, without n-grams counted at most ``prune`` (order,) times.

    Their probability goes to the shorter context. An n-gram stays when a longer one needs it. What
    single words leave is spread over all of them: by their ``shares`` (W,), which sum to 1 without
    <s>, else evenly.
    """
    levels = levels_of(table, order, len(words))
    del table
    masks = _pruning_masks(levels, prune)
    # Of every context: how often it is there, and what share it leaves to the context below.
    totals, backoffs = [], []
    for n, level in enumerate(levels):
        n_contexts = len(levels[n - 1].count) if n else 1
        total = np.bincount(level.context, level.count, n_contexts)
        discounted = np.bincount(level.context, _discounted(level.count) * masks[n], n_contexts)
        totals.append(np.maximum(total, 1))
        backoffs.append(np.where(total > 0, (total - discounted) / totals[-1], 1.0))
    backoffs.append(np.ones(len(levels[-1].count)))

    if shares is None:
        shares = np.full(len(words), 1 / (len(words) - 1))  # of all but <s>
    p = shares
    builder: GrowingModel | None = None
    nodes = np.array([0])
    for n, level in enumerate(levels):
        p = backoffs[n][level.context] * p[level.suffix]
        p += _discounted(level.count) / totals[n][level.context]
        rows = np.flatnonzero(masks[n])
        with np.errstate(divide="ignore"):  # <s> may have no share
            logp, backoff = np.log(p[rows]), np.log(backoffs[n + 1][rows])
        if builder is None:
            logp[BOS] = IMPOSSIBLE_LOGP
            builder, nodes = GrowingModel(words, logp, backoff), 1 + rows
            continue
        parents, last = nodes[level.context[rows]], level.word[rows]
        builder.add(parents, last, logp, backoff)
        nodes = np.full(len(p), -1, dtype=np.int32)
        nodes[rows] = builder.find(parents, last)
    del levels, masks, totals, backoffs, p, nodes  # what follows needs the memory
    assert builder is not None  # the order is at least 1
    return builder.finish()


def _discounted(count: np.ndarray) -> np.ndarray:
    return count - discounts_of(count)[np.minimum(count, 3)]


def _pruning_masks(levels: list[Level], prune: tuple[int, ...]) -> list[np.ndarray]:
    masks = [level.raw > least for level, least in zip(levels, prune, strict=True)]
    for n in range(len(levels) - 1, 0, -1):
        masks[n - 1][levels[n].context[masks[n]]] = True
        masks[n - 1][levels[n].suffix[masks[n]]] = True
    masks[0][:] = True
    return masks
