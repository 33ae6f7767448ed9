"""Segmenters for tests of writings without spaces between words."""

from asr_ctc.text import segments
from asr_ctc.text.segments import Segmenter


def in_pairs(monkeypatch, version: int = 1) -> None:
    """In place of ICU a segmenter whose words have two characters."""

    def cut(text: str) -> list[str]:
        return [text[i : i + 2] for i in range(0, len(text), 2)]

    monkeypatch.setattr(segments, "icu", lambda: Segmenter(f"pairs {version}", cut))


def without_segmenter(monkeypatch) -> None:
    monkeypatch.setattr(segments, "icu", lambda: None)
