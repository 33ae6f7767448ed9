"""Transcripts as text for other programs: JSON, tables, subtitles, TextGrid. Pure functions."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from asr_ctc.base.printable import without_controls

if TYPE_CHECKING:
    from asr_ctc.decoding.hypothesis import Hypothesis, Timed

LINE_CHARACTERS, CUE_S = 42, 7.0  # a line that fits a screen, and the time that one may stand
PAUSE_S = 1.0  # between words: a new subtitle


@dataclass(frozen=True)
class Transcript:
    """A recording and what was said in it.

    ``logp`` is the natural log probability of ``text`` as its decoder or aligner gives it,
    ``score`` that and what a language model added, ``labels`` its classes without blanks.
    ``alternatives`` are the other hypotheses, best first. ``notes`` say what a listener should
    know of the recording, such as a level far from that of the training.
    """

    audio: str
    duration_s: float
    text: str
    logp: float
    words: Sequence[Timed]
    characters: Sequence[Timed]
    alternatives: Sequence[Hypothesis] = ()
    score: float = math.nan
    labels: tuple[int, ...] = ()
    notes: Sequence[str] = ()

    def to(self, format: str) -> str:
        """The transcript as text, json, jsonl, tsv, ctm, srt, vtt or textgrid, headers included.

        ValueError for another format.
        """
        if format not in FORMATS:
            raise ValueError(f"format is {format!r}; needed one of {', '.join(FORMATS)}")
        return FORMATS[format].header + FORMATS[format].write(self)


class Cue(NamedTuple):
    """A line of subtitles: the words (or letters of a long one) on it, and what stands before each:
    a space, or nothing."""

    units: list[Timed]
    separators: list[str]

    @property
    def text(self) -> str:
        pairs = zip(self.separators, self.units, strict=True)
        return "".join(separator + unit.text for separator, unit in pairs)


def as_text(transcript: Transcript) -> str:
    return without_controls(transcript.text) + "\n"


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
            {"text": other.text, "logp": round(other.logp, 3)} for other in transcript.alternatives
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
    plain = _without_controls(transcript)
    return "".join(
        f"{plain.audio}\t{w.start_s:.3f}\t{w.end_s:.3f}\t{w.confidence:.4f}\t{w.text}\n"
        for w in plain.words
    )


def _without_controls(transcript: Transcript) -> Transcript:
    """What breaks no line, and no table: see ``terminal.without_controls``."""
    return replace(
        transcript,
        audio=without_controls(transcript.audio),
        words=[w._replace(text=without_controls(w.text)) for w in transcript.words],
        characters=[c._replace(text=without_controls(c.text)) for c in transcript.characters],
    )


def as_ctm(transcript: Transcript) -> str:
    """NIST's time-marked conversation: file, channel, start, duration, word, confidence."""
    plain = _without_controls(transcript)
    name = _one_word(PurePath(plain.audio).stem)
    return "".join(
        f"{name} 1 {w.start_s:.3f} {w.end_s - w.start_s:.3f} {_one_word(w.text)} "
        f"{w.confidence:.4f}\n"
        for w in plain.words
    )


def _one_word(text: str) -> str:
    return "_".join(text.split()) or "_"


def as_srt(transcript: Transcript) -> str:
    """SubRip subtitles."""
    blocks = [
        f"{number}\n{_span(cue.units[0].start_s, cue.units[-1].end_s, ',')}\n{cue.text}\n"
        for number, cue in enumerate(cues(_without_controls(transcript)), start=1)
    ]
    return "\n".join(blocks)


def as_vtt(transcript: Transcript) -> str:
    """WebVTT subtitles; a time before each word but the first of a line lets players mark it."""
    blocks = ["WEBVTT\n"]
    for cue in cues(_without_controls(transcript)):
        first, *others = cue.units
        line = _escaped(first.text) + "".join(
            f"{separator}<{_clock(unit.start_s, '.')}>{_escaped(unit.text)}"
            for separator, unit in zip(cue.separators[1:], others, strict=True)
        )
        blocks.append(f"{_span(first.start_s, cue.units[-1].end_s, '.')}\n{line}\n")
    return "\n".join(blocks)


def cues(transcript: Transcript) -> Iterator[Cue]:
    """The words in lines of at most 42 characters and 7 s, a new one after a full stop or a pause.

    A word that is longer than a line, as in scripts that write without spaces, is cut between
    letters.
    """
    cue = Cue([], [])
    for separator, unit in _units(transcript):
        if cue.units:
            too_long = len(cue.text) + len(separator) + len(unit.text) > LINE_CHARACTERS
            too_slow = unit.end_s - cue.units[0].start_s > CUE_S
            paused = unit.start_s - cue.units[-1].end_s > PAUSE_S
            full_stops = (".", "?", "!", "。") if separator else ("。", "！", "？")
            if too_long or too_slow or paused or cue.text.endswith(full_stops):
                yield cue
                cue = Cue([], [])
        cue.separators.append(separator if cue.units else "")
        cue.units.append(unit)
    if cue.units:
        yield cue


def _units(transcript: Transcript) -> Iterator[tuple[str, Timed]]:
    """Words and, of those longer than a line, letters, each after what separates it."""
    words = transcript.words
    for i, word in enumerate(words):
        if len(word.text) <= LINE_CHARACTERS:
            yield " ", word
        else:
            before_s = words[i - 1].end_s if i else 0.0
            after_s = words[i + 1].start_s if i + 1 < len(words) else math.inf
            first, *others = _letters(word, before_s, after_s, transcript.characters)
            yield " ", first
            yield from (("", letter) for letter in others)


def _letters(
    word: Timed, before_s: float, after_s: float, characters: Sequence[Timed]
) -> list[Timed]:
    """The letters of a word between two others, with their accents, timed.

    Where the characters that were heard are not as many as the word's, they are spread over it.
    """

    def between(first_s: float, last_s: float) -> list[Timed]:
        middles = ((c.start_s + c.end_s) / 2 for c in characters)
        pairs = zip(characters, middles, strict=True)
        return [character for character, middle_s in pairs if first_s <= middle_s <= last_s]

    n = len(word.text)
    timed = between(before_s, after_s)
    if len(timed) != n:
        timed = between(word.start_s, word.end_s) or _evenly(word, n)
    letters, end = [], 0
    for text in _clusters(word.text):
        start, end = end, end + len(text)
        first = timed[start * len(timed) // n]
        last = timed[(end * len(timed) - 1) // n]
        letters.append(word._replace(text=text, start_s=first.start_s, end_s=last.end_s))
    return letters


def _evenly(word: Timed, n: int) -> list[Timed]:
    """The times of n parts of a word, all of one length."""
    each_s = (word.end_s - word.start_s) / n
    edges_s = [word.start_s + i * each_s for i in range(n + 1)]
    return [word._replace(start_s=a, end_s=b) for a, b in pairwise(edges_s)]


def _clusters(text: str) -> list[str]:
    """Characters, each with the marks and the joiners that follow it."""
    clusters: list[str] = []
    for character in text:
        joins = unicodedata.category(character)[0] == "M" or character in "\u200c\u200d"
        if clusters and (joins or clusters[-1].endswith("\u200d")):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


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
    transcript = _without_controls(transcript)
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
