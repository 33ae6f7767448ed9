"""The columns of a table, found by their names in its header."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import is_utf8
from asr_ctc.corpus.layouts.csv_records import csv_separator
from asr_ctc.corpus.layouts.table import NOT_UTF8

OtherNames = Mapping[str, tuple[str, ...]]
NO_OTHER_NAMES: OtherNames = {}


class Columns(NamedTuple):
    """The indices of a table's columns; None for a column that it does not have."""

    path: int
    sentence: int
    speaker: int | None
    duration: int | None


def find_columns(
    path: Path,
    header: list[str],
    speaker_name: str,
    *,
    hint: str = "",
    other_names: OtherNames = NO_OTHER_NAMES,
) -> Columns:
    """Finds the columns by name; UserError if path or sentence is missing or one is there twice."""
    if not is_utf8("\t".join(header)):
        raise UserError(f"{path}: its first line is {NOT_UTF8}: save it as UTF-8")
    names = {name: name_in(header, name, other_names, path) for name in ("path", "sentence")}
    missing = [name for name, column in names.items() if column is None]
    if missing:
        if len(header) == 1 and (separator := csv_separator(header[0])) in header[0]:
            hint = f"; its cells are separated by {separator!r}: rename it to {path.stem}.csv"
        raise UserError(
            f"{path}: no column named {' or '.join(missing)} in its first line "
            f"({', '.join(header[:8])}); path and sentence are needed{hint}"
        )
    names["speaker"] = name_in(header, speaker_name, other_names, path)
    names["duration"] = "duration" if "duration" in header else None
    refuse_twice(path, header, filter(None, names.values()))
    path_column, sentence, speaker, duration = (
        header.index(name) if name is not None else None for name in names.values()
    )
    assert path_column is not None and sentence is not None  # they are not missing
    return Columns(path_column, sentence, speaker, duration)


def name_in(
    header: Iterable[str], name: str, other_names: OtherNames, path: Path | str
) -> str | None:
    """The name that a column has in a header, its own or one that other tools give it, if any.

    UserError when it has several of the others: they may differ.
    """
    header = list(header)
    if name in header:
        return name
    aliases = [other for other in other_names.get(name, ()) if other in header]
    if len(aliases) > 1:
        raise UserError(f"{path}: has {' and '.join(aliases)}: name the column that counts {name}")
    return aliases[0] if aliases else None


def refuse_twice(path: Path, header: list[str], names: Iterable[str]) -> None:
    """UserError for a name that several columns have."""
    for name in names:
        if (n := header.count(name)) > 1:
            raise UserError(f"{path}: {n} columns are named {name}: which one is it?")
