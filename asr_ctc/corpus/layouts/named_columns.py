"""Further columns of a split's table, such as gender."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import lines
from asr_ctc.corpus.layouts.csv_records import csv_records
from asr_ctc.corpus.layouts.header import refuse_twice
from asr_ctc.corpus.layouts.registry import LAYOUTS, read_table


def read_columns(
    layout: str, folder: Path, split: str, *, names: Iterable[str]
) -> dict[str, list[str]]:
    """{name: a text for each row of the split's Table} of further columns, such as gender.

    The text is empty if a row has none. UserError as ``refuse_missing_columns``.
    """
    names = list(names)
    if not names:
        return {}
    records = _records_with(layout, folder, split, names)
    usable = set(read_table(layout, folder, split).record.tolist())
    columns: dict[str, list[str]] = {name: [] for name in names}
    for number, record in enumerate(records):
        if number in usable:
            for name in names:
                value = record.get(name)
                columns[name].append("" if value is None else str(value).strip())
    return columns


def refuse_missing_columns(layout: str, folder: Path, split: str, *, names: Iterable[str]) -> None:
    """UserError for a column that a split's table lacks, and for layouts whose files have no named
    columns."""
    if names := list(names):
        _records_with(layout, folder, split, names)


def _records_with(layout: str, folder: Path, split: str, names: list[str]) -> Iterator[dict]:
    """The records of a split's table as {name: value}; UserError unless it has these columns."""
    find_file = LAYOUTS[layout].named_columns
    if find_file is None:
        raise UserError(
            f"--corpus {layout} has no column {names[0]!r}: its files have no named columns"
        )
    file = find_file(folder, split)
    header, records = _named_records(file)
    for name in names:
        if name not in header:
            raise UserError(f"{file}: no column named {name!r} (available: {', '.join(header)})")
    refuse_twice(file, header, names)
    return records


def _named_records(file: Path) -> tuple[list[str], Iterator[dict]]:
    """The column names of a table, and its records in order as {name: value}."""
    if file.suffix == ".jsonl":
        records = [_json_object(line) for line in lines(file, keeps_undecodable=True)]
        return list(dict.fromkeys(name for record in records for name in record)), iter(records)
    if file.suffix == ".csv":
        rows = (record.cells for record in csv_records(file))
    else:
        rows = (line.split("\t") for line in lines(file, keeps_undecodable=True))
    header = next(rows, [])
    # Not strict: records with another number of cells are not in the Table.
    return header, (dict(zip(header, row, strict=False)) for row in rows)


def _json_object(line: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
