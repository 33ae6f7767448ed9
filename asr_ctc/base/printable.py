"""Text made safe to print, whoever wrote it, and streams that can print any text.

A transcript, a name or a model file may contain characters that control a terminal (escape
sequences, bells), reorder a line, or do not exist in the stream's encoding.
"""

import codecs
import contextlib
import copy
import functools
import io
import json
import logging
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from numbers import Number
from typing import Any, TextIO, TypeVar, cast

Result = TypeVar("Result")

# Controls except line feed and tab; line separators; direction overrides; lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_INVISIBLE = re.compile(
    "[\xad\u061c\u180e\u200b\u200e\u200f\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]"
)
_INVISIBLE_MARKS = re.compile("[\u034f\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_BLANK_LETTERS = "\u115f\u1160\u3164\uffa0"  # Hangul fillers


def printable(text: str) -> str:
    r"""``text`` with control characters written as \x1b, or \u009b as in JSON.

    Line feeds and tabs stay.
    """
    return _UNSAFE.sub(_escaped, str(text))


def one_line(text: str) -> str:
    r"""As ``printable``, but also escapes \n, \t and invisible characters (\u200b), for names and
    messages of one line. Joiners and variation selectors stay: names in many scripts need them."""
    text = printable(text).replace("\n", "\\n").replace("\t", "\\t")
    return _INVISIBLE.sub(_escaped, text)


def without_controls(text: str) -> str:
    """``text`` on one line, with single spaces, and U+FFFD for controls and lone surrogates.

    For line-based file formats. Direction marks stay: some scripts need them.
    """
    return _CONTROLS.sub("\ufffd", " ".join(text.split()))


def _escaped(unsafe: re.Match) -> str:
    code = ord(unsafe[0])
    if unsafe[0] == "\r":
        return "\\r"
    return f"\\x{code:02x}" if code < 32 else f"\\u{code:04x}"


def visible_text(text: str) -> str:
    """``text`` with invisible characters written as <U+200B>; spaces and accents stay."""
    return "".join(
        f"<U+{ord(c):04X}>" if unicodedata.category(c)[0] == "C" or c in _BLANK_LETTERS else c
        for c in text
    )


def visible_form(character: str) -> str:
    """A character, or another unit, in visible form: itself, 'space', or its code point, with its
    name if it is invisible."""
    if character == " ":
        return "space"
    if len(character) > 1:  # a phoneme, or a word piece
        return visible_text(character)
    if is_lone_mark(character):
        return f"U+{ord(character):04X}"
    if unicodedata.category(character)[0] not in "ZCM" and character not in _BLANK_LETTERS:
        return character
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X} {name}".rstrip()


def is_lone_mark(text: str) -> bool:
    """True for a single visible combining mark, which needs a letter to stand on."""
    return (
        len(text) == 1 and unicodedata.category(text)[0] == "M" and not _INVISIBLE_MARKS.match(text)
    )


class SafeFormatter(logging.Formatter):
    """Formats log lines with ``printable``, and their arguments with ``one_line``."""

    def format(self, record: logging.LogRecord) -> str:
        safe = copy.copy(record)
        if isinstance(record.args, tuple):
            safe.args = tuple(a if isinstance(a, Number) else _Safe(a) for a in record.args)
        safe.msg, safe.args = printable(safe.getMessage()), ()
        return super().format(safe)


class _Safe:
    """An argument of a log message, formatted on one line."""

    def __init__(self, value: Any):
        self.value = value

    def __str__(self) -> str:
        return one_line(self.value)

    def __repr__(self) -> str:
        return one_line(repr(self.value))


class _SafeOutput:
    """A text stream that makes what it writes ``printable``."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def with_safe_streams(main: Callable[..., Result]) -> Callable[..., Result]:
    """Decorates the entry point of a command line: its output is safe, and can always be encoded.

    Characters that the encoding of standard output lacks are written as in JSON. A closed stream
    is replaced by the null device.
    """

    @functools.wraps(main)
    def run(*args: Any, **kwargs: Any) -> Result:
        for descriptor, name in (1, "stdout"), (2, "stderr"):
            if getattr(sys, name) is None:
                setattr(sys, name, _nowhere(descriptor))
        stdout = cast(io.TextIOWrapper, sys.stdout)
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):  # a stand-in
            stdout.reconfigure(errors=ERRORS)
        sys.stdout = cast(TextIO, _SafeOutput(stdout))
        try:
            return main(*args, **kwargs)
        finally:
            if isinstance(sys.stdout, _SafeOutput):
                sys.stdout = stdout

    return run


def _nowhere(descriptor: int) -> io.TextIOBase:
    """A stream to the null device; it occupies the descriptor, so that no other file gets it."""
    opened = os.open(os.devnull, os.O_WRONLY)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    return open(descriptor, "w", encoding="utf-8", closefd=False)


def _as_in_json(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return json.dumps(missing)[1:-1], error.end


ERRORS = "asr_ctc.as_in_json"
codecs.register_error(ERRORS, _as_in_json)
