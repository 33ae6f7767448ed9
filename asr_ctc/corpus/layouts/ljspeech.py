"""LJSpeech.

FOLDER/metadata.csv, and {split}.csv made of it by `split`
FOLDER/wavs/*.wav
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from asr_ctc.corpus.columns import NAMES, line_blocks, undecodable
from asr_ctc.corpus.layouts.shifted_rows import shifted_rows
from asr_ctc.corpus.layouts.table import (
    NOT_UTF8,
    ExcludedClip,
    Row,
    Table,
    make_table,
    no_such_split,
)


def read_ljspeech(folder: Path, split: str) -> Table:
    """SPLIT.csv, in the format of metadata.csv: ``name|text|text with numbers spelt out``."""
    file = ljspeech_table(folder, split)
    if not file.is_file():
        hint = "; LJSpeech has no splits: make them with `main_ctc.py split --corpus ljspeech`"
        raise no_such_split(file, (path.stem for path in folder.glob("*.csv")), hint)
    digest = hashlib.sha256()

    def rows() -> Iterator[Row | ExcludedClip]:
        blocks = line_blocks(file, digest, keeps_undecodable=True)
        records = [line for block in blocks for line in block.split(b"\n")]
        cells = [record.decode("utf-8", NAMES).split("|") for record in records]
        wrong = set(undecodable(records))
        ends = {"sentence_is_first": False, "sentence_is_last": True}
        unused = shifted_rows(records, b"|", {2, 3}, **ends)
        usable = [
            row
            for i, row in enumerate(cells)
            if row[0].strip() and i not in unused and i not in wrong
        ]
        sizes = [len(row) for row in usable]
        if sizes.count(3) < sizes.count(2):  # a second bar is part of the text then
            unused = shifted_rows(records, b"|", {2}, **ends)
        for i, (name, *texts) in enumerate(cells):
            if i in wrong:
                yield ExcludedClip(f"{file.name} line {i + 1}", NOT_UTF8)
            elif name.strip() and texts and i not in unused:
                yield Row(f"{name.strip()}.wav", texts[-1] or texts[0])
            else:
                reason = unused[i] if i in unused and texts else "not name|text"
                yield ExcludedClip(f"{file.name} line {i + 1}", reason)

    return make_table(folder / "wavs", rows(), digest, file)


def ljspeech_table(folder: Path, split: str) -> Path:
    """The table of a split."""
    return folder / f"{split}.csv"
