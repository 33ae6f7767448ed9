"""Files that are there whole, or not at all; folders that one process works in."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

from asr_ctc.base.errors import UserError

UNFINISHED = ".unfinished"
PIECE_BYTES = 1 << 22
OWNED, SHOWN = 0, 1  # bytes that a process locks in a file that it takes; others look at the second


def write_atomically(path: Path, data, previous: Path | None = None) -> None:
    """Replaces a file by ``data`` (bytes) whole or not at all, as ``open_atomically``."""
    with open_atomically(path, previous) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomically(path: Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write bytes to, which replaces ``path`` whole or not at all.

    The data is written beside the file, flushed to the disk, then renamed: a full disk, or a power
    cut at any moment, leaves the previous file. The file that was there is kept as ``previous``
    when that is named. UserError says why it could not be written.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        if previous is not None and path.exists():
            _keep(path, previous)
        os.replace(temporary, path)
        temporary = None
        _flush_folder(path.parent)
    except OSError as error:
        kept = "; the file there before is kept" if path.exists() else ""
        raise UserError(f"cannot write {path}: {error.strerror or error}{kept}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):  # interrupted just after the rename
                os.unlink(temporary)


def _keep(path: Path, previous: Path) -> None:
    """Gives a file a second name, so that it stays when another takes the first."""
    beside = previous.with_name(f".{previous.name}{UNFINISHED}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    try:
        os.link(path, beside)
    except OSError:  # a file system without links: for a moment there is only the previous name
        beside = path
    os.replace(beside, previous)


def _flush_folder(folder: Path) -> None:
    """A rename is on the disk only when the folder is; some systems cannot flush one."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_unfinished(folder: Path) -> None:
    """Removes what a killed process was writing, from a folder where no other writes."""
    for path in folder.rglob(f".*{UNFINISHED}"):
        path.unlink(missing_ok=True)


def take(file) -> bool:
    """Takes a file, open to write, for this process until it closes it or ends, however it ends.

    False when another process has it. Processes made of this one do not have it.
    """
    if fcntl is None:
        return True
    return _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, OWNED) and _lock(file, fcntl.LOCK_EX, SHOWN)


def is_taken(path: Path) -> bool:
    """True when another process has taken the file; asking keeps none from taking it."""
    if fcntl is None:
        return False
    try:
        with open(path, "rb") as file:
            return not _lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB, SHOWN)
    except OSError:
        return False


class Lines:
    """The lines of an open binary file without their line feeds, many at a time, none endless.

    UserError, before much of it is held, for a line of more than ``most_bytes``.
    """

    def __init__(self, path, file: BinaryIO, most_bytes: int = 1 << 20):
        self.path, self.file, self.most_bytes = path, file, most_bytes
        self.n_taken = 0
        self._lines, self._next, self._rest = [], 0, b""

    def take(self, most: int) -> list[bytes]:
        """The next lines, at most so many; none at the end of the file."""
        if self._next == len(self._lines):
            self._read()
        taken = self._lines[self._next : self._next + most]
        self._next += len(taken)
        self.n_taken += len(taken)
        return taken

    def _read(self) -> None:
        self._lines, self._next = [], 0
        while not self._lines and (piece := self.file.read(PIECE_BYTES)):
            *self._lines, self._rest = (self._rest + piece).split(b"\n")
            for number, line in enumerate((*self._lines, self._rest), self.n_taken + 1):
                if len(line) > self.most_bytes:
                    most = f"{self.most_bytes:,} bytes"
                    raise UserError(f"{self.path}: line {number} is longer than {most}")
        if not self._lines and self._rest:
            self._lines, self._rest = [self._rest], b""


def _lock(file, kind: int, byte: int) -> bool:
    """Locks one byte of a file, which need not be there; False when another process has it."""
    try:
        fcntl.lockf(file, kind, 1, byte)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # some network drives have no locks
        return True
    return True
