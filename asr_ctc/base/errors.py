"""Errors that a person can cause and mend: the command line prints one line and exits with 2."""

from pathlib import Path

from asr_ctc.base.printable import one_line

LONGEST = 4000  # characters


class UserError(Exception):
    """Something the user gave is wrong; the message says what, where, and what to do about it.

    As text it is one line that can be read, whatever the names in it hold and however long.
    """

    def __str__(self) -> str:
        text = one_line(super().__str__())
        if len(text) <= LONGEST:
            return text
        return f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


class AudioError(UserError):
    """A file that cannot be used as audio; ``reason`` is the short cause, without the path."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self) -> tuple:
        return type(self), (self.path, self.reason)
