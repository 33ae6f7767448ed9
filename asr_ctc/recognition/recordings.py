"""Which recordings a command works on, and where what it writes about each of them goes."""

import contextlib
import glob
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from asr_ctc.audio import decode as audio
from asr_ctc.audio import pyav
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.base.files import why_no_folder, write_atomically
from asr_ctc.display.terminal import several
from asr_ctc.recognition.formats import FORMATS, Transcript

log = logging.getLogger(__name__)

AUDIO_ENDINGS = frozenset(
    ".mp3 .mpga .wav .bwf .rf64 .flac .ogg .oga .opus .aif .aiff .aifc .au .snd .caf .w64".split()
)


def find_recordings(words: Sequence[str]) -> list[Path]:
    """The audio files that ``words`` name: files, folders (all below them), and patterns such as
    '*.mp3'; each once, those of a folder or pattern in alphabetical order.

    '-' stands for standard input. A file that is not there is left for its reader to complain
    about. Of a folder, recordings that cannot be read without PyAV are passed over, which a line
    says. UserError for a folder without audio and for a pattern that nothing matches.
    """
    recordings: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        if _is_folder(path):
            files = _recordings_below(path)
        elif glob.has_magic(word) and not _exists(path):
            files = [Path(match) for match in sorted(glob.glob(word, recursive=True))]
            if not files:
                raise UserError(f"--audiofile {word}: nothing matches")
        else:
            files = [path]
        recordings |= dict.fromkeys(files)
    return list(recordings)


def _recordings_below(folder: Path) -> list[Path]:
    """The audio files below a folder, also through links to folders, each folder once."""
    readable = AUDIO_ENDINGS | pyav.ENDINGS if pyav.is_installed() else AUDIO_ENDINGS
    files, skipped, visited = [], [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in visited:  # a link leads back
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        for file in (Path(place, name) for name in names):
            if file.suffix.lower() in readable:
                files.append(file)
            elif file.suffix.lower() in pyav.ENDINGS:
                skipped.append(file)
    note = ""
    if skipped:
        examples = ", ".join(str(file.relative_to(folder)) for file in sorted(skipped)[:3])
        note = (
            f"skipped {several(len(skipped), 'recording')} for want of a package (pip install "
            f"av): {examples}{', ...' if len(skipped) > 3 else ''}"
        )
    if not files:
        raise UserError(f"--audiofile {folder}: the folder holds no audio{note and f'; {note}'}")
    if note:
        log.warning("note: %s: %s", folder, note)
    return sorted(files)


def _is_folder(path: Path) -> bool:
    with contextlib.suppress(ValueError, OSError):  # a NUL in it, or too long
        return path.is_dir()
    return False


def _exists(path: Path) -> bool:
    with contextlib.suppress(ValueError, OSError):
        return path.exists()
    return False


@contextlib.contextmanager
def standard_input() -> Iterator[Path]:
    """A temporary file of all that comes in by standard input, for decoders that must seek."""
    if sys.stdin is None:
        raise UserError("--audiofile -: standard input is closed")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "stdin")
        with open(file, "wb") as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
        yield file


def seconds_of(files: Iterable) -> float:
    """The length of all files together as their headers say it; what cannot be read counts 0."""
    total_s = 0.0
    for file in files:
        with contextlib.suppress(AudioError):
            total_s += audio.duration_s(file)
    return total_s


def text_beside(path: Path) -> str:
    """What the file of the same name ending in .txt holds; UserError when it cannot be read."""
    file = path.with_suffix(".txt")
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if not path.exists():
            raise UserError(f"{path}: no such file") from None
        raise UserError(f"{path}: no text beside it, {file.name} (or --text)") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"{file}: cannot be read ({reason})") from None


class TranscriptWriter:
    """Writes the transcripts of some recordings: to a file each in the folder ``out``, else to
    standard output, one after the other.

    Without a name, the format is json, or jsonl where several go to standard output. There each
    text of several has the name of its recording before it: "NAME: text". UserError for
    a format that cannot hold several recordings, for two that would become one file, and for a
    folder that cannot be made.
    """

    def __init__(self, format_name: str | None, out: str | None, recordings: Sequence[str]):
        several = len(recordings) > 1
        name = format_name or ("jsonl" if several and out is None else "json")
        self.format = FORMATS[name]
        self.folder: Path | None = None
        self.files: list[Path] = []
        self.names_each = name == "text" and several
        if out is None:
            if several and not self.format.joinable:
                raise UserError(
                    f"--format {name} holds one recording: --out FOLDER writes a file for each"
                )
            sys.stdout.write(self.format.header)
            return
        self.folder = Path(out)
        owners: dict[Path, str] = {}
        for recording in recordings:
            file = self.folder / self._file_name(recording)
            if owners.get(file, recording) != recording:
                raise UserError(
                    f"--out {out}: {owners[file]} and {recording} would both become {file.name}"
                )
            owners[file] = recording
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = why_no_folder(self.folder, error)
            raise UserError(f"--out {out}: cannot be written ({why})") from None

    def _file_name(self, recording: str) -> str:
        name = "stdin" if recording == "-" else Path(recording).stem
        return f"{name}{self.format.ending}"

    def write(self, transcript: Transcript) -> None:
        text = self.format.write(transcript)
        if self.folder is None:
            name = f"{transcript.audio}: " if self.names_each else ""
            print(f"{name}{text}", end="", flush=True)
        else:
            text = self.format.header + text
            file = self.folder / self._file_name(transcript.audio)
            # A name of a file may hold bytes that are no text.
            write_atomically(file, text.encode("utf-8", "backslashreplace"))
            self.files.append(file)

    def report(self) -> None:
        """Says on standard error which files were written."""
        if self.folder is not None:
            files = str(self.files[0]) if len(self.files) == 1 else f"{len(self.files)} files"
            place = "" if len(self.files) == 1 else f" in {self.folder}"
            print(f"written: {files}{place}", file=sys.stderr)
