"""Files that are there whole, or not at all."""

import os
import tempfile
from pathlib import Path

from asr_ctc.errors import UserError


def write_atomically(path: Path, data) -> None:
    """Replaces a file by ``data`` (bytes) whole or not at all.

    The data is written beside the file, flushed to the disk, then renamed: a full disk, or a power
    cut at any moment, leaves the previous file. UserError says why it could not be written.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
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
