"""Errors that a user can cause and fix: the command line prints one line and exits with 2."""

import errno
from pathlib import Path

from asr_ctc.base.printable import one_line

MAX_CHARACTERS = 4000


class UserError(Exception):
    """An error in the user's input; the message says what is wrong, where, and what to do about it.

    Its text is one printable line of bounded length, whatever names it quotes.
    """

    def __str__(self) -> str:
        text = one_line(super().__str__())
        if len(text) <= MAX_CHARACTERS:
            return text
        return f"{text[: MAX_CHARACTERS // 2]} … {text[-MAX_CHARACTERS // 2 :]}"


# What the system has no more of: no fault of the file that was to be opened.
LIMITS = {
    errno.EMFILE: "too many open files for this process: raise `ulimit -n`, or lower --nthreads",
    errno.ENFILE: "too many open files on this machine: end what else opens them",
    errno.ENOMEM: "out of memory: raise `ulimit -v`, or lower --nthreads or --batch_size",
}


def exhausted(error: OSError) -> UserError:
    """What to raise in place of an error of the kinds of LIMITS: it ends a command."""
    file_name = f" ({error.filename})" if error.filename else ""
    return UserError(f"{LIMITS[error.errno or errno.ENOMEM]}{file_name}")


class AudioError(UserError):
    """A file that cannot be used as audio; ``reason`` is the cause without the path."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self) -> tuple:
        return type(self), (self.path, self.reason)
