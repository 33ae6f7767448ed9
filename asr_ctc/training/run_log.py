"""A run's log: train.log, which is open, and its folder locked, as long as the run trains."""

import contextlib
import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import lock_file, open_own, refuse_links, remove_unfinished
from asr_ctc.base.printable import SafeFormatter
from asr_ctc.training.distributed import PACKAGE_LOG
from asr_ctc.training.epoch_log import METRICS
from asr_ctc.training.resume import LAST, PREVIOUS
from asr_ctc.training.run_folder import BEST, DESCRIPTION, SUMMARY, in_use

log = logging.getLogger(__name__)


@contextlib.contextmanager
def info_is_logged() -> Iterator[None]:
    """Where nobody has set the level of the log, train.log has its lines all the same."""
    level = PACKAGE_LOG.level
    if level == logging.NOTSET:
        PACKAGE_LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        PACKAGE_LOG.setLevel(level)


@contextlib.contextmanager
def log_to(file: Path, early: logging.handlers.MemoryHandler) -> Iterator[None]:
    """Writes the log to the run's folder too, which is locked as long as the log is open."""
    stream = open_own(file)
    if not lock_file(stream):
        stream.close()
        raise in_use(file.parent)
    refuse_links(file.parent, (BEST, LAST, PREVIOUS, DESCRIPTION, SUMMARY, METRICS))
    remove_unfinished(file.parent)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SafeFormatter("%(asctime)s %(message)s"))
    early.setTarget(handler)
    early.close()
    PACKAGE_LOG.addHandler(handler)
    try:
        yield
    except UserError as error:  # which the command line prints
        handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, str(error), (), None))
        raise
    finally:
        PACKAGE_LOG.removeHandler(handler)
        with contextlib.suppress(OSError):  # a full disk, which was reported already
            stream.close()
