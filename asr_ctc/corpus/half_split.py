"""The mark that lies in a corpus while `split` replaces its tables, which must all be of one draw.

Tables of two draws would share clips between train and test. A process that is killed between the
renames leaves the mark, and the tables that it names are refused until `split` has run again.
"""

from collections.abc import Iterable
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically

MARK = "split-not-finished.txt"


def mark_half_split(folder: Path, splits: Iterable[str]) -> None:
    """From now on these splits are refused; the mark is on the disk when this returns."""
    write_atomically(folder / MARK, "".join(f"{split}\n" for split in splits).encode())


def unmark_half_split(folder: Path) -> None:
    (folder / MARK).unlink(missing_ok=True)


def refuse_half_split(folder: Path, split: str) -> None:
    """UserError when the table of a split may be of another draw than those of the others."""
    mark = folder / MARK
    try:
        splits = mark.read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{mark}: cannot be read ({error.strerror})") from None
    if split in splits or not splits:
        raise UserError(
            f"{mark} says that `split` was stopped while it replaced {', '.join(splits)}: they may "
            "share clips. Run the same `split` again with --force (unless it is running now)"
        )
