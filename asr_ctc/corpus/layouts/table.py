"""The table of a split: what the reader of every layout returns, and what it says of rows."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import (
    NAMES,
    PIECE_ROWS,
    Categories,
    CategoriesBuilder,
    Digest,
    Strings,
    StringsBuilder,
)

LONGEST_CLIP_S = 86_400.0  # a longer duration is taken for an error
EMPTY = "is empty: it holds no clips; a header line and a line per clip are needed"
ONLY_HEADER = "is empty but for its header: it holds no clips; a line per clip is needed"
NOT_UTF8 = "not UTF-8 text"
CONTINUES_BELOW = "its text continues on the next line"
HOW_TO_CUT = (
    "stretches of longer recordings are not read; cut them into clips with "
    "`python tools/cut_segments.py {source} --out cut` of asr_ctc's repository"
)
PLAIN = bytes(range(32, 127))
CONTROL = re.compile(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")  # in UTF-8


class ExcludedClip(NamedTuple):
    """A clip that is not used, and why."""

    clip: str
    reason: str


class Row(NamedTuple):
    """One clip of a table. ``speaker`` is empty when unknown, ``duration_s`` NaN."""

    path: str
    sentence: str
    speaker: str = ""
    duration_s: float = math.nan


@dataclass(frozen=True)
class Table:
    """A split as listed in its files: N usable rows, and the unusable ones in ``excluded``.

    ``paths`` are relative to ``clips``, or absolute. ``record`` (N,) int32 is the index of each
    row among all ``n_records`` of the file, 0 for the first after the header; records that belong
    to other splits, or have no transcription (``n_untranscribed``), are in neither.
    ``fingerprint`` is a hash of all files that were read.
    """

    clips: Path
    paths: Strings
    sentences: Strings
    speakers: Categories
    duration_s: np.ndarray
    record: np.ndarray
    excluded: tuple[ExcludedClip, ...]
    fingerprint: str
    n_records: int
    n_untranscribed: int = 0


class TableBuilder:
    """Collects the rows of a table while its files are read."""

    def __init__(self) -> None:
        self.paths, self.sentences = StringsBuilder(), StringsBuilder()
        self.speakers = CategoriesBuilder()
        self.duration_s: list[np.ndarray] = []
        self.record: list[np.ndarray] = []
        self.excluded: list[ExcludedClip] = []

    def add(
        self,
        paths: list[bytes],
        sentences: list[bytes],
        speakers: list[bytes],
        duration_s: list[float] | float,
        record: Sequence[int] | np.ndarray,
    ) -> None:
        """Appends rows: UTF-8 strings, seconds (or one NaN for all), record numbers."""
        self.paths.add(paths)
        self.sentences.add(sentences)
        self.speakers.add(speakers)
        self.record.append(np.array(record, dtype=np.int32))
        self.duration_s.append(np.full(len(paths), duration_s, dtype=np.float32))

    def table(self, clips: Path, digest: Digest, n_records: int) -> Table:
        return Table(
            clips,
            Strings.of(self.paths),
            Strings.of(self.sentences),
            Categories.of(self.speakers),
            np.concatenate([np.zeros(0, np.float32), *self.duration_s]),
            np.concatenate([np.zeros(0, np.int32), *self.record]),
            tuple(self.excluded),
            digest.hexdigest()[:16],
            n_records,
        )


def make_table(
    clips: Path, items: Iterable[Row | ExcludedClip | None], digest: Digest, source: Path
) -> Table:
    """A table of the items, one per record; UserError, which names the source, if there is none.

    None is a record that belongs to no row of this split.
    """
    builder, items, n_records = TableBuilder(), iter(items), 0
    while piece := [_checked(item) for item in islice(items, PIECE_ROWS)]:
        used = [(n, item) for n, item in enumerate(piece, n_records) if isinstance(item, Row)]
        builder.excluded += [item for item in piece if isinstance(item, ExcludedClip)]
        n_records += len(piece)
        builder.add(
            [row.path.encode("utf-8", NAMES) for _, row in used],
            [row.sentence.encode() for _, row in used],
            [row.speaker.encode("utf-8", NAMES) for _, row in used],
            [row.duration_s for _, row in used],
            [n for n, _ in used],
        )
    if n_records == 0:
        empty = "is empty" if source.is_file() else "no such file, or all are empty"
        raise UserError(f"{source}: {empty}: it holds no clips")
    return builder.table(clips, digest, n_records)


def _checked(item: Row | ExcludedClip | None) -> Row | ExcludedClip | None:
    if isinstance(item, Row) and (problem := problem_of_path(item.path.encode("utf-8", NAMES))):
        return ExcludedClip(item.path, problem)
    return item


def problem_of_path(path: bytes) -> str | None:
    """Why a path (UTF-8) cannot be used, if so."""
    if path.translate(None, PLAIN) and CONTROL.search(path):
        return "a control character in its path"
    return None


def no_such_split(looked_for: Path | str, available: Iterable[str], hint: str = "") -> UserError:
    """To be raised where the files of a split are missing; it names the splits that there are."""
    names = ", ".join(sorted(available)) or "none"
    return UserError(f"no such split: looked for {looked_for} (available: {names}){hint}")


def seconds_of(value: Any, unit_s: float = 1.0) -> float:
    """A duration as listed; NaN, so that it is measured, if it is not a possible duration."""
    try:
        seconds = math.nan if isinstance(value, bool) else unit_s * float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return seconds if 0 < seconds <= LONGEST_CLIP_S else math.nan
