"""Manifests: tables made by the user, and those of NeMo and of Hugging Face's folders of audio.

FOLDER/{split}.{tsv,csv,jsonl} with path, sentence and optional speaker, duration
FOLDER/{split}/metadata.{csv,jsonl}
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import NAMES, Digest, is_utf8, lines, undecodable
from asr_ctc.corpus.layouts.csv_records import CsvRecord, csv_records, csv_separator
from asr_ctc.corpus.layouts.header import find_columns, name_in
from asr_ctc.corpus.layouts.shifted_rows import shifted_rows
from asr_ctc.corpus.layouts.table import (
    EMPTY,
    HOW_TO_CUT,
    NOT_UTF8,
    ONLY_HEADER,
    ExcludedClip,
    Row,
    Table,
    make_table,
    no_such_split,
    seconds_of,
)
from asr_ctc.corpus.layouts.tsv import read_tsv

ENDINGS = ("tsv", "csv", "jsonl")
# What NeMo's manifests and Hugging Face's folders of audio call the columns of ours.
OTHER_NAMES = {
    "path": ("audio_filepath", "file_name", "audio"),
    "sentence": ("text", "transcription"),
    "speaker": ("speaker_id", "client_id"),
}


def read_manifest(folder: Path, split: str) -> Table:
    """A table made by the user; paths may be relative to its folder, durations are in seconds.

    The names that NeMo and Hugging Face give to the columns are read too, see OTHER_NAMES.
    """
    file = manifest_of_split(folder, split)
    if file.suffix == ".tsv":
        return read_tsv(file, file.parent, "speaker", bytes, other_names=OTHER_NAMES)
    digest = hashlib.sha256()
    records = _csv_rows if file.suffix == ".csv" else _jsonl_rows
    return make_table(file.parent, records(file, digest), digest, file)


def manifest_of_split(folder: Path, split: str) -> Path:
    """As ``find_manifest``; where there is none, FOLDER/SPLIT/metadata.csv or .jsonl, as Hugging
    Face's folders of audio have it, whose dev split may be called validation."""
    names = (split, "validation") if split == "dev" else (split,)
    inside = [
        file
        for name in names
        for ending in ENDINGS
        if (file := folder / name / f"metadata.{ending}").is_file()
    ]
    is_beside = any((folder / f"{split}.{ending}").is_file() for ending in ENDINGS)
    return inside[0] if len(inside) == 1 and not is_beside else find_manifest(folder, split)


def find_manifest(folder: Path, split: str) -> Path:
    """FOLDER/SPLIT.tsv, .csv or .jsonl; UserError unless exactly one of them exists."""
    files = [folder / f"{split}.{ending}" for ending in ENDINGS]
    existing = [file for file in files if file.is_file()]
    if not existing:
        available = (p.name for ending in ENDINGS for p in folder.glob(f"*.{ending}"))
        other = next(iter(sorted(folder.glob(f"{split}*.json"))), None)  # as NeMo names it
        hint = f"; if {other.name} has an object in each line, rename it" if other else ""
        raise no_such_split(" or ".join(map(str, files)), available, hint)
    if len(existing) > 1:
        names = " and ".join(map(str, existing))
        raise UserError(f"{names} exist: which one is the split? Keep one of them")
    return existing[0]


def _csv_rows(file: Path, digest: Digest) -> Iterator[Row | ExcludedClip]:
    header, *records = csv_records(file, digest) or [CsvRecord([], "", 1)]
    if not header.cells:
        raise UserError(f"{file}: {EMPTY}")
    columns = find_columns(file, header.cells, "speaker", other_names=OTHER_NAMES)
    if not records:
        raise UserError(f"{file}: {ONLY_HEADER}")
    # Joined by NUL: a separator inside a quoted cell separates nothing.
    joined = [
        b"\0".join(cell.replace("\0", "").encode("utf-8", NAMES) for cell in record.cells)
        for record in records
    ]
    unused = shifted_rows(
        joined,
        b"\0",
        {len(header.cells)},
        sentence_is_first=columns.sentence == 0,
        sentence_is_last=columns.sentence == len(header.cells) - 1,
    )
    unused |= {
        i: f"{NOT_UTF8} (line {records[i].line})"
        for i in undecodable([record.raw.encode("utf-8", NAMES) for record in records])
    }
    for i, record in enumerate(records):
        path, sentence, speaker, duration = (
            record.cells[column] if column is not None and i not in unused else ""
            for column in columns
        )
        problem = unused.get(i) or (None if path.strip() else "no path")
        if problem is None and _contains_row(record, header, columns.path):
            problem = "a quotation mark joins several rows"
        if problem:
            yield ExcludedClip(f"{file.name} record {i + 1}", problem)
        else:
            yield Row(path.strip(), sentence, speaker, seconds_of(duration))


def _contains_row(record: "CsvRecord", header: "CsvRecord", path_column: int) -> bool:
    """Whether a line inside a quoted cell is itself a row, with a path of the same ending."""
    ending = Path(record.cells[path_column].strip()).suffix
    n_columns, separator = len(header.cells), csv_separator(header.raw)
    for line in record.raw.split("\n")[1:]:
        cells = line.split(separator)
        if ending and len(cells) == n_columns and cells[path_column].strip().endswith(ending):
            return True
    return False


def _jsonl_rows(file: Path, digest: Digest) -> Iterator[Row | ExcludedClip | None]:
    for number, line in enumerate(lines(file, digest, keeps_undecodable=True), start=1):
        if not line.strip():
            yield None
            continue
        if not is_utf8(line):
            yield ExcludedClip(f"{file.name} line {number}", NOT_UTF8)
            continue
        try:
            content = json.loads(line)
            names = [name_in(content, name, OTHER_NAMES, file) for name in OTHER_NAMES]
            path, sentence, speaker = (content.get(name) for name in names)
            if isinstance(speaker, (list, dict, bool)):
                raise TypeError
            if float(content.get("offset") or 0) != 0:
                raise UserError(f"{file}: line {number}: {HOW_TO_CUT.format(source=file)}")
            speaker = "" if speaker is None else str(speaker)
            row = Row(path.strip(), sentence, speaker, seconds_of(content.get("duration")))
            "".join(row[:3]).encode()
        except (ValueError, TypeError, OverflowError, AttributeError, RecursionError):
            yield ExcludedClip(
                f"{file.name} line {number}", "not an object with a path and a sentence"
            )
        else:
            yield row if row.path else ExcludedClip(f"{file.name} line {number}", "no path")
