"""Corpus layouts: one reader per layout, which returns the Table of a split.

commonvoice  FOLDER/{split}.tsv, FOLDER/clips/*.mp3; any release: columns are found by name
librispeech  FOLDER/{split}-*/SPEAKER/CHAPTER/*.trans.txt, flac files beside them
ljspeech     FOLDER/metadata.csv, FOLDER/wavs/*.wav; {split}.csv made by `split`
kaldi        FOLDER/{split}/{wav.scp,text,utt2spk}
manifest     FOLDER/{split}.{tsv,csv,jsonl} with path, sentence and optional speaker, duration; or
             FOLDER/{split}/metadata.{csv,jsonl}
spontaneous  FOLDER/ss-corpus-LANG.tsv, FOLDER/audios/*.mp3: Common Voice's spontaneous speech
lhotse       FOLDER/{split}/{recordings,supervisions}.jsonl.gz, or *recordings_{split}.jsonl.gz
"""

import csv
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
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
    is_utf8,
    line_blocks,
    lines,
    undecodable,
)
from asr_ctc.corpus.half_split import refuse_half_split
from asr_ctc.corpus.lhotse import find_pair, read_supervisions
from asr_ctc.corpus.spontaneous import disqualified, find_spontaneous_table, without_marks

MOST_LISTED_S = 86_400.0  # a longer duration is taken for an error
HOW_TO_GET_ONE = (
    "Get a Common Voice release from mozilladatacollective.com, in a browser or by `fetch`, and "
    "name its archive or folder, or run `make demo` to make a small corpus"
)
EMPTY = "is empty: it holds no clips; a header line and a line per clip are needed"
ONLY_HEADER = "is empty but for its header: it holds no clips; a line per clip is needed"
NOT_UTF8 = "not UTF-8 text"
CONTINUES_BELOW = "its text continues on the next line"
MANIFEST_ENDINGS = ("tsv", "csv", "jsonl")
CSV_SEPARATORS = ",;\t"
# What NeMo's manifests and Hugging Face's folders of audio call the columns of ours.
OTHER_NAMES = {
    "path": ("audio_filepath", "file_name", "audio"),
    "sentence": ("text", "transcription"),
    "speaker": ("speaker_id", "client_id"),
}
SPONTANEOUS_COLUMNS = (
    *("audio_file", "transcription", "split"),
    *("client_id", "duration_ms", "quality_tags"),
)
HOW_TO_CUT = (
    "stretches of longer recordings are not read; cut them into clips with "
    "`python tools/cut_segments.py {source} --out cut` of asr_ctc's repository"
)
FILE_NAME = re.compile(rb"\S+\.\w{2,4}")
MOST_HEADER_BYTES = 1 << 16
PLAIN = bytes(range(32, 127))
CONTROL = re.compile(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")  # in UTF-8


OtherNames = Mapping[str, tuple[str, ...]]
NO_OTHER_NAMES: OtherNames = {}


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


class _TableBuilder:
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


def read_table(layout: str, folder: Path, split: str) -> Table:
    """Reads a split in one of the LAYOUTS; UserError if it is missing, unreadable or empty."""
    refuse_half_split(folder, split)
    return LAYOUTS[layout].read(folder, split)


def _make_table(
    clips: Path, items: Iterable[Row | ExcludedClip | None], digest: Digest, source: Path
) -> Table:
    """A table of the items, one per record; UserError, which names the source, if there is none.

    None is a record that belongs to no row of this split.
    """
    builder, items, n_records = _TableBuilder(), iter(items), 0
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
    if isinstance(item, Row) and (problem := _problem_of_path(item.path.encode("utf-8", NAMES))):
        return ExcludedClip(item.path, problem)
    return item


def _problem_of_path(path: bytes) -> str | None:
    """Why a path cannot be used, if so."""
    if path.translate(None, PLAIN) and CONTROL.search(path):
        return "a control character in its path"
    return None


def _no_such_split(looked_for: Path | str, available: Iterable[str], hint: str = "") -> UserError:
    names = ", ".join(sorted(available)) or "none"
    return UserError(f"no such split: looked for {looked_for} (available: {names}){hint}")


# --------------------------------------------------------------------- Common Voice, and its TSV


def read_commonvoice(folder: Path, split: str) -> Table:
    """FOLDER/SPLIT.tsv of any release. A path without an ending gets that of an mp3 file."""
    tsv, clips = folder / f"{split}.tsv", folder / "clips"
    if not tsv.is_file():
        available = (path.stem for path in folder.glob("*.tsv") if _lists_clips(path))
        raise _no_such_split(tsv, available, f". {HOW_TO_GET_ONE}")
    if not clips.is_dir():
        raise UserError(f"no clips: looked for the folder {clips}. {HOW_TO_GET_ONE}")
    return _read_tsv_table(tsv, clips, "client_id", with_mp3_ending, hint=" (as in Common Voice)")


def _lists_clips(tsv: Path) -> bool:
    """Whether a table has clips and their sentences, unlike clip_durations and reported."""
    try:
        with tsv.open("rb") as lines:
            header = lines.readline(MOST_HEADER_BYTES).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return False
    return {b"path", b"sentence"} <= set(header.rstrip(b"\r\n").split(b"\t"))


def with_mp3_ending(path: bytes) -> bytes:
    """The file name of a clip: early releases list clips without their ending."""
    if path.endswith(b".mp3") or Path(path.decode()).suffix:
        return path
    return path + b".mp3"


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


def _read_tsv_table(
    tsv: Path,
    clips: Path,
    speaker_name: str,
    clip_name: Callable[[bytes], bytes],
    *,
    hint: str = "",
    other_names: OtherNames = NO_OTHER_NAMES,
) -> Table:
    """A TSV with named columns path and sentence; every line after the first is one record."""
    builder, digest, n_records = _TableBuilder(), hashlib.sha256(), 0
    whole = line_blocks(tsv, digest, keeps_undecodable=True)
    blocks = (block.split(b"\n") for block in whole)
    first = next(blocks, None)
    if first is None:
        raise UserError(f"{tsv}: {EMPTY}")
    header = first.pop(0).decode("utf-8", NAMES).split("\t")
    columns = _find_columns(tsv, header, speaker_name, hint=hint, other_names=other_names)
    path_column, sentence_column, speaker_column, duration_column = columns
    n_cuts = max(column for column in columns if column is not None) + 1
    for rows in _pieces(chain([first], blocks), len(header)):
        unused = _misfits(
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
            if problem := _problem_of_path(path) if path else "no path":
                unused[i] = problem
                continue
            paths.append(clip_name(path))
            sentences.append(without_csv_quotes(row[sentence_column]))
            if speaker_column is not None:
                speakers.append(row[speaker_column])
            if duration_column is not None:
                seconds.append(_seconds(row[duration_column]))
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


def _misfits(
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


class _Columns(NamedTuple):
    """The indices of a table's columns; None for a column that it does not have."""

    path: int
    sentence: int
    speaker: int | None
    duration: int | None


def _find_columns(
    path: Path,
    header: list[str],
    speaker_name: str,
    *,
    hint: str = "",
    other_names: OtherNames = NO_OTHER_NAMES,
) -> _Columns:
    """Finds the columns by name; UserError if path or sentence is missing or one is there twice."""
    if not is_utf8("\t".join(header)):
        raise UserError(f"{path}: its first line is {NOT_UTF8}: save it as UTF-8")
    names = {name: _name_in(header, name, other_names, path) for name in ("path", "sentence")}
    missing = [name for name, column in names.items() if column is None]
    if missing:
        if len(header) == 1 and (separator := csv_separator(header[0])) in header[0]:
            hint = f"; its cells are separated by {separator!r}: rename it to {path.stem}.csv"
        raise UserError(
            f"{path}: no column named {' or '.join(missing)} in its first line "
            f"({', '.join(header[:8])}); path and sentence are needed{hint}"
        )
    names["speaker"] = _name_in(header, speaker_name, other_names, path)
    names["duration"] = "duration" if "duration" in header else None
    _refuse_twice(path, header, filter(None, names.values()))
    path_column, sentence, speaker, duration = (
        header.index(name) if name is not None else None for name in names.values()
    )
    assert path_column is not None and sentence is not None  # they are not missing
    return _Columns(path_column, sentence, speaker, duration)


def _name_in(
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


def _refuse_twice(path: Path, header: list[str], names: Iterable[str]) -> None:
    for name in names:
        if (n := header.count(name)) > 1:
            raise UserError(f"{path}: {n} columns are named {name}: which one is it?")


def _seconds(value: Any, unit_s: float = 1.0) -> float:
    """A duration as listed; NaN, so that it is measured, if it is not a possible duration."""
    try:
        seconds = math.nan if isinstance(value, bool) else unit_s * float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return seconds if 0 < seconds <= MOST_LISTED_S else math.nan


# ------------------------------------------------------------------------------ other layouts


def read_librispeech(folder: Path, split: str) -> Table:
    """The folder SPLIT, else all folders SPLIT-*: `train` is train-clean-100, train-other-500..."""
    parts = sorted(path for path in folder.glob("*-*") if path.is_dir())
    chosen = [path for path in parts if path.name == split]
    chosen = chosen or [path for path in parts if path.name.startswith(f"{split}-")]
    if not chosen:
        raise _no_such_split(f"{folder}/{split}-*", (path.name for path in parts))
    digest = hashlib.sha256()

    def rows() -> Iterator[Row | ExcludedClip]:
        for part in chosen:
            for file in sorted(part.glob("*/*/*.trans.txt")):
                digest.update(os.fsencode(file.relative_to(folder)))
                texts = list(lines(file, digest, keeps_undecodable=True))
                yield from _librispeech_rows(folder, file, texts)

    return _make_table(folder, rows(), digest, folder / f"{split}-*/*/*/*.trans.txt")


def _librispeech_rows(folder: Path, file: Path, texts: list[str]) -> Iterator[Row | ExcludedClip]:
    """A row for each line that begins with a clip's name, unless another line follows it."""
    prefix = file.name.removesuffix("trans.txt").removesuffix(".") + "-"
    cells = [text.strip().split(maxsplit=1) or [""] for text in texts]
    names = [
        name.startswith(prefix) or (name and os.path.exists(f"{file.parent}/{name}.flac"))
        for name, *_ in cells
    ]
    for i, (name, *sentence) in enumerate(cells):
        if not is_utf8(texts[i]):
            yield ExcludedClip(f"{file.name} line {i + 1}", NOT_UTF8)
        elif not names[i]:
            yield ExcludedClip(f"{file.name} line {i + 1}", f"does not begin with {prefix}NUMBER")
        elif i + 1 < len(cells) and cells[i + 1] != [""] and not names[i + 1]:
            yield ExcludedClip(f"{file.name} line {i + 1}", CONTINUES_BELOW)
        else:
            flac = f"{file.parent.relative_to(folder)}/{name}.flac"
            yield Row(flac, "".join(sentence), name.split("-")[0])


def read_ljspeech(folder: Path, split: str) -> Table:
    """SPLIT.csv, in the format of metadata.csv: ``name|text|text with numbers spelt out``."""
    file = folder / f"{split}.csv"
    if not file.is_file():
        hint = "; LJSpeech has no splits: make them with `main_ctc.py split --corpus ljspeech`"
        raise _no_such_split(file, (path.stem for path in folder.glob("*.csv")), hint)
    digest = hashlib.sha256()

    def rows() -> Iterator[Row | ExcludedClip]:
        blocks = line_blocks(file, digest, keeps_undecodable=True)
        records = [line for block in blocks for line in block.split(b"\n")]
        cells = [record.decode("utf-8", NAMES).split("|") for record in records]
        wrong = set(undecodable(records))
        ends = {"sentence_is_first": False, "sentence_is_last": True}
        unused = _misfits(records, b"|", {2, 3}, **ends)
        usable = [
            row
            for i, row in enumerate(cells)
            if row[0].strip() and i not in unused and i not in wrong
        ]
        sizes = [len(row) for row in usable]
        if sizes.count(3) < sizes.count(2):  # a second bar is part of the text then
            unused = _misfits(records, b"|", {2}, **ends)
        for i, (name, *texts) in enumerate(cells):
            if i in wrong:
                yield ExcludedClip(f"{file.name} line {i + 1}", NOT_UTF8)
            elif name.strip() and texts and i not in unused:
                yield Row(f"{name.strip()}.wav", texts[-1] or texts[0])
            else:
                reason = unused[i] if i in unused and texts else "not name|text"
                yield ExcludedClip(f"{file.name} line {i + 1}", reason)

    return _make_table(folder / "wavs", rows(), digest, file)


def read_kaldi(folder: Path, split: str) -> Table:
    """A Kaldi data folder. Paths in wav.scp may be relative to it; commands are refused."""
    data = folder / split
    text, scp = data / "text", data / "wav.scp"
    if not (text.is_file() and scp.is_file()):
        available = (path.parent.name for path in folder.glob("*/wav.scp"))
        raise _no_such_split(f"{text} and {scp}", available)
    if (data / "segments").exists():
        raise UserError(
            f"{data / 'segments'}: segments of longer recordings are not supported; cut the "
            "recordings into clips"
        )
    digest = hashlib.sha256()
    wrong: dict[str, str] = {}  # why an utterance cannot be used, by its name
    wavs = list(_kaldi_pairs(scp, digest, wrong))
    for utterance, wav in wavs:
        if wav.startswith("|") or wav.endswith("|"):
            raise UserError(
                f"{scp}: {utterance} is the output of a command ({wav}), which is never run: "
                "write the audio to files and list these"
            )
    speakers = dict(_kaldi_pairs(data / "utt2spk", digest, wrong))
    durations = dict(_kaldi_pairs(data / "utt2dur", digest, wrong))
    texts = _kaldi_pairs(text, digest, wrong)
    rows = _kaldi_rows(texts, wavs, speakers=speakers, durations=durations, wrong=wrong)
    return _make_table(data, rows, digest, text)


def _kaldi_pairs(file: Path, digest: Digest, wrong: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(utterance, the rest of its line) of a file, none if it does not exist.

    ``wrong`` gets the utterances whose lines are not UTF-8.
    """
    if not file.is_file():
        return
    for number, line in enumerate(lines(file, digest, keeps_undecodable=True), 1):
        if line.strip():
            utterance, *value = line.strip().split(maxsplit=1)
            if not is_utf8(line):
                wrong[utterance] = f"{NOT_UTF8} in {file.name} line {number}"
            yield utterance, value[0] if value else ""


def _kaldi_rows(
    texts: Iterable[tuple[str, str]],
    wavs: Sequence[tuple[str, str]],
    *,
    speakers: Mapping[str, str],
    durations: Mapping[str, str],
    wrong: Mapping[str, str],
) -> Iterator[Row | ExcludedClip]:
    """The utterances that have a text and a file each, and why others have not."""
    file_of, times = dict(wavs), Counter(utterance for utterance, _ in wavs)
    transcribed: set[str] = set()
    for utterance, sentence in texts:
        transcribed.add(utterance)
        if utterance in wrong:
            yield ExcludedClip(utterance, wrong[utterance])
        elif times[utterance] > 1:
            yield ExcludedClip(utterance, f"{times[utterance]} times in wav.scp")
        elif file_of.get(utterance):
            speaker, duration = speakers.get(utterance, ""), durations.get(utterance)
            yield Row(file_of[utterance], sentence, speaker, _seconds(duration))
        else:
            yield ExcludedClip(utterance, "not in wav.scp")
    for utterance in file_of:
        if utterance not in transcribed:
            yield ExcludedClip(utterance, "not in text")


def find_manifest(folder: Path, split: str) -> Path:
    """FOLDER/SPLIT.tsv, .csv or .jsonl; UserError unless exactly one of them exists."""
    files = [folder / f"{split}.{ending}" for ending in MANIFEST_ENDINGS]
    existing = [file for file in files if file.is_file()]
    if not existing:
        available = (p.name for ending in MANIFEST_ENDINGS for p in folder.glob(f"*.{ending}"))
        other = next(iter(sorted(folder.glob(f"{split}*.json"))), None)  # as NeMo names it
        hint = f"; if {other.name} has an object in each line, rename it" if other else ""
        raise _no_such_split(" or ".join(map(str, files)), available, hint)
    if len(existing) > 1:
        names = " and ".join(map(str, existing))
        raise UserError(f"{names} exist: which one is the split? Keep one of them")
    return existing[0]


def _manifest_of_split(folder: Path, split: str) -> Path:
    """As ``find_manifest``; where there is none, FOLDER/SPLIT/metadata.csv or .jsonl, as Hugging
    Face's folders of audio have it, whose dev split may be called validation."""
    names = (split, "validation") if split == "dev" else (split,)
    inside = [
        file
        for name in names
        for ending in MANIFEST_ENDINGS
        if (file := folder / name / f"metadata.{ending}").is_file()
    ]
    is_beside = any((folder / f"{split}.{ending}").is_file() for ending in MANIFEST_ENDINGS)
    return inside[0] if len(inside) == 1 and not is_beside else find_manifest(folder, split)


def read_manifest(folder: Path, split: str) -> Table:
    """A table made by the user; paths may be relative to its folder, durations are in seconds.

    The names that NeMo and Hugging Face give to the columns are read too, see OTHER_NAMES.
    """
    file = _manifest_of_split(folder, split)
    if file.suffix == ".tsv":
        return _read_tsv_table(file, file.parent, "speaker", bytes, other_names=OTHER_NAMES)
    digest = hashlib.sha256()
    records = _csv_rows if file.suffix == ".csv" else _jsonl_rows
    return _make_table(file.parent, records(file, digest), digest, file)


def _csv_rows(file: Path, digest: Digest) -> Iterator[Row | ExcludedClip]:
    header, *records = csv_records(file, digest) or [CsvRecord([], "", 1)]
    if not header.cells:
        raise UserError(f"{file}: {EMPTY}")
    columns = _find_columns(file, header.cells, "speaker", other_names=OTHER_NAMES)
    if not records:
        raise UserError(f"{file}: {ONLY_HEADER}")
    # Joined by NUL: a separator inside a quoted cell separates nothing.
    joined = [
        b"\0".join(cell.replace("\0", "").encode("utf-8", NAMES) for cell in record.cells)
        for record in records
    ]
    unused = _misfits(
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
            yield Row(path.strip(), sentence, speaker, _seconds(duration))


def _contains_row(record: "CsvRecord", header: "CsvRecord", path_column: int) -> bool:
    """Whether a line inside a quoted cell is itself a row, with a path of the same ending."""
    ending = Path(record.cells[path_column].strip()).suffix
    n_columns, separator = len(header.cells), csv_separator(header.raw)
    for line in record.raw.split("\n")[1:]:
        cells = line.split(separator)
        if ending and len(cells) == n_columns and cells[path_column].strip().endswith(ending):
            return True
    return False


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


_HIDDEN = {ord("\r"): "\ufdd0", 0: "\ufdd1"}  # by noncharacters, which no text contains
_UNHIDDEN = {ord(hidden): code for code, hidden in _HIDDEN.items()}


def _jsonl_rows(file: Path, digest: Digest) -> Iterator[Row | ExcludedClip]:
    for number, line in enumerate(lines(file, digest, keeps_undecodable=True), start=1):
        if not is_utf8(line):
            yield ExcludedClip(f"{file.name} line {number}", NOT_UTF8)
            continue
        try:
            content = json.loads(line)
            names = [_name_in(content, name, OTHER_NAMES, file) for name in OTHER_NAMES]
            path, sentence, speaker = (content.get(name) for name in names)
            if isinstance(speaker, (list, dict, bool)):
                raise TypeError
            if float(content.get("offset") or 0) != 0:
                raise UserError(f"{file}: line {number}: {HOW_TO_CUT.format(source=file)}")
            speaker = "" if speaker is None else str(speaker)
            row = Row(path.strip(), sentence, speaker, _seconds(content.get("duration")))
            "".join(row[:3]).encode()
        except (ValueError, TypeError, OverflowError, AttributeError, RecursionError):
            yield ExcludedClip(
                f"{file.name} line {number}", "not an object with a path and a sentence"
            )
        else:
            yield row if row.path else ExcludedClip(f"{file.name} line {number}", "no path")


def spontaneous_table(folder: Path, split: str) -> Path:
    """The table that a split of spontaneous speech is read from."""
    made = folder / f"{split}.tsv"
    return made if made.is_file() else find_spontaneous_table(folder)


def read_spontaneous(folder: Path, split: str) -> Table:
    """The rows of ss-corpus-LANG.tsv whose column split says so; `all` are the transcribed ones.

    FOLDER/SPLIT.tsv, which `split` makes, goes before.
    """
    file = spontaneous_table(folder, split)
    is_made = file.stem == split
    only = None if is_made or split == LAYOUTS["spontaneous"].whole else split
    digest, others = hashlib.sha256(), Counter[str]()
    rows = _spontaneous_rows(file, only, digest, others)
    read = _make_table(folder / "audios", rows, digest, file)
    if len(read.record) + len(read.excluded) == 0:
        n_untranscribed = others.pop("", 0)
        splits = ", ".join(f"{name} ({n:,})" for name, n in sorted(others.items())) or "none"
        raise UserError(
            f"{file}: no transcribed row of the split {split!r} (available: {splits}; "
            f"{n_untranscribed:,} without a transcription); `split --corpus spontaneous` makes some"
        )
    return replace(read, n_untranscribed=others[""])


def _spontaneous_rows(
    file: Path, only: str | None, digest: Digest, others: Counter[str]
) -> Iterator[Row | ExcludedClip | None]:
    """The rows of a split (None: of all); ``others`` counts those of other splits by its name, and
    the ones without a transcription as ""."""
    header_line, *texts = list(lines(file, digest, keeps_undecodable=True)) or [""]
    if not header_line:
        raise UserError(f"{file}: {EMPTY}")
    header = header_line.split("\t")
    missing = [name for name in ("audio_file", "transcription", "split") if name not in header]
    if missing:
        raise UserError(
            f"{file}: no column named {' or '.join(missing)} in its first line "
            f"({', '.join(header[:8])}), as releases of spontaneous speech have"
        )
    _refuse_twice(file, header, SPONTANEOUS_COLUMNS)
    raw = [text.encode("utf-8", NAMES) for text in texts]
    unused = _misfits(
        raw,
        b"\t",
        {len(header)},
        sentence_is_first=header[0] == "transcription",
        sentence_is_last=header[-1] == "transcription",
    )
    unused |= dict.fromkeys(undecodable(raw), NOT_UTF8)
    for i, text in enumerate(texts):
        cells = dict(zip(header, text.split("\t"), strict=False))
        where = f"{file.name} line {i + 2}"
        if i in unused:
            yield ExcludedClip(where, unused[i])
        elif only is not None and cells["split"].strip() != only:
            others[cells["split"].strip() or "unassigned"] += 1
            yield None
        elif not cells["transcription"].strip():
            others[""] += 1
            yield None
        else:
            yield _spontaneous_row(cells, where)


def _spontaneous_row(cells: dict[str, str], where: str) -> Row | ExcludedClip:
    path = cells["audio_file"].strip()
    duration_s = _seconds(cells.get("duration_ms"), 0.001)
    problem = disqualified(cells.get("quality_tags", ""), duration_s)
    transcription = without_csv_quotes(cells["transcription"].encode()).decode()
    sentence = without_marks(transcription)
    if not path:
        return ExcludedClip(where, "no audio_file")
    if problem or not sentence:
        return ExcludedClip(path, problem or "its transcription has no words beside its marks")
    return Row(path, sentence, cells.get("client_id", ""), duration_s)


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
                yield Row(item.path, item.text, item.speaker, _seconds(item.duration_s))

    return _make_table(folder, rows(), digest, supervisions)


# -------------------------------------------------------------------------- further columns


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
                columns[name].append(str(record.get(name) or "").strip())
    return columns


def refuse_missing_columns(layout: str, folder: Path, split: str, *, names: Iterable[str]) -> None:
    """UserError for a column that a split's table lacks, and for layouts whose files have no named
    columns."""
    if names := list(names):
        _records_with(layout, folder, split, names)


def _records_with(layout: str, folder: Path, split: str, names: list[str]) -> Iterator[dict]:
    """The records of a split's table as {name: value}; UserError unless it has these columns."""
    if layout == "manifest":
        file = _manifest_of_split(folder, split)
    elif layout == "spontaneous":
        file = spontaneous_table(folder, split)
    elif layout == "commonvoice":
        file = folder / f"{split}.tsv"
    else:
        raise UserError(
            f"--corpus {layout} has no column {names[0]!r}: its files have no named columns"
        )
    header, records = _named_records(file)
    for name in names:
        if name not in header:
            raise UserError(f"{file}: no column named {name!r} (available: {', '.join(header)})")
    _refuse_twice(file, header, names)
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


# ------------------------------------------------------------------------ choosing a layout


class Layout(NamedTuple):
    """``read`` makes the table; ``whole`` is the split that others can be made from, if any.

    With ``has_languages`` the corpora of several lie in one root, in folders named after them.
    """

    read: Callable[[Path, str], Table]
    whole: str | None
    has_languages: bool = False


LAYOUTS = {
    "commonvoice": Layout(read_commonvoice, "validated", has_languages=True),
    "librispeech": Layout(read_librispeech, None),
    "ljspeech": Layout(read_ljspeech, "metadata"),
    "kaldi": Layout(read_kaldi, None),
    "manifest": Layout(read_manifest, "all"),
    "spontaneous": Layout(read_spontaneous, "all", has_languages=True),
    "lhotse": Layout(read_lhotse, None),
}
