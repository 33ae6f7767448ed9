"""Standard error and logging of the command line."""

import contextlib
import logging
import os
import sys

from asr_ctc.base.printable import SafeFormatter
from asr_ctc.base.quiet import hide_decoder_messages


def separate_standard_error() -> None:
    """Gives sys.stderr a file descriptor of its own, and hides what decoders write to descriptor 2.

    Progress bars and messages stay visible.
    """
    with contextlib.suppress(AttributeError, OSError, ValueError):  # no stream, or a stand-in
        if sys.stderr.fileno() == 2:
            own = os.dup(2)
            encoding = sys.stderr.encoding
            sys.stderr = open(own, "w", buffering=1, encoding=encoding, errors="backslashreplace")  # noqa: SIM115
            hide_decoder_messages()


def configure_logging() -> None:
    """Sends log lines to standard error, above any progress bar; standard output is for results."""
    log = logging.getLogger("asr_ctc")
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.raiseExceptions = False  # no traceback if the disk of the log is full
    for handler in list(log.handlers):
        log.removeHandler(handler)
    handler = _BarAwareHandler()
    handler.setFormatter(SafeFormatter())
    log.addHandler(handler)


class _BarAwareHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except (OSError, ValueError):
            # Nobody reads standard error any more; the work goes on, and a run's log has it all.
            # What waits in the stream would fail again wherever it is flushed.
            sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
