"""Hides what decoders write to standard error, on request.

The mp3 decoder inside libsndfile writes its messages straight to file descriptor 2, where they
would bury a command's own one-line messages. The descriptor belongs to the whole process, so a
library leaves it alone: commands call ``hide_decoder_messages`` after they have given sys.stderr a
descriptor of its own.
"""

import contextlib
import os
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_is_on, _n_users, _saved = False, 0, -1


def hide_decoder_messages(hide: bool = True) -> None:
    """Switches on or off that ``quiet_decoder`` hides what is written to descriptor 2."""
    global _is_on
    _is_on = hide


@contextlib.contextmanager
def quiet_decoder() -> Iterator[None]:
    """Encloses single calls of the decoder; threads may decode at the same time."""
    global _n_users, _saved
    if not _is_on:
        yield
        return
    with _lock:
        _n_users += 1
        if _n_users == 1:
            _saved = os.dup(2)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
    try:
        yield
    finally:
        with _lock:
            _n_users -= 1
            if _n_users == 0:
                os.dup2(_saved, 2)
                os.close(_saved)
