"""CSV files: quoted cells, which may contain separators and line ends."""

import csv
from pathlib import Path
from typing import NamedTuple

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import Digest, lines

CSV_SEPARATORS = ",;\t"
_HIDDEN = {ord("\r"): "\ufdd0", 0: "\ufdd1"}  # by noncharacters, which no text contains
_UNHIDDEN = {ord(hidden): code for code, hidden in _HIDDEN.items()}


class CsvRecord(NamedTuple):
    """A record of a CSV file: its cells, its text in the file without the last line end, and the
    number of its first line."""

    cells: list[str]
    raw: str
    line: int


def csv_separator(header: str) -> str:
    """What separates the cells of a CSV file: a comma; where commas are decimal, a semicolon."""
    return max(CSV_SEPARATORS, key=header.count)


def csv_records(file: Path, digest: Digest | None = None) -> list[CsvRecord]:
    """The records of a CSV file, header first; quoted fields may contain separators and line ends.

    The first line says what separates the cells.
    """
    texts = list(lines(file, digest, keeps_undecodable=True))
    records: list[CsvRecord] = []
    n_read = 0
    # csv.reader treats any \r as a line end, and in older Pythons refuses \0: both are text here.
    reader = csv.reader(
        (text.translate(_HIDDEN) + "\n" for text in texts),
        strict=True,
        delimiter=csv_separator(next(filter(None, texts), "")),
    )
    try:
        for cells in reader:
            raw = "\n".join(texts[n_read : reader.line_num])
            line, n_read = n_read + 1, reader.line_num
            if cells:
                cells = [cell.translate(_UNHIDDEN) for cell in cells]
                records.append(CsvRecord(cells, raw, line))
    except csv.Error as error:
        raise UserError(f"{file}: not a CSV table (from line {n_read + 1} on: {error})") from None
    return records
