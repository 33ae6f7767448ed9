"""Rows of a table that stray separators or line ends have shifted or cut."""

import re
from itertools import groupby

from asr_ctc.corpus.layouts.table import CONTINUES_BELOW

FILE_NAME = re.compile(rb"\S+\.\w{2,4}")


def shifted_rows(
    rows: list[bytes],
    separator: bytes,
    allowed: set[int],
    *,
    sentence_is_first: bool,
    sentence_is_last: bool,
) -> dict[int, str]:
    """{index: reason} of the rows that stray separators or line ends have shifted or cut.

    Such rows have a number of cells that is not ``allowed``. If a line end cuts the first or last
    cell, one of the two parts has the right number. It is recognised by the other part, which is a
    single cell, or by quotation marks: both parts then have an odd number of them.
    """
    n_cells = [row.count(separator) + 1 for row in rows]
    if allowed.issuperset(n_cells):
        return {}
    fits = [n in allowed for n in n_cells]
    reasons = {
        i: f"{n} columns, {max(allowed)} needed" for i, n in enumerate(n_cells) if not fits[i]
    }
    for fit, group in groupby(range(len(rows)), fits.__getitem__):
        run = list(group)
        parts = [rows[i] for i in run if rows[i].strip()]
        if fit or not parts:
            continue
        above, below = run[0] - 1, run[-1] + 1
        is_odd = _has_odd_quotes(b"".join(parts))
        if above >= 0:
            is_cut = sentence_is_last and not rows[above].endswith(separator)
            is_cut = is_cut and _is_text(parts[0], separator)
            if is_cut or (is_odd and _has_odd_quotes(rows[above])):
                reasons[above] = CONTINUES_BELOW
        if below < len(rows):
            is_cut = sentence_is_first and _is_text(parts[-1], separator)
            if is_cut or (is_odd and _has_odd_quotes(rows[below])):
                reasons[below] = "its text begins on the previous line"
    return reasons


def _has_odd_quotes(text: bytes) -> bool:
    return text.count(b'"') % 2 == 1


def _is_text(part: bytes, separator: bytes) -> bool:
    """Whether a part of a row is a single cell and no file name."""
    return separator not in part and not FILE_NAME.fullmatch(part.strip())
