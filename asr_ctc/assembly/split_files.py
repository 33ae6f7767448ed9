"""Splits one table into train, dev and test without shared speakers or sentences: for `split`.

Clips are the edges of a graph between speakers and sentences. Each speaker and each sentence goes
to one split; a clip whose speaker and sentence went to different ones is excluded. The test split
is drawn first, then dev from the remaining clips; train is all that shares nothing with them.
"""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr_ctc.assembly.writing import find_writing
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import open_atomically
from asr_ctc.config.load import Config
from asr_ctc.corpus import index
from asr_ctc.corpus.columns import NAMES, line_blocks
from asr_ctc.corpus.corpus import Corpus, corpus_of, find_corpus
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.half_split import mark_half_split, unmark_half_split
from asr_ctc.corpus.layouts.csv_records import csv_records
from asr_ctc.corpus.layouts.manifest import ENDINGS
from asr_ctc.corpus.layouts.registry import LAYOUTS, read_table
from asr_ctc.corpus.splitting import (
    SPLITS,
    UNUSED,
    Clips,
    clips_of,
    extend_train,
    find_unusable,
    lacking_s,
    make_splits,
)


class Size(NamedTuple):
    """Clips, hours and known speakers."""

    clips: int
    hours: float
    speakers: int


@dataclass
class Report:
    """The results of ``split_corpus``; ``excluded`` counts the clips in no split by reason."""

    source: Path
    whole: Size
    splits: dict[str, Size]
    excluded: dict[str, Size]
    notes: list[str]
    files: list[Path]


def split_corpus(config: Config) -> Report:
    """Writes train, dev and test (with ``--keep_test`` train alone) beside the source table.

    UserError for a corpus that does not exist, an impossible size and, without ``--force``, files
    that exist already; nothing is written then.
    """
    corpus_config, split_config = config.corpus, config.split
    layout = corpus_config.corpus
    folder = find_corpus(
        corpus_config.datasetroot, corpus_config.datasetversion, corpus_config.lang, layout=layout
    )
    if (table_of_all := LAYOUTS[layout].whole) is None:
        raise UserError(f"--corpus {layout}: such a corpus brings its own splits")
    whole, find_file = table_of_all
    name = re.sub(rf"\.({'|'.join(ENDINGS)})$", "", Path(split_config.from_ or whole).name)
    if name in SPLITS:
        raise UserError(f"--from {name}: would overwrite itself; give the file another name")
    table = read_table(layout, folder, name)
    source = find_file(folder, name)
    split_names = ("train",) if split_config.keep_test else SPLITS
    files = [source.with_name(f"{split}{source.suffix}") for split in split_names]
    _refuse_to_overwrite(layout, folder, files, split_config.force)

    corpus = corpus_of(
        table, folder, name, layout=layout, index_dir=index.folder(corpus_config.index_dir)
    )
    corpus = with_durations(corpus, config.runtime.nthreads, keep_broken=True)
    unusable, notes = find_unusable(corpus), []
    free = np.ones(len(corpus), dtype=bool)
    for rows in unusable.values():
        free &= ~rows
    writing = find_writing(config, corpus)
    clips = clips_of(corpus, writing)
    if not corpus.speakers.names or list(corpus.speakers.names) == [""]:
        notes.append("no speaker is known: the splits share no sentence, but perhaps speakers")
    if split_config.keep_test:
        split_of, reasons = extend_train(
            free, corpus, layout=layout, folder=folder, writing=writing
        )
    else:
        test_s = parse_size("test", split_config.test, clips, free)
        dev_s = parse_size("dev", split_config.dev, clips, free)
        split_of, reasons = make_splits(
            clips, free, test_s=test_s, dev_s=dev_s, seed=config.runtime.seed or 0
        )
        for split, target_s in (("test", test_s), ("dev", dev_s)):
            if lacking_s(clips, split_of == SPLITS.index(split), target_s):
                notes.append(f"{split}: too few clips are left for {target_s / 3600:.2f} h")
    _refuse_empty(split_of, split_names, source)

    of_record = np.full(table.n_records, UNUSED)
    of_record[table.record] = split_of
    header, records = records_of(layout, source)
    texts = {split: bytearray(header) for split in split_names}
    for split, record in zip(of_record.tolist(), records, strict=True):
        if split != UNUSED:
            texts[SPLITS[split]] += record
    _replace_together(
        dict(zip(files, (bytes(texts[split]) for split in split_names), strict=True)), split_names
    )
    reasons_of_rows = Counter(
        clip.reason if layout == "spontaneous" else "row that cannot be read"
        for clip in table.excluded
    )
    reasons_of_rows["no transcription"] = table.n_untranscribed
    excluded = {reason: Size(n, 0.0, 0) for reason, n in reasons_of_rows.items()}
    excluded |= {reason: _size(corpus, rows) for reason, rows in {**unusable, **reasons}.items()}
    splits = {split: _size(corpus, split_of == SPLITS.index(split)) for split in split_names}
    everything = np.ones(len(corpus), dtype=bool)
    return Report(source, _size(corpus, everything), splits, excluded, notes, files)


def _replace_together(contents: dict[Path, bytes], splits: Iterable[str]) -> None:
    """Replaces the tables of a corpus, whose splits are named: all of them, or it says so.

    All are on the disk before the first is renamed, so that a full disk replaces none; who is
    killed between the renames leaves a mark, see half_split.py.
    """
    folder = next(iter(contents)).parent
    with contextlib.ExitStack() as renames:
        for path, content in contents.items():
            file = renames.enter_context(open_atomically(path))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mark_half_split(folder, splits)
    unmark_half_split(folder)


def _size(corpus: Corpus, chosen: np.ndarray) -> Size:
    speakers = set(corpus.speakers.codes[chosen].tolist())
    n_known = sum(corpus.speakers.names[code] != "" for code in speakers)
    seconds = corpus.duration_s[chosen].sum(dtype=np.float64)
    return Size(int(np.count_nonzero(chosen)), float(seconds) / 3600, n_known)


def _refuse_to_overwrite(layout: str, folder: Path, files: list[Path], force: bool) -> None:
    for file in files:
        others = folder.glob(f"{file.stem}.*") if layout == "manifest" else ()
        for other in others:
            if other.suffix != file.suffix and other.suffix in (".tsv", ".csv", ".jsonl"):
                raise UserError(
                    f"{other} exists, and {file.name} would be a second {file.stem}: move it away"
                )
    existing = [str(file) for file in files if file.exists()]
    if existing and not force:
        raise UserError(f"{', '.join(existing)}: already there; --force overwrites")


def _refuse_empty(split_of: np.ndarray, split_names: Iterable[str], source: Path) -> None:
    empty = [split for split in split_names if not (split_of == SPLITS.index(split)).any()]
    if empty:
        raise UserError(
            f"{source}: no clip is left for {' and '.join(empty)}: there are too few speakers or "
            "sentences to keep the splits apart at these sizes"
        )


# ------------------------------------------------------------------------------ the clips


def parse_size(flag: str, text: str, clips: Clips, free: np.ndarray) -> float:
    """Seconds of a split from a share below 1 of the free clips, or hours such as '2h', '0.5h'."""
    total_s = clips.seconds[free].sum()
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(h?)", text.strip())
    if not match or float(match[1]) == 0 or (not match[2] and float(match[1]) >= 1):
        raise UserError(f"--{flag} must be a share below 1 or hours such as 2h, found {text!r}")
    size_s = float(match[1]) * (3600 if match[2] else total_s)
    if size_s >= total_s:
        raise UserError(f"--{flag} {text}: there are only {total_s / 3600:.2f} h in all")
    return size_s


# ------------------------------------------------------------------------------ the files


def records_of(layout: str, file: Path) -> tuple[bytes, Iterator[bytes]]:
    """Returns (header line, or b""; the records) of a table as written, line ends included."""
    has_header = LAYOUTS[layout].named_columns is not None
    if has_header and file.suffix == ".csv":
        records = (f"{record.raw}\n".encode("utf-8", NAMES) for record in csv_records(file))
        return next(records), records
    blocks = line_blocks(file, keeps_undecodable=True)
    records = (line + b"\n" for block in blocks for line in block.split(b"\n"))
    return next(records) if file.suffix == ".tsv" else b"", records
