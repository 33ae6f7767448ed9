"""Tensorboard's file of a run."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.writer import FileWriter

from asr_ctc.base.errors import UserError


class CurveWriter(SummaryWriter):
    """Tensorboard's writer without its thread, whose errors nobody catches.

    UserError names the file when it cannot be written, as on a full disk.
    """

    file_writer: Any
    all_writers: Any

    def _get_file_writer(self) -> FileWriter:
        if self.file_writer is not None:
            return self.file_writer
        writer = _FileWriter(self.log_dir)
        self.file_writer, self.all_writers = writer, {self.log_dir: writer}
        if self.purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            writer.add_event(Event(step=self.purge_step, session_log=start))
        return writer

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        with contextlib.suppress(UserError) if error else contextlib.nullcontext():
            self.close()


class _FileWriter(FileWriter):
    def __init__(self, folder: Path):
        self.event_writer = _EventFile(Path(folder))


class _EventFile:
    """What torch needs of tensorboard's EventFileWriter."""

    def __init__(self, folder: Path):
        name = f"{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.0"
        self.path = folder / f"events.out.tfevents.{name}"
        with refuse_failed_writes(self.path):
            self._file = open(self.path, "ab")  # noqa: SIM115  closed by ``close``
        self._records = RecordWriter(self._file)
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self.flush()

    def get_logdir(self) -> str:
        return str(self.path.parent)

    def add_event(self, event: Event) -> None:
        with refuse_failed_writes(self.path):
            self._records.write(event.SerializeToString())

    def flush(self) -> None:
        with refuse_failed_writes(self.path):
            self._file.flush()

    def close(self) -> None:
        with refuse_failed_writes(self.path):
            self._file.close()


@contextlib.contextmanager
def refuse_failed_writes(path: Path) -> Iterator[None]:
    """Raises an OSError of writing as a UserError that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; the last save of the run stands"
        ) from None
