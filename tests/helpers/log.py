"""The log of the package, which a command sets up for its process."""

import contextlib
import logging


@contextlib.contextmanager
def log_put_back():
    """The log has its handlers, level and way to the root back afterwards."""
    log = logging.getLogger("asr_ctc")
    handlers, level, propagate = list(log.handlers), log.level, log.propagate
    try:
        yield
    finally:
        log.handlers[:] = handlers
        log.setLevel(level)
        log.propagate = propagate
