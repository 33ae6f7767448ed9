"""Errors that a person can cause and mend: the command line prints one line and exits with 2."""


class UserError(Exception):
    """Something the user gave is wrong; the message says what, where, and what to do about it."""


class AudioError(UserError):
    """A file that cannot be used as audio; ``reason`` is the short cause, without the path."""

    def __init__(self, path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self):
        return type(self), (self.path, self.reason)
