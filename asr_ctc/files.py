"""Files that are there whole, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from asr_ctc.errors import UserError


def write_atomically(path: Path, data) -> None:
    """Replaces a file by ``data`` (bytes) whole or not at all, as ``open_atomically``."""
    with open_atomically(path) as file:
        file.write(data)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes to, which replaces ``path`` whole or not at all.

    The data is written beside the file, flushed to the disk, then renamed: a full disk, or a power
    cut at any moment, leaves the previous file. UserError says why it could not be written.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        kept = "; the file there before is kept" if path.exists() else ""
        raise UserError(f"cannot write {path}: {error.strerror or error}{kept}") from None
    finally:
        if temporary is not None:
            os.unlink(temporary)
