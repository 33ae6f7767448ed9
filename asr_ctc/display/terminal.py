"""Text in columns of a terminal."""

import math
import unicodedata
from collections.abc import Iterable

Row = tuple[str | None, str | None, int]  # reference and hypothesis word, columns of the wider


def shortened(value: str, width: int = 20) -> str:
    return value if len(value) <= width else value[: width - 1] + "…"


def padded(text: str, columns: int) -> str:
    return text + " " * (columns - width_of(text))


def width_of(text: str) -> int:
    """Terminal columns of a text: wide characters take two, combining marks none."""
    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def several(n: int, what: str, plural: str = "") -> str:
    """A number and what it counts: 1 clip, 2 clips, 1,000 batches."""
    return f"{n:,} {what if n == 1 else plural or what + 's'}"


def rates_text(wer: float, cer: float, names: tuple[str, ...] = ("WER", "CER")) -> str:
    """'WER 12.50 %, CER 3.10 %' of two fractions; without the WER where there is none.

    ``names`` are what both are called.
    """
    of_words = "" if math.isnan(wer) else f"{names[0]} {100 * wer:.2f} %, "
    return f"{of_words}{names[1]} {100 * cer:.2f} %"


def percent(share: float) -> str:
    """A share in percent to two digits, never rounded to none or to all: 0.12 %, 42 %, 99.9 %."""
    value = 100 * share
    if 0 < value < 0.01:
        return "less than 0.01 %"
    if 99 < value < 100:
        return f"{min(value, 99.9):.1f} %"
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def seconds_range(low: float, high: float) -> str:
    """The lengths between two bounds: 1 to 5 s, up to 5 s, 1 s or more."""
    if low <= 0:
        return "any length" if math.isinf(high) else f"up to {high:g} s"
    return f"{low:g} s or more" if math.isinf(high) else f"{low:g} to {high:g} s"


def spelled(text: str) -> str:
    """A character as displayed: the empty text is 'nothing', a space is 'space'."""
    return {"": "nothing", " ": "space"}.get(text, text)


def word_under_word(pairs: Iterable[tuple[str | None, str | None]], width: int) -> list[str]:
    """Groups of lines (reference, hypothesis, marks) that align the words of each pair.

    A line has at most ``width`` columns, unless a single word is longer. Marks are those of
    ``edit_mark``; a group without errors has no line of marks.
    """
    lines: list[str] = []
    rows: list[Row] = []
    n_columns = 0
    for reference, hypothesis in pairs:
        columns = max(width_of(reference or ""), width_of(hypothesis or ""))
        if rows and n_columns + columns > width - 4:
            lines += _three_lines(rows)
            rows, n_columns = [], 0
        rows.append((reference, hypothesis, columns))
        n_columns += columns + 1
    return lines + _three_lines(rows)


def _three_lines(rows: list[Row]) -> list[str]:
    references = " ".join(padded(word or "", columns) for word, _, columns in rows)
    hypotheses = " ".join(padded(word or "", columns) for _, word, columns in rows)
    marks = " ".join(
        edit_mark(reference, hypothesis).ljust(columns) for reference, hypothesis, columns in rows
    )
    lines = [f"ref {references}", f"hyp {hypotheses}", f"    {marks}"]
    return [line.rstrip() for line in lines if line.strip()]


def edit_mark(reference: str | None, hypothesis: str | None) -> str:
    """'S' for a substitution, 'D' for a deletion, 'I' for an insertion, '' for equal words."""
    if reference == hypothesis:
        return ""
    return "I" if reference is None else "D" if hypothesis is None else "S"
