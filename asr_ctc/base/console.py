"""Standard error and the log of a command line."""

import contextlib
import logging
import os
import sys

from asr_ctc.base.printable import SafeFormatter
from asr_ctc.base.quiet import hide_decoder_messages


def separate_standard_error() -> None:
    """Gives sys.stderr a file descriptor of its own, and hides what decoders write to descriptor 2.

    What bars and messages say meanwhile is seen all the same.
    """
    with contextlib.suppress(AttributeError, OSError, ValueError):  # none, or a stand-in
        if sys.stderr.fileno() == 2:
            own = os.dup(2)
            encoding = sys.stderr.encoding
            sys.stderr = open(own, "w", buffering=1, encoding=encoding, errors="backslashreplace")  # noqa: SIM115
            hide_decoder_messages()


def configure_logging() -> None:
    """Log lines go to standard error, above a progress bar when there is one; results to output."""
    log = logging.getLogger("asr_ctc")
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.raiseExceptions = False  # a log on a full disk is no reason for a traceback
    for handler in list(log.handlers):
        log.removeHandler(handler)
    handler = _BarAwareHandler()
    handler.setFormatter(SafeFormatter())
    log.addHandler(handler)


class _BarAwareHandler(logging.Handler):
    def emit(self, record):
        from tqdm import tqdm

        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except (OSError, ValueError):
            # Nobody reads standard error any more; the work goes on, and a run's log has it all.
            # What waits in the stream would fail again wherever it is flushed.
            sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
