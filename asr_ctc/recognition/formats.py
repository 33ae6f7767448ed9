"""Transcripts as text for other programs: JSON, tables, subtitles, TextGrid. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from asr_ctc.decoding.hypothesis import Timed

LINE_CHARACTERS, CUE_S = 42, 7.0  # a line that fits a screen, and the time that one may stand
PAUSE_S = 1.0  # between words: a new subtitle


@dataclass(frozen=True)
class Transcript:
    """A recording and what was said in it.

    ``logp`` is the natural log probability of ``text`` as its decoder or aligner gives it;
    ``alternatives`` are other readings, (text, logp), best first.
    """

    audio: str
    duration_s: float
    text: str
    logp: float
    words: Sequence[Timed]
    characters: Sequence[Timed]
    alternatives: Sequence[tuple[str, float]] = ()


class Cue(NamedTuple):
    """A line of subtitles: the words (or characters) on it, and what stands between them."""

    units: list[Timed]
    separator: str

    @property
    def text(self) -> str:
        return self.separator.join(unit.text for unit in self.units)


def as_text(transcript: Transcript) -> str:
    return transcript.text + "\n"


def as_json(transcript: Transcript) -> str:
    """One object over several lines; times in seconds, confidences from 0 to 1."""
    return json.dumps(_plain(transcript), ensure_ascii=False, indent=1) + "\n"


def as_jsonl(transcript: Transcript) -> str:
    """The object of ``as_json`` on one line."""
    return json.dumps(_plain(transcript), ensure_ascii=False) + "\n"


def _plain(transcript: Transcript) -> dict:
    content = {
        "audio": transcript.audio,
        "duration_s": round(transcript.duration_s, 3),
        "text": transcript.text,
        "logp": round(transcript.logp, 3),
        "words": [_plain_timed("word", timed) for timed in transcript.words],
        "characters": [_plain_timed("character", timed) for timed in transcript.characters],
    }
    if transcript.alternatives:
        content["alternatives"] = [
            {"text": text, "logp": round(logp, 3)} for text, logp in transcript.alternatives
        ]
    return content


def _plain_timed(kind: str, timed: Timed) -> dict:
    return {
        kind: timed.text,
        "start_s": round(timed.start_s, 3),
        "end_s": round(timed.end_s, 3),
        "confidence": round(timed.confidence, 4),
    }


def as_tsv(transcript: Transcript) -> str:
    """A row per word: the columns of the header in FORMATS."""
    name = " ".join(transcript.audio.split())
    return "".join(
        f"{name}\t{w.start_s:.3f}\t{w.end_s:.3f}\t{w.confidence:.4f}\t{w.text}\n"
        for w in transcript.words
    )


def as_ctm(transcript: Transcript) -> str:
    """NIST's time-marked conversation: file, channel, start, duration, word, confidence."""
    name = "_".join(PurePath(transcript.audio).stem.split())
    return "".join(
        f"{name} 1 {w.start_s:.3f} {w.end_s - w.start_s:.3f} {w.text} {w.confidence:.4f}\n"
        for w in transcript.words
    )


def as_srt(transcript: Transcript) -> str:
    """SubRip subtitles."""
    blocks = [
        f"{number}\n{_span(cue.units[0].start_s, cue.units[-1].end_s, ',')}\n{cue.text}\n"
        for number, cue in enumerate(cues(transcript), start=1)
    ]
    return "\n".join(blocks)


def as_vtt(transcript: Transcript) -> str:
    """WebVTT subtitles; a time before each word but the first of a line lets players mark it."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript):
        first, *others = cue.units
        line = _escaped(first.text) + "".join(
            f"{cue.separator}<{_clock(unit.start_s, '.')}>{_escaped(unit.text)}" for unit in others
        )
        blocks.append(f"{_span(first.start_s, cue.units[-1].end_s, '.')}\n{line}\n")
    return "\n".join(blocks)


def cues(transcript: Transcript) -> Iterator[Cue]:
    """The words in lines of at most 42 characters and 7 s, a new one after a full stop or a pause.

    A script that writes without spaces has words longer than a line: there, characters are taken.
    """
    units, separator = transcript.words, " "
    if any(len(word.text) > LINE_CHARACTERS for word in units):
        units, separator = transcript.characters, ""
    cue = Cue([], separator)
    for unit in units:
        if cue.units:
            too_long = len(cue.text) + len(separator) + len(unit.text) > LINE_CHARACTERS
            too_slow = unit.end_s - cue.units[0].start_s > CUE_S
            paused = unit.start_s - cue.units[-1].end_s > PAUSE_S
            if too_long or too_slow or paused or cue.text.endswith((".", "?", "!", "。")):
                yield cue
                cue = Cue([], separator)
        cue.units.append(unit)
    if cue.units:
        yield cue


def _span(start_s: float, end_s: float, mark: str) -> str:
    return f"{_clock(start_s, mark)} --> {_clock(end_s, mark)}"


def _clock(seconds: float, mark: str) -> str:
    """01:02:03.456, with ``mark`` before the milliseconds."""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def as_textgrid(transcript: Transcript) -> str:
    """Praat's TextGrid: tiers of words, of their confidence, and of characters."""
    confidences = [w._replace(text=f"{w.confidence:.4f}") for w in transcript.words]
    tiers = {"words": transcript.words, "confidence": confidences}
    tiers["characters"] = transcript.characters
    end_s = f"{transcript.duration_s:.6f}"
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0", f"xmax = {end_s}", "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, timed) in enumerate(tiers.items(), start=1):
        intervals = _tiling(timed, transcript.duration_s)
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{name}"',
            "        xmin = 0",
            f"        xmax = {end_s}",
            f"        intervals: size = {len(intervals)}",
        ]
        for i, (start_s, stop_s, text) in enumerate(intervals, start=1):
            quoted = text.replace('"', '""')
            lines += [
                f"        intervals [{i}]:",
                f"            xmin = {start_s:.6f}",
                f"            xmax = {stop_s:.6f}",
                f'            text = "{quoted}"',
            ]
    return "\n".join(lines) + "\n"


def _tiling(timed: Sequence[Timed], duration_s: float) -> list[tuple[float, float, str]]:
    """(start, end, text) of the words and, with empty text, of what lies between them."""
    intervals, reached_s = [], 0.0
    for word in timed:
        if word.start_s > reached_s:
            intervals.append((reached_s, word.start_s, ""))
        intervals.append((word.start_s, word.end_s, word.text))
        reached_s = word.end_s
    if reached_s < duration_s or not intervals:
        intervals.append((reached_s, duration_s, ""))
    return intervals


class Format(NamedTuple):
    """How transcripts are written, and to files of which ending.

    Those of several recordings may follow each other in one stream when the format is ``joinable``,
    after the ``header`` of the whole.
    """

    write: Callable[[Transcript], str]
    ending: str
    joinable: bool
    header: str = ""


FORMATS = {
    "text": Format(as_text, ".txt", True),
    "json": Format(as_json, ".json", False),
    "jsonl": Format(as_jsonl, ".jsonl", True),
    "tsv": Format(as_tsv, ".tsv", True, "audio\tstart_s\tend_s\tconfidence\tword\n"),
    "ctm": Format(as_ctm, ".ctm", True),
    "srt": Format(as_srt, ".srt", False),
    "vtt": Format(as_vtt, ".vtt", False),
    "textgrid": Format(as_textgrid, ".TextGrid", False),
}
