"""Common Voice's releases of spontaneous speech: what their rows say, and which can be learnt from.

    FOLDER/ss-corpus-LANG.tsv    a row for each recording, with its split
    FOLDER/audios/*.mp3

FOLDER is sps-corpus-VERSION-LANG.
Source: github.com/common-voice/cv-dataset, datasets/spontaneous-speech/README.md.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.columns import NAMES, Digest, lines, undecodable
from asr_ctc.corpus.layouts.header import refuse_twice
from asr_ctc.corpus.layouts.shifted_rows import shifted_rows
from asr_ctc.corpus.layouts.table import (
    EMPTY,
    NOT_UTF8,
    ExcludedClip,
    Row,
    Table,
    make_table,
    seconds_of,
)
from asr_ctc.corpus.layouts.tsv import without_csv_quotes

TABLES = "ss-corpus-*.tsv"
WHOLE = "all"  # the name of all splits together
NEEDED = "audio_file", "transcription", "split"
COLUMNS = (*NEEDED, "client_id", "duration_ms", "quality_tags")
LONGEST_S = 300.0  # as the tag long-audio, which the first releases lack
# Tags that a release gives to recordings which teach something wrong; it keeps them in its splits.
DISQUALIFYING = {
    "long-audio": "longer than five minutes",
    "transcription-length": "fewer than 3 characters per second: much is not transcribed",
    "speech-rate": "more than 30 characters per second: more is transcribed than can be said",
    "non-allowed-script": "transcribed in a script that the language does not use",
    "dataset-language-audio-mismatch": "another language is spoken",
}
_MARKS = re.compile(r"\s*(?:\[[^\[\]]*\]\s*)+")  # [disfluency], [noise]
_CLOSING = frozenset(".,;:!?…،؛؟۔።၊။।。、，！？；：")


def read_spontaneous(folder: Path, split: str) -> Table:
    """The rows of ss-corpus-LANG.tsv whose column split says so; `all` are the transcribed ones.

    FOLDER/SPLIT.tsv, which `split` makes, goes before.
    """
    file = spontaneous_table(folder, split)
    is_made = file.stem == split
    only = None if is_made or split == WHOLE else split
    digest, others = hashlib.sha256(), Counter[str]()
    rows = _rows(file, only, digest, others)
    read = make_table(folder / "audios", rows, digest, file)
    if len(read.record) + len(read.excluded) == 0:
        n_untranscribed = others.pop("", 0)
        splits = ", ".join(f"{name} ({n:,})" for name, n in sorted(others.items())) or "none"
        raise UserError(
            f"{file}: no transcribed row of the split {split!r} (available: {splits}; "
            f"{n_untranscribed:,} without a transcription); `split --corpus spontaneous` makes some"
        )
    return replace(read, n_untranscribed=others[""])


def spontaneous_table(folder: Path, split: str) -> Path:
    """The table that a split of spontaneous speech is read from."""
    made = folder / f"{split}.tsv"
    return made if made.is_file() else find_spontaneous_table(folder)


def find_spontaneous_table(folder: Path) -> Path:
    """FOLDER/ss-corpus-LANG.tsv; UserError unless there is exactly one."""
    tables = sorted(folder.glob(TABLES))
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise UserError(f"no table: looked for {folder / TABLES}")
    names = ", ".join(table.name for table in tables)
    raise UserError(f"{folder}: {names}: which one is it? Keep one language in a folder")


def _rows(
    file: Path, only: str | None, digest: Digest, others: Counter[str]
) -> Iterator[Row | ExcludedClip | None]:
    """The rows of a split (None: of all); ``others`` counts those of other splits by its name, and
    the ones without a transcription as ""."""
    header_line, *texts = list(lines(file, digest, keeps_undecodable=True)) or [""]
    if not header_line:
        raise UserError(f"{file}: {EMPTY}")
    header = header_line.split("\t")
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise UserError(
            f"{file}: no column named {' or '.join(missing)} in its first line "
            f"({', '.join(header[:8])}), as releases of spontaneous speech have"
        )
    refuse_twice(file, header, COLUMNS)
    raw = [text.encode("utf-8", NAMES) for text in texts]
    unused = shifted_rows(
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
            yield _row(cells, where)


def _row(cells: dict[str, str], where: str) -> Row | ExcludedClip:
    path = cells["audio_file"].strip()
    duration_s = seconds_of(cells.get("duration_ms"), 0.001)
    problem = disqualified(cells.get("quality_tags", ""), duration_s)
    transcription = without_csv_quotes(cells["transcription"].encode()).decode()
    sentence = without_marks(transcription)
    if not path:
        return ExcludedClip(where, "no audio_file")
    if problem or not sentence:
        return ExcludedClip(path, problem or "its transcription has no words beside its marks")
    return Row(path, sentence, cells.get("client_id", ""), duration_s)


def without_marks(transcription: str) -> str:
    """A transcription without its marks in square brackets, and without the space they took."""

    def between(match: re.Match[str]) -> str:
        following = match.string[match.end() : match.end() + 1]
        return "" if following in _CLOSING else " "

    return " ".join(_MARKS.sub(between, transcription).split())


def disqualified(quality_tags: str, duration_s: float) -> str | None:
    """Why a recording with these tags (``a|b``) is excluded, if so; NaN seconds are unknown."""
    tags = [tag.strip() for tag in quality_tags.split("|")]
    if duration_s > LONGEST_S:
        tags.append("long-audio")
    return next((f"{tag}: {DISQUALIFYING[tag]}" for tag in tags if tag in DISQUALIFYING), None)
