"""Characters that are too rare for a class of their own."""

from collections.abc import Iterable

MOST_UNKNOWN_SHARE = 0.01  # of a text, that may well become the unknown class


def unknown_share(counts: Iterable[int], min_count: int, total: int) -> float:
    """The share of a text of ``total`` characters that is seen fewer than ``min_count`` times.

    ``counts`` are those of its rare characters; others may be among them.
    """
    return sum(n for n in counts if n < min_count) / max(1, total)


def suitable_min_count(counts: Iterable[int], min_count: int, total: int) -> int:
    """The largest count up to ``min_count`` with which at most 1 % of the text becomes unknown."""
    counts = list(counts)
    fits = (
        n for n in range(min_count, 1, -1) if unknown_share(counts, n, total) <= MOST_UNKNOWN_SHARE
    )
    return next(fits, 1)
