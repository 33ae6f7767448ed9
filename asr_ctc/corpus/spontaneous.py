"""Common Voice's releases of spontaneous speech: what their rows say, and which can be learnt from.

    sps-corpus-VERSION-LANG/ss-corpus-LANG.tsv    a row for each recording, with its split
    sps-corpus-VERSION-LANG/audios/*.mp3

Source: github.com/common-voice/cv-dataset, datasets/spontaneous-speech/README.md.
"""

import re
from pathlib import Path

from asr_ctc.base.errors import UserError

TABLES = "ss-corpus-*.tsv"
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


def find_spontaneous_table(folder: Path) -> Path:
    """FOLDER/ss-corpus-LANG.tsv; UserError unless there is exactly one."""
    tables = sorted(folder.glob(TABLES))
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise UserError(f"no table: looked for {folder / TABLES}")
    names = ", ".join(table.name for table in tables)
    raise UserError(f"{folder}: {names}: which one is it? Keep one language in a folder")


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
