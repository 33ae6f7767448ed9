"""Which recordings a command works on, and where what it writes about each of them goes."""

import contextlib
import glob
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.recognition.formats import FORMATS, Transcript

AUDIO_ENDINGS = {
    *(".mp3", ".wav", ".flac", ".ogg", ".oga", ".opus"),
    *(".aif", ".aiff", ".au", ".caf", ".w64"),
}


def find_recordings(words: Sequence[str]) -> list[Path]:
    """The audio files that ``words`` name: files, folders (all below them), and patterns such as
    '*.mp3'; each once, those of a folder or pattern in alphabetical order.

    '-' stands for standard input. A file that is not there is left for its reader to complain
    about. UserError for a folder without audio and for a pattern that nothing matches.
    """
    found: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            files = sorted(f for f in path.rglob("*") if f.suffix.lower() in AUDIO_ENDINGS)
            if not files:
                raise UserError(f"--audiofile {word}: the folder holds no audio")
        elif glob.has_magic(word) and not path.exists():
            files = [Path(match) for match in sorted(glob.glob(word, recursive=True))]
            if not files:
                raise UserError(f"--audiofile {word}: nothing matches")
        else:
            files = [path]
        found |= dict.fromkeys(files)
    return list(found)


@contextlib.contextmanager
def standard_input() -> Iterator[Path]:
    """A temporary file of all that comes in by standard input, for decoders that must seek."""
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

    Without a name, the format is json, or jsonl where several go to standard output. UserError for
    a format that cannot hold several recordings, for two that would become one file, and for a
    folder that cannot be made.
    """

    def __init__(self, format_name: str | None, out: str | None, recordings: Sequence[str]):
        several = len(recordings) > 1
        name = format_name or ("jsonl" if several and out is None else "json")
        self.format, self.folder = FORMATS[name], None
        if out is None:
            if several and not self.format.joinable:
                raise UserError(
                    f"--format {name} holds one recording: --out FOLDER writes a file for each"
                )
            sys.stdout.write(self.format.header)
            return
        self.folder = Path(out)
        taken: dict[Path, str] = {}
        for recording in recordings:
            file = self._file(recording)
            if taken.get(file, recording) != recording:
                raise UserError(
                    f"--out {out}: {taken[file]} and {recording} would both become {file.name}"
                )
            taken[file] = recording
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {out}: cannot be written ({error.strerror})") from None

    def _file(self, recording: str) -> Path:
        name = "stdin" if recording == "-" else Path(recording).stem
        return self.folder / f"{name}{self.format.ending}"

    def write(self, transcript: Transcript) -> None:
        text = self.format.write(transcript)
        if self.folder is None:
            print(text, end="", flush=True)
        else:
            text = self.format.header + text
            write_atomically(self._file(transcript.audio), text.encode("utf-8", "backslashreplace"))
