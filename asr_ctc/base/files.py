"""Files that are there whole, or not at all; folders that one process works in."""

import contextlib
import functools
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]  # asked for before it is used

from asr_ctc.base.errors import UserError

UNFINISHED = ".unfinished"
PIECE_BYTES = 1 << 22
MOST_TEXT_BYTES = 1 << 30  # of a text that is held as a whole
_DESCRIPTOR = re.compile(r"(?:/dev/fd|/proc/self/fd)/(\d+)")
UMASK = os.umask(0)  # it can be read only by setting it
os.umask(UMASK)
OWNED, SHOWN = 0, 1  # bytes that a process locks in a file that it locks; others look at the second


def write_atomically(path: Path, data: bytes | memoryview, previous: Path | None = None) -> None:
    """Replaces a file by ``data`` (bytes) whole or not at all, as ``open_atomically``."""
    with open_atomically(path, previous) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomically(path: Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write bytes to, which replaces ``path`` whole or not at all.

    The data is written beside the file, flushed to the disk, then renamed: a full disk, or a power
    cut at any moment, leaves the previous file. The file that was there is kept as ``previous``
    when that is named. A link stays, and what it leads to is replaced. What is no regular file,
    such as a pipe or a device, is written into. UserError says why it could not be written.
    """
    path = Path(path)
    temporary = None
    note = ""
    try:
        special = _open_special(path)
        if special is not None:
            with special as file:
                yield file
            return
        target = Path(os.path.realpath(path))
        note = "; the file there before is kept" if target.is_file() else ""
        _remove_leftovers_once(target.parent)
        handle, temporary = _make_locked(target)
        with os.fdopen(handle, "wb") as file:
            lock = os.dup(handle)  # until the rename, so that none takes it for a leftover
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                file.close()
                os.chmod(temporary, _mode_of(target))
                if previous is not None and target.exists():
                    _keep(target, previous)
                os.replace(temporary, target)
                temporary = None
            finally:
                os.close(lock)
        _flush_folder(target.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}{note}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):  # interrupted just after the rename
                os.unlink(temporary)


def _mode_of(target: Path) -> int:
    """The permissions of the file that is replaced, else those that a new file has."""
    return stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~UMASK


def _open_special(path: Path) -> BinaryIO | None:
    """What is there already and is no regular file, open to write; None for anything else.

    The process's own descriptors, such as /dev/stdout, are shared, not opened anew: they may lead
    to a regular file whose end moves.
    """
    descriptor = {"/dev/stdout": 1, "/dev/stderr": 2}.get(str(path))
    if descriptor is None and (match := _DESCRIPTOR.fullmatch(str(path))):
        descriptor = int(match[1])
    if descriptor is not None:
        if sys.stdout is not None:
            sys.stdout.flush()
        return os.fdopen(os.dup(descriptor), "wb")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # a folder is refused by the rename
        return None
    return open(path, "wb")


def read_whole_text(path: Path, what: str) -> str:
    """The UTF-8 text of a file that is held in memory as a whole; ``what`` it should be is said of
    one that is too large. UserError for that, and for one that cannot be read."""
    try:
        if path.stat().st_size > MOST_TEXT_BYTES:
            raise UserError(f"{path}: is too large for {what}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def why_no_folder(path: Path, error: OSError) -> str:
    """Why a folder cannot be made, or written to: a file that is in its place is named."""
    for place in (path, *path.parents):
        if os.path.lexists(place):
            if place.is_dir():
                break
            return f"{place} is a file where a folder is needed: name another, or move it away"
    return error.strerror or str(error)


def open_own(path: Path) -> TextIO:
    """A text file of a run's folder, to add lines to. A link or a device in its place is refused.

    Whoever may write into the folder could make the run write anywhere through a link. UserError
    when it cannot be opened.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        is_link = os.path.islink(path)
        reason = "is a link, and a run writes its own files only" if is_link else error.strerror
        raise UserError(f"cannot write {path}: {reason}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UserError(f"cannot write {path}: it is no regular file")
    return open(handle, "a", encoding="utf-8", errors="backslashreplace")


def refuse_links(folder: Path, names: Iterable[str]) -> None:
    """UserError when one of these files of a run's folder is a link: see ``open_own``."""
    for name in names:
        if os.path.islink(folder / name):
            raise UserError(
                f"{folder / name} is a link, and a run writes its own files only: move it away"
            )


def _keep(path: Path, previous: Path) -> None:
    """Gives a file a second name, so that it stays when another takes the first."""
    temporary = previous.with_name(f".{previous.name}{UNFINISHED}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without links: for a moment there is only the previous name
        temporary = path
    os.replace(temporary, previous)


def _flush_folder(folder: Path) -> None:
    """A rename is on the disk only when the folder is; some systems cannot flush one."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_unfinished(folder: Path) -> None:
    """Removes, from a folder and those in it, what killed processes were writing."""
    for path in folder.rglob(f".*{UNFINISHED}"):
        _remove_leftover(path)


@functools.cache
def _remove_leftovers_once(folder: Path) -> None:
    """As ``remove_unfinished``, of the folder alone and once in a process: it may be large."""
    with os.scandir(folder) as entries:
        leftovers = [e.path for e in entries if e.name[0] == "." and e.name.endswith(UNFINISHED)]
    for path in leftovers:
        _remove_leftover(path)


def _remove_leftover(path: str | PathLike[str]) -> None:
    """Removes an unfinished file, unless a process has locked it: that one still writes."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):  # locked; or another has removed it, or may alone
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(handle)


def _make_locked(target: Path) -> tuple[int, str]:
    """(handle, name) of a new file beside ``target``, locked until all its handles are closed."""
    while True:
        handle, name = tempfile.mkstemp(UNFINISHED, f".{target.name}.", target.parent)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # some network drives have no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else one has taken it for a leftover before it was locked
            return handle, name
        os.close(handle)


def lock_file(file: IO[Any]) -> bool:
    """Acquires an exclusive lock on a file open to write, without waiting.

    False if another process holds it. Released when the file is closed or the process ends; child
    processes do not inherit it.
    """
    if fcntl is None:
        return True
    return _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, OWNED) and _lock(file, fcntl.LOCK_EX, SHOWN)


def wait_for_lock(file: IO[Any]) -> None:
    """Acquires an exclusive lock on an open file, once no other process holds it, until closed."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # some network drives have no locks
            fcntl.flock(file, fcntl.LOCK_EX)


def is_locked(path: Path) -> bool:
    """True when another process has locked the file; asking keeps none from locking it."""
    if fcntl is None:
        return False
    try:
        # A pipe in its place must not be waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return not _lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB, SHOWN)
    except OSError:
        return False


class Lines:
    """The lines of an open binary file without their line feeds, many at a time, none endless.

    UserError, before much of it is held, for a line of more than ``most_bytes``.
    """

    def __init__(self, path: str | PathLike[str], file: BinaryIO, most_bytes: int = 1 << 20):
        self.path, self.file, self.most_bytes = path, file, most_bytes
        self.n_taken = 0
        self._lines: list[bytes] = []
        self._next, self._rest = 0, b""

    def take(self, most: int) -> list[bytes]:
        """The next lines, at most so many; none at the end of the file."""
        if self._next == len(self._lines):
            self._read()
        lines = self._lines[self._next : self._next + most]
        self._next += len(lines)
        self.n_taken += len(lines)
        return lines

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


def _lock(file: IO[Any], kind: int, byte: int) -> bool:
    """Locks one byte of a file, which need not be there; False when another process has it."""
    try:
        fcntl.lockf(file, kind, 1, byte)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # some network drives have no locks
        return True
    return True
