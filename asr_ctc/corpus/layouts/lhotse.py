"""Manifests of lhotse, read without lhotse.

    FOLDER/{split}/{recordings,supervisions}.jsonl.gz, or
    FOLDER/*{recordings,supervisions}_{split}.jsonl.gz; unzipped ones (.jsonl) too

A recording is a file of audio, a supervision a stretch of it that was transcribed. Source:
lhotse.readthedocs.io, lhotse/audio/recording.py and lhotse/supervision.py.
"""

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import Lines
from asr_ctc.corpus.columns import MAX_LINE_BYTES, Digest
from asr_ctc.corpus.layouts.table import (
    HOW_TO_CUT,
    ExcludedClip,
    Row,
    Table,
    make_table,
    seconds_of,
)

ENDINGS = ".jsonl", ".jsonl.gz"
LINES_AT_A_TIME = 1 << 12
WHOLE_TOLERANCE_S = 0.1  # by which a supervision may be shorter than its recording


class Supervision(NamedTuple):
    """A transcribed stretch of a recording. ``problem`` says why it cannot be used, if so."""

    id: str
    path: str = ""
    text: str = ""
    speaker: str = ""
    start_s: float = 0.0
    duration_s: float = 0.0
    is_whole: bool = True  # it is all of its recording, and the only one
    problem: str | None = None


def read_lhotse(folder: Path, split: str) -> Table:
    """The supervisions that are whole recordings; paths may be relative to FOLDER."""
    recordings, supervisions = find_pair(folder, split)
    digest = hashlib.sha256()
    listed = read_supervisions(recordings, supervisions, digest)

    def rows() -> Iterator[Row | ExcludedClip]:
        for number, item in enumerate(listed, 1):
            if item.problem:
                yield ExcludedClip(f"{supervisions.name} record {number}", item.problem)
            elif not item.is_whole:
                raise UserError(
                    f"{supervisions}: {item.id} is a part of its recording: "
                    f"{HOW_TO_CUT.format(source=supervisions)}"
                )
            else:
                yield Row(item.path, item.text, item.speaker, seconds_of(item.duration_s))

    return make_table(folder, rows(), digest, supervisions)


def find_pair(folder: Path, split: str) -> tuple[Path, Path]:
    """(recordings, supervisions) of a split: in FOLDER/SPLIT, or FOLDER/*recordings_SPLIT.jsonl.gz.

    UserError unless there is exactly one of each.
    """
    pair = []
    for kind in "recordings", "supervisions":
        files = [
            file
            for ending in ENDINGS
            for pattern in (f"{split}/{kind}{ending}", f"*{kind}_{split}{ending}")
            for file in sorted(folder.glob(pattern))
        ]
        if len(files) != 1:
            n = "none" if not files else ", ".join(map(str, files))
            raise UserError(
                f"no such split: looked for one {folder / split / kind}.jsonl.gz or "
                f"{folder}/*{kind}_{split}.jsonl.gz, found {n}"
            )
        pair += files
    return pair[0], pair[1]


def read_supervisions(
    recordings: Path, supervisions: Path, digest: Digest | None = None
) -> list[Supervision]:
    """The supervisions of a pair of files, in their order; UserError for what is no such file."""
    sources = dict(_recording(record) for record in _records(recordings, digest))
    records = list(_records(supervisions, digest))
    times = Counter(str(record.get("recording_id")) for record in records)
    return [_supervision(record, sources, times) for record in records]


def _recording(record: dict[str, Any]) -> tuple[str, tuple[str, float, str | None]]:
    """(id, (path, seconds, why it cannot be used)) of a recording."""
    try:
        duration_s = float(record["duration"])
        sources = record["sources"]
        path = ""
        problem: str | None = "its recording is not a single file"
        if len(sources) == 1 and sources[0]["type"] == "file":
            path, problem = str(sources[0]["source"]), None
            if len(sources[0].get("channels", [0])) > 1:
                problem = "its recording has several channels: make a file of each"
        if record.get("transforms"):
            problem = "its recording is changed while it is read (transforms)"
        return str(record["id"]), (path, duration_s, problem)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError):
        return str(record.get("id")), ("", 0.0, "its recording has no id, sources and duration")


def _supervision(
    record: dict[str, Any], sources: dict[str, tuple[str, float, str | None]], times: Counter[str]
) -> Supervision:
    name, recording = str(record.get("id")), str(record.get("recording_id"))
    path, recording_s, problem = sources.get(recording, ("", 0.0, "its recording is not listed"))
    try:
        start_s, duration_s = float(record["start"]), float(record["duration"])
        text, speaker = record.get("text"), record.get("speaker")
        if not (text is None or isinstance(text, str)) or not duration_s > 0 or not start_s >= 0:
            raise ValueError
        f"{path}{text}{speaker}".encode()  # JSON can write what is no text
    except (KeyError, TypeError, ValueError, OverflowError):
        return Supervision(name, problem="no object with start, duration and text")
    cut_s = max(start_s, recording_s - start_s - duration_s)
    return Supervision(
        name,
        path,
        text or "",
        "" if speaker is None else str(speaker),
        start_s,
        duration_s,
        times[recording] == 1 and cut_s <= WHOLE_TOLERANCE_S,
        problem,
    )


def _records(path: Path, digest: Digest | None) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, zipped or not; {} for a line that is none."""
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            lines, n_lines = Lines(path, file, MAX_LINE_BYTES), 0
            while piece := lines.take(LINES_AT_A_TIME):
                n_lines += len(piece)
                for line in piece:
                    if digest is not None:
                        digest.update(line + b"\n")
                    if line.strip():
                        yield _object(line)
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise UserError(f"{path}: is no whole gzip file: make it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if n_lines == 0:
        raise UserError(f"{path}: is empty")


def _object(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
