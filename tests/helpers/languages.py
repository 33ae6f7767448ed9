"""Transcripts of 20 languages, made up for the tests: 30 lines each."""

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "data" / "languages"
CODES = (
    "en fr de es tr vi el ru uk ar fa he hi ta th zh-CN ja ko ka am"
).split()  # in the order of their scripts


@cache
def transcripts(code: str) -> list[str]:
    return (FOLDER / f"{code}.txt").read_text(encoding="utf-8").splitlines()
