"""Errors that a person can cause and mend: the command line prints one line and exits with 2."""

import errno


class UserError(Exception):
    """Something the user gave is wrong; the message says what, where, and what to do about it."""


# What the system has no more of: no fault of the file that was to be opened.
LIMITS = {
    errno.EMFILE: "too many open files for this process: raise `ulimit -n`, or lower --nthreads",
    errno.ENFILE: "too many open files on this machine: end what else opens them",
    errno.ENOMEM: "out of memory: raise `ulimit -v`, or lower --nthreads or --batch_size",
}


def exhausted(error: OSError) -> UserError:
    """What to raise in place of an error of the kinds of LIMITS: it ends a command."""
    where = f" ({error.filename})" if error.filename else ""
    return UserError(f"{LIMITS[error.errno]}{where}")


class AudioError(UserError):
    """A file that cannot be used as audio; ``reason`` is the short cause, without the path."""

    def __init__(self, path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self):
        return type(self), (self.path, self.reason)
