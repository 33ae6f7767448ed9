"""TSV tables: Common Voice's, and manifests; every line is a record."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import NAMES, line_blocks, undecodable
from asr_ctc.corpus.layouts.header import NO_OTHER_NAMES, OtherNames, find_columns
from asr_ctc.corpus.layouts.shifted_rows import shifted_rows
from asr_ctc.corpus.layouts.table import (
    EMPTY,
    NOT_UTF8,
    ONLY_HEADER,
    ExcludedClip,
    Table,
    TableBuilder,
    problem_of_path,
    seconds_of,
)


def read_tsv(
    tsv: Path,
    clips: Path,
    speaker_name: str,
    clip_name: Callable[[bytes], bytes],
    *,
    hint: str = "",
    other_names: OtherNames = NO_OTHER_NAMES,
) -> Table:
    """A TSV with named columns path and sentence; every line after the first is one record."""
    builder, digest, n_records = TableBuilder(), hashlib.sha256(), 0
    whole = line_blocks(tsv, digest, keeps_undecodable=True)
    blocks = (block.split(b"\n") for block in whole)
    first = next(blocks, None)
    if first is None:
        raise UserError(f"{tsv}: {EMPTY}")
    header = first.pop(0).decode("utf-8", NAMES).split("\t")
    columns = find_columns(tsv, header, speaker_name, hint=hint, other_names=other_names)
    path_column, sentence_column, speaker_column, duration_column = columns
    n_cuts = max(column for column in columns if column is not None) + 1
    for rows in _pieces(chain([first], blocks), len(header)):
        unused = shifted_rows(
            rows,
            b"\t",
            {len(header)},
            sentence_is_first=sentence_column == 0,
            sentence_is_last=sentence_column == len(header) - 1,
        )
        unused |= dict.fromkeys(undecodable(rows), NOT_UTF8)
        paths, sentences, speakers, seconds = [], [], [], []
        for i, line in enumerate(rows):
            if i in unused:
                continue
            row = line.split(b"\t", n_cuts)
            path = row[path_column].strip()
            if problem := problem_of_path(path) if path else "no path":
                unused[i] = problem
                continue
            paths.append(clip_name(path))
            sentences.append(without_csv_quotes(row[sentence_column]))
            if speaker_column is not None:
                speakers.append(row[speaker_column])
            if duration_column is not None:
                seconds.append(seconds_of(row[duration_column]))
        builder.excluded += [
            ExcludedClip(f"{tsv.name} line {n_records + i + 2}", unused[i]) for i in sorted(unused)
        ]
        speakers = speakers or [b""] * len(paths)
        record = np.delete(np.arange(n_records, n_records + len(rows)), sorted(unused))
        builder.add(paths, sentences, speakers, seconds or math.nan, record)
        n_records += len(rows)
    if n_records == 0:
        raise UserError(f"{tsv}: {ONLY_HEADER}")
    return builder.table(clips, digest, n_records)


def _pieces(blocks: Iterable[list[bytes]], n_columns: int) -> Iterator[list[bytes]]:
    """The lines of a TSV in pieces; each ends between two rows that have all their cells."""
    rows: list[bytes] = []
    for block in blocks:
        rows += block
        ends = (
            i
            for i in range(len(rows) - 1, 0, -1)
            if rows[i].count(b"\t") == rows[i - 1].count(b"\t") == n_columns - 1
        )
        if end := next(ends, 0):
            yield rows[:end]
            rows = rows[end:]
    if rows:
        yield rows


def without_csv_quotes(field: bytes) -> bytes:
    """A field without CSV quoting: ``Il dit "oui".`` for ``"Il dit ""oui""."`` of older releases.

    Only quoting that a CSV writer must have made is removed: the field begins and ends with a
    quote, and all quotes in between are doubled. Other quotes are text, as in newer releases.
    """
    if not (field.startswith(b'"') and field.endswith(b'"')):
        return field
    inner = field[1:-1]
    all_doubled = b'""' in inner and b'"' not in inner.replace(b'""', b"")
    return inner.replace(b'""', b'"') if all_doubled else field
