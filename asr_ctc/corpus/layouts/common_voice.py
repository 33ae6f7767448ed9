"""Common Voice, any release: columns are found by name.

FOLDER/{split}.tsv
FOLDER/clips/*.mp3
"""

from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.layouts.table import Table, no_such_split
from asr_ctc.corpus.layouts.tsv import read_tsv

HOW_TO_GET_ONE = (
    "Get a Common Voice release from mozilladatacollective.com, in a browser or by `fetch`, and "
    "name its archive or folder, or run `make demo` to make a small corpus"
)
MOST_HEADER_BYTES = 1 << 16


def read_commonvoice(folder: Path, split: str) -> Table:
    """FOLDER/SPLIT.tsv of any release. A path without an ending gets that of an mp3 file."""
    tsv, clips = commonvoice_table(folder, split), folder / "clips"
    if not tsv.is_file():
        available = (path.stem for path in folder.glob("*.tsv") if _lists_clips(path))
        raise no_such_split(tsv, available, f". {HOW_TO_GET_ONE}")
    if not clips.is_dir():
        raise UserError(f"no clips: looked for the folder {clips}. {HOW_TO_GET_ONE}")
    return read_tsv(tsv, clips, "client_id", with_mp3_ending, hint=" (as in Common Voice)")


def commonvoice_table(folder: Path, split: str) -> Path:
    """The table of a split."""
    return folder / f"{split}.tsv"


def _lists_clips(tsv: Path) -> bool:
    """Whether a table has clips and their sentences, unlike clip_durations and reported."""
    try:
        with tsv.open("rb") as lines:
            header = lines.readline(MOST_HEADER_BYTES).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return False
    return {b"path", b"sentence"} <= set(header.rstrip(b"\r\n").split(b"\t"))


def with_mp3_ending(path: bytes) -> bytes:
    """The file name of a clip: early releases list clips without their ending."""
    if path.endswith(b".mp3") or Path(path.decode()).suffix:
        return path
    return path + b".mp3"
