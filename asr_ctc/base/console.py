"""Standard error and the log of a command line."""

import contextlib
import logging
import os
import sys
import threading


def separate_standard_error() -> None:
    """Gives sys.stderr a file descriptor of its own.

    While audio is decoded, descriptor 2 leads to nowhere (see audio.py): what bars and messages say
    meanwhile must be seen all the same.
    """
    with contextlib.suppress(AttributeError, OSError, ValueError):  # none, or a stand-in
        if sys.stderr.fileno() == 2:
            own = os.dup(2)
            encoding = sys.stderr.encoding
            sys.stderr = open(own, "w", buffering=1, encoding=encoding, errors="backslashreplace")  # noqa: SIM115


def hide_writer_threads() -> None:
    """Says nothing of the errors of tensorboard's threads, which are raised in the main one, too.

    Such as a full disk, of which one line is enough.
    """
    default = threading.excepthook

    def hook(args):
        if type(args.thread).__name__ != "_AsyncWriterThread":
            default(args)

    threading.excepthook = hook


def configure_logging() -> None:
    """Log lines go to standard error, above a progress bar when there is one; results to output."""
    log = logging.getLogger("asr_ctc")
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.raiseExceptions = False  # a log on a full disk is no reason for a traceback
    for handler in list(log.handlers):
        log.removeHandler(handler)
    log.addHandler(_BarAwareHandler())


class _BarAwareHandler(logging.Handler):
    def emit(self, record):
        from tqdm import tqdm

        # Nobody may read standard error any more; the run goes on, and its log has it all.
        with contextlib.suppress(OSError):
            tqdm.write(self.format(record), file=sys.stderr)
