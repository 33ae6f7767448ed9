"""How corpora lie on the disk: a reader per layout, each of which makes a Table of one split.

commonvoice  FOLDER/{split}.tsv, FOLDER/clips/*.mp3; every release: columns are found by name
librispeech  FOLDER/{split}-*/SPEAKER/CHAPTER/*.trans.txt, the flac files beside
ljspeech     FOLDER/metadata.csv, FOLDER/wavs/*.wav; {split}.csv once `split` has made them
kaldi        FOLDER/{split}/{wav.scp,text,utt2spk}
manifest     FOLDER/{split}.{tsv,csv,jsonl} with path, sentence and perhaps speaker, duration
"""

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import (
    NAMES,
    PIECE_ROWS,
    Categories,
    GrowingCategories,
    GrowingStrings,
    Strings,
    line_blocks,
    lines,
)
from asr_ctc.corpus.half_split import refuse_half_split

HOW_TO_GET_ONE = (
    "Download a Common Voice release (commonvoice.mozilla.org/datasets) and unpack it there, "
    "or run `make demo` to make a small corpus"
)
MANIFEST_ENDINGS = ("tsv", "csv", "jsonl")


class LeftOut(NamedTuple):
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
    """A split as it is written down: N rows that can be used, and those that cannot.

    ``paths`` are relative to ``clips``, or absolute. ``record`` (N,) int32 is the number of each
    row among all records of the file, 0 the first after the header. ``fingerprint`` follows from
    every byte of the files that were read.
    """

    clips: Path
    paths: Strings
    sentences: Strings
    speakers: Categories
    duration_s: np.ndarray
    record: np.ndarray
    left_out: tuple[LeftOut, ...]
    fingerprint: str


class _Growing:
    """A table that is being read."""

    def __init__(self):
        self.paths, self.sentences = GrowingStrings(), GrowingStrings()
        self.speakers, self.duration_s, self.record = GrowingCategories(), [], []
        self.left_out = []

    def add(self, paths, sentences, speakers, duration_s, record) -> None:
        """Rows: lists of bytes, seconds (or one NaN for all), record numbers."""
        self.paths.add(paths)
        self.sentences.add(sentences)
        self.speakers.add(speakers)
        self.record.append(np.array(record, dtype=np.int32))
        self.duration_s.append(np.full(len(paths), duration_s, dtype=np.float32))

    def table(self, clips: Path, digest) -> Table:
        return Table(
            clips,
            Strings.of(self.paths),
            Strings.of(self.sentences),
            Categories.of(self.speakers),
            np.concatenate([np.zeros(0, np.float32), *self.duration_s]),
            np.concatenate([np.zeros(0, np.int32), *self.record]),
            tuple(self.left_out),
            digest.hexdigest()[:16],
        )


def read_table(layout: str, folder: Path, split: str) -> Table:
    """A split in one of the LAYOUTS; UserError when it is not there, unreadable or empty."""
    refuse_half_split(folder, split)
    return LAYOUTS[layout].read(folder, split)


def _gather(clips: Path, items: Iterable[Row | LeftOut], digest, where: Path) -> Table:
    """A table of the items, one per record; UserError when there is none."""
    growing, items, n_records = _Growing(), iter(items), 0
    while piece := list(islice(items, PIECE_ROWS)):
        used = [(n, item) for n, item in enumerate(piece, n_records) if isinstance(item, Row)]
        growing.left_out += [item for item in piece if isinstance(item, LeftOut)]
        n_records += len(piece)
        growing.add(
            [row.path.encode("utf-8", NAMES) for _, row in used],
            [row.sentence.encode() for _, row in used],
            [row.speaker.encode("utf-8", NAMES) for _, row in used],
            [row.duration_s for _, row in used],
            [n for n, _ in used],
        )
    if n_records == 0:
        raise UserError(f"{where}: holds no clips")
    return growing.table(clips, digest)


def _no_such_split(looked_for, there: Iterable[str], hint: str = "") -> UserError:
    found = ", ".join(sorted(there)) or "none"
    return UserError(f"no such split: looked for {looked_for} (there: {found}){hint}")


# --------------------------------------------------------------------- Common Voice, and its TSV


def read_commonvoice(folder: Path, split: str) -> Table:
    """FOLDER/SPLIT.tsv of any release. Paths without an ending are those of mp3 files."""
    tsv, clips = folder / f"{split}.tsv", folder / "clips"
    if not tsv.is_file():
        there = (path.stem for path in folder.glob("*.tsv"))
        raise _no_such_split(tsv, there, f". {HOW_TO_GET_ONE}")
    if not clips.is_dir():
        raise UserError(f"no clips: looked for the folder {clips}. {HOW_TO_GET_ONE}")
    return _read_tsv_table(tsv, clips, "client_id", with_mp3_ending, " (as in Common Voice)")


def with_mp3_ending(path: bytes) -> bytes:
    """Early releases name the clips without their ending."""
    if path.endswith(b".mp3") or Path(path.decode()).suffix:
        return path
    return path + b".mp3"


def without_csv_quotes(field: bytes) -> bytes:
    """A field as its author wrote it: ``"Il dit ""oui""."`` of older releases is ``Il dit "oui".``

    Only what a CSV writer must have made is undone: a field that begins and ends with a quote and
    in between has quotes, all of them doubled. Any other quotes are text, as in newer releases.
    """
    if not (field.startswith(b'"') and field.endswith(b'"')):
        return field
    inner = field[1:-1]
    all_doubled = b'""' in inner and b'"' not in inner.replace(b'""', b"")
    return inner.replace(b'""', b'"') if all_doubled else field


def _read_tsv_table(
    tsv: Path, clips: Path, speaker_name: str, clip_name: Callable[[bytes], bytes], hint: str = ""
) -> Table:
    """A TSV with columns path and sentence, by name; every line after the first is one record."""
    growing, digest, header, n_records = _Growing(), hashlib.sha256(), None, 0
    for block in line_blocks(tsv, digest):
        rows = block.split(b"\n")
        if header is None:
            header = rows.pop(0).decode("utf-8").split("\t")
            at = _find_columns(tsv, header, (speaker_name, "duration"), hint)
            path_at, sentence_at, speaker_at, duration_at = at
            needed = max(path_at, sentence_at) + 1
            n_cuts = max(column for column in at if column is not None) + 1
        paths, sentences, speakers, seconds, unused = [], [], [], [], []
        for i, line in enumerate(rows):
            row = line.split(b"\t", n_cuts)
            if len(row) < needed or not (path := row[path_at].strip()):
                short = f"{len(row)} columns, {len(header)} needed"
                reason = short if len(row) < needed else "no path"
                growing.left_out.append(LeftOut(f"{tsv.name} line {n_records + i + 2}", reason))
                unused.append(i)
                continue
            paths.append(clip_name(path))
            sentences.append(without_csv_quotes(row[sentence_at]))
            if speaker_at is not None:
                speakers.append(row[speaker_at] if speaker_at < len(row) else b"")
            if duration_at is not None:
                seconds.append(_seconds(row[duration_at] if duration_at < len(row) else b""))
        speakers = speakers or [b""] * len(paths)
        record = np.delete(np.arange(n_records, n_records + len(rows)), unused)
        growing.add(paths, sentences, speakers, seconds or math.nan, record)
        n_records += len(rows)
    if n_records == 0:
        raise UserError(f"{tsv}: holds no clips; a header line and a line per clip are needed")
    return growing.table(clips, digest)


def _find_columns(path: Path, header: list[str], optional: Iterable[str], hint: str = "") -> list:
    """Where path, sentence and the optional columns stand (None: nowhere)."""
    missing = [name for name in ("path", "sentence") if name not in header]
    if missing:
        raise UserError(
            f"{path}: no column named {' or '.join(missing)} in its first line "
            f"({', '.join(header[:8])}); path and sentence are needed{hint}"
        )
    names = ("path", "sentence", *optional)
    return [header.index(name) if name in header else None for name in names]


def _seconds(text) -> float:
    """A duration as written down; NaN, to be measured, when it is none."""
    try:
        seconds = float(text)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return seconds if 0 < seconds < math.inf else math.nan


# -------------------------------------------------------------------------------- the others


def read_librispeech(folder: Path, split: str) -> Table:
    """The folder SPLIT, else all folders SPLIT-*: `train` is train-clean-100, train-other-500..."""
    parts = sorted(path for path in folder.glob("*-*") if path.is_dir())
    chosen = [path for path in parts if path.name == split]
    chosen = chosen or [path for path in parts if path.name.startswith(f"{split}-")]
    if not chosen:
        raise _no_such_split(f"{folder}/{split}-*", (path.name for path in parts))
    digest = hashlib.sha256()

    def rows() -> Iterator[Row | LeftOut]:
        for part in chosen:
            for file in sorted(part.glob("*/*/*.trans.txt")):
                digest.update(os.fsencode(file.relative_to(folder)))
                for line in lines(file, digest):
                    name, _, sentence = line.partition(" ")
                    flac = file.with_name(f"{name}.flac").relative_to(folder)
                    yield Row(str(flac), sentence, name.split("-")[0])

    return _gather(folder, rows(), digest, folder / f"{split}-*/*/*/*.trans.txt")


def read_ljspeech(folder: Path, split: str) -> Table:
    """SPLIT.csv, in the format of metadata.csv: ``name|text|text with numbers spelt out``."""
    file = folder / f"{split}.csv"
    if not file.is_file():
        hint = "; LJSpeech has no splits: `main_ctc.py split --corpus ljspeech` makes them"
        raise _no_such_split(file, (path.stem for path in folder.glob("*.csv")), hint)
    digest = hashlib.sha256()

    def rows() -> Iterator[Row | LeftOut]:
        for number, line in enumerate(lines(file, digest), start=1):
            name, *texts = line.split("|")
            if name.strip() and texts:
                yield Row(f"{name.strip()}.wav", texts[-1] or texts[0])
            else:
                yield LeftOut(f"{file.name} line {number}", "not name|text")

    return _gather(folder / "wavs", rows(), digest, file)


def read_kaldi(folder: Path, split: str) -> Table:
    """A Kaldi data folder. Relative paths in wav.scp are relative to it; commands are refused."""
    data = folder / split
    text, scp = data / "text", data / "wav.scp"
    if not (text.is_file() and scp.is_file()):
        there = (path.parent.name for path in folder.glob("*/wav.scp"))
        raise _no_such_split(f"{text} and {scp}", there)
    if (data / "segments").exists():
        raise UserError(
            f"{data / 'segments'}: segments of longer recordings cannot be read; cut them"
        )
    digest = hashlib.sha256()

    def pairs(name: str) -> Iterator[tuple[str, str]]:
        for line in lines(data / name, digest) if (data / name).is_file() else ():
            if line.strip():
                key, *value = line.strip().split(maxsplit=1)
                yield key, value[0] if value else ""

    wavs = dict(pairs("wav.scp"))
    for utterance, wav in wavs.items():
        if wav.startswith("|") or wav.endswith("|"):
            raise UserError(
                f"{scp}: {utterance} is made by a command ({wav}), which is never run: write the "
                "audio to files and list these"
            )
    speakers, durations, texts = dict(pairs("utt2spk")), dict(pairs("utt2dur")), set()

    def rows() -> Iterator[Row | LeftOut]:
        for utterance, sentence in pairs("text"):
            if wavs.get(utterance):
                yield Row(
                    wavs[utterance],
                    sentence,
                    speakers.get(utterance, ""),
                    _seconds(durations.get(utterance)),
                )
            else:
                yield LeftOut(utterance, "not in wav.scp")
            texts.add(utterance)
        for utterance in wavs:
            if utterance not in texts:
                yield LeftOut(utterance, "not in text")

    return _gather(data, rows(), digest, text)


def find_manifest(folder: Path, split: str) -> Path:
    """FOLDER/SPLIT.tsv, .csv or .jsonl; UserError unless there is exactly one of them."""
    files = [folder / f"{split}.{ending}" for ending in MANIFEST_ENDINGS]
    found = [file for file in files if file.is_file()]
    if not found:
        there = (p.name for ending in MANIFEST_ENDINGS for p in folder.glob(f"*.{ending}"))
        raise _no_such_split(" or ".join(map(str, files)), there)
    if len(found) > 1:
        raise UserError(f"{' and '.join(map(str, found))} are both there: which one is the split?")
    return found[0]


def read_manifest(folder: Path, split: str) -> Table:
    """A table of the user's own; relative paths are relative to it, durations in seconds."""
    file = find_manifest(folder, split)
    if file.suffix == ".tsv":
        return _read_tsv_table(file, folder, "speaker", bytes)
    digest = hashlib.sha256()
    records = _csv_rows if file.suffix == ".csv" else _jsonl_rows
    return _gather(folder, records(file, digest), digest, file)


def _csv_rows(file: Path, digest) -> Iterator[Row | LeftOut]:
    header, *records = csv_records(file, digest) or [[]]
    at = _find_columns(file, header, ("speaker", "duration"))
    for number, record in enumerate(records, start=1):
        path, sentence, speaker, duration = (
            record[column] if column is not None and column < len(record) else "" for column in at
        )
        if path.strip():
            yield Row(path.strip(), sentence, speaker, _seconds(duration))
        else:
            yield LeftOut(f"{file.name} record {number}", "no path")


def csv_records(file: Path, digest=None) -> list[list[str]]:
    """The records of a CSV file, the header first; quoted fields may hold commas and line ends."""
    text = "\n".join(lines(file, digest))
    try:
        return [
            record for record in csv.reader(io.StringIO(text, newline=""), strict=True) if record
        ]
    except csv.Error as error:
        raise UserError(f"{file}: not a CSV table ({error})") from None


def _jsonl_rows(file: Path, digest) -> Iterator[Row | LeftOut]:
    for number, line in enumerate(lines(file, digest), start=1):
        try:
            content = json.loads(line)
            path, sentence = content["path"], content["sentence"]
            speaker = str(content.get("speaker") or "")
            row = Row(path.strip(), sentence, speaker, _seconds(content.get("duration")))
            "".join(row[:3]).encode()
        except (ValueError, TypeError, KeyError, AttributeError):
            yield LeftOut(f"{file.name} line {number}", "not an object with a path and a sentence")
        else:
            yield row if row.path else LeftOut(f"{file.name} line {number}", "no path")


# -------------------------------------------------------------------------- further columns


def read_columns(layout: str, folder: Path, split: str, names: Iterable[str]) -> dict[str, list]:
    """{name: a text for each row of the split's Table} of columns that no Table holds, like gender.

    Empty where a row has none. UserError for a column that is not there, and for layouts whose
    files have no named columns.
    """
    names = list(names)
    if not names:
        return {}
    if layout not in ("commonvoice", "manifest"):
        raise UserError(f"--corpus {layout} has no column {names[0]!r}: its files name no columns")
    is_manifest = layout == "manifest"
    file = find_manifest(folder, split) if is_manifest else folder / f"{split}.tsv"
    header, records = _named_records(file)
    for name in names:
        if name not in header:
            raise UserError(f"{file}: no column named {name!r} (there: {', '.join(header)})")
    kept = set(read_table(layout, folder, split).record.tolist())
    found = {name: [] for name in names}
    for number, record in enumerate(records):
        if number in kept:
            for name in names:
                found[name].append(str(record.get(name) or "").strip())
    return found


def _named_records(file: Path) -> tuple[list[str], Iterator[dict]]:
    """The column names of a table, and its records in order as {name: value}."""
    if file.suffix == ".jsonl":
        records = [_json_object(line) for line in lines(file)]
        return list(dict.fromkeys(name for record in records for name in record)), iter(records)
    if file.suffix == ".csv":
        header, *cells = csv_records(file) or [[]]
    else:
        rows = lines(file)
        header = next(rows, "").split("\t")
        cells = (line.split("\t") for line in rows)
    return header, (dict(zip(header, row, strict=False)) for row in cells)


def _json_object(line: str) -> dict:
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


# ------------------------------------------------------------------------------- the choice


class Layout(NamedTuple):
    """``read`` makes the table; ``whole`` is the split that others can be made of, if any."""

    read: Callable[[Path, str], Table]
    whole: str | None


LAYOUTS = {
    "commonvoice": Layout(read_commonvoice, "validated"),
    "librispeech": Layout(read_librispeech, None),
    "ljspeech": Layout(read_ljspeech, "metadata"),
    "kaldi": Layout(read_kaldi, None),
    "manifest": Layout(read_manifest, "all"),
}
