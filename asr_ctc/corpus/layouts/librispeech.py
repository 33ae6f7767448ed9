"""LibriSpeech.

FOLDER/{split}-*/SPEAKER/CHAPTER/*.trans.txt, flac files beside them
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from asr_ctc.corpus.columns import is_utf8, lines
from asr_ctc.corpus.layouts.table import (
    CONTINUES_BELOW,
    NOT_UTF8,
    ExcludedClip,
    Row,
    Table,
    make_table,
    no_such_split,
)


def read_librispeech(folder: Path, split: str) -> Table:
    """The folder SPLIT, else all folders SPLIT-*: `train` is train-clean-100, train-other-500..."""
    parts = sorted(path for path in folder.glob("*-*") if path.is_dir())
    chosen = [path for path in parts if path.name == split]
    chosen = chosen or [path for path in parts if path.name.startswith(f"{split}-")]
    if not chosen:
        raise no_such_split(f"{folder}/{split}-*", (path.name for path in parts))
    digest = hashlib.sha256()

    def rows() -> Iterator[Row | ExcludedClip]:
        for part in chosen:
            for file in sorted(part.glob("*/*/*.trans.txt")):
                digest.update(os.fsencode(file.relative_to(folder)))
                texts = list(lines(file, digest, keeps_undecodable=True))
                yield from _rows(folder, file, texts)

    return make_table(folder, rows(), digest, folder / f"{split}-*/*/*/*.trans.txt")


def _rows(folder: Path, file: Path, texts: list[str]) -> Iterator[Row | ExcludedClip]:
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
