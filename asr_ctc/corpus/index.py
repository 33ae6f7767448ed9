"""What is found out about a corpus once, kept for the next time.

    INDEX_DIR/<corpus>-<place>-<content>.<what>.npz

``place`` stands for the layout, the folder and the split, ``content`` for every byte of the files
that list the clips. So a kept file is never stale: another content is another file, and replaces
it. Files are whole or not there, so that two runs may write them at once.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from asr_ctc.base.errors import LIMITS, UserError, exhausted
from asr_ctc.base.files import why_no_folder, write_atomically

log = logging.getLogger(__name__)

MOST_NAME_BYTES = 100  # of a corpus, in the name of a file
KEPT_OF_A_KIND = 8  # such as one for each character map
_warned_of: set[Path] = set()


def folder(index_dir: str | None = None) -> Path:
    """``--index_dir``, else the user's: $XDG_CACHE_HOME/asr_ctc, else ~/.cache/asr_ctc."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(index_dir or Path(caches) / "asr_ctc")


@dataclass(frozen=True)
class Index:
    """Files about one split. ``identity`` says what they were found from: {file: fingerprint}."""

    folder: Path
    name: str
    place: str
    identity: dict[str, str]

    @property
    def content(self) -> str:
        return _digest(json.dumps(self.identity, sort_keys=True).encode())

    def recall(self, what: str, n_rows: int | None = None) -> tuple[dict | None, str]:
        """(arrays, "") as they were kept, else (None, why they must be found again).

        Arrays of another length than ``n_rows``, when given, count as damaged.
        """
        file = self._file(what)
        if not file.exists():
            return None, self._why_missing(what)
        arrays, identity = _read(file)
        lengths = {len(array) for array in arrays.values()} if n_rows is not None else set()
        if identity != self.identity or lengths - {n_rows}:
            return None, f"{file} is damaged"
        return arrays, ""

    def keep(self, what: str, **arrays: np.ndarray) -> None:
        """Writes the arrays for the next time; warns once of a folder that cannot be written."""
        buffer = BytesIO()
        content = {"identity": np.array(json.dumps(self.identity)), **arrays}
        np.savez(buffer, **content)  # type: ignore[arg-type]  # none is called allow_pickle
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file(what), buffer.getbuffer())
            self._remove_outdated(what)
        except (OSError, UserError) as error:
            if self.folder not in _warned_of:
                why = why_no_folder(self.folder, error) if isinstance(error, OSError) else error
                log.warning("%s: the index is not kept, going on without: %s", self.folder, why)
            _warned_of.add(self.folder)

    def _file(self, what: str) -> Path:
        return self.folder / f"{self._stem}-{self.content}.{what}.npz"

    @property
    def _stem(self) -> str:
        name = re.sub(r"[^\w.]+", "-", self.name).encode()[-MOST_NAME_BYTES:]
        return f"{name.decode(errors='ignore')}-{self.place}".strip("-")

    def _others(self, what: str) -> list[Path]:
        pattern = f"{self._stem}-*.{what}.npz"
        return [file for file in self.folder.glob(pattern) if file != self._file(what)]

    def _why_missing(self, what: str) -> str:
        for file in self._others(what):
            before = _read(file)[1]
            changed = before.keys() ^ self.identity.keys()
            changed |= {n for n in before.keys() & self.identity if before[n] != self.identity[n]}
            if before:
                return f"changed since: {', '.join(sorted(changed))}"
        return "first time"

    def _remove_outdated(self, what: str) -> None:
        """What was found from another content, and the oldest of too many of a kind."""
        kind = what.split("-")[0]
        current = f"{self._stem}-{self.content}."
        of_kind = list(self.folder.glob(f"{self._stem}-*.{kind}*.npz"))
        outdated = [file for file in of_kind if not file.name.startswith(current)]
        valid = [file for file in of_kind if file.name.startswith(current)]
        outdated += sorted(valid, key=_time_of)[:-KEPT_OF_A_KIND]
        for file in outdated:
            file.unlink(missing_ok=True)


def _time_of(file: Path) -> float:
    """When it was written; the end of time when another run has removed it meanwhile."""
    try:
        return file.stat().st_mtime
    except OSError:
        return float("inf")


def _read(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays, identity) of a kept file; both empty when it is damaged."""
    try:
        with ZipFile(file) as archive:  # numpy reads no further than it needs to, and trusts
            if archive.testzip() is not None or len(archive.infolist()) != _n_members(file):
                return {}, {}
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        identity = json.loads(str(arrays.pop("identity")))
        if not all(isinstance(value, str) for value in identity.values()):
            return {}, {}
    except OSError as error:
        if error.errno in LIMITS:
            raise exhausted(error) from None
        return {}, {}
    except Exception:  # zipfile and numpy fail on damaged bytes in a dozen ways
        return {}, {}
    return arrays, identity


def _n_members(file: Path) -> int:
    """How many members a zip file without a comment announces, which zipfile does not compare."""
    return int.from_bytes(file.read_bytes()[-12:-10], "little")


def make_index(
    index_dir: Path, name: str, *, split: str, folder: Path, clips: Path, fingerprint: str
) -> Index:
    """The index of a split below ``index_dir``; nothing is read yet but what names it.

    ``folder`` holds the split's table, whose content has the ``fingerprint``, ``clips`` its audio.
    """
    identity = {"the list of clips": fingerprint}
    listed = folder / "clip_durations.tsv"
    if listed.is_file():
        identity[listed.name] = _digest_of_file(listed)
    place = f"{split} {os.path.realpath(folder)} {os.path.realpath(clips)}"
    return Index(Path(index_dir), name, _digest(os.fsencode(place)), identity)


def recall_or_find(
    index: Index | None, what: str, n_rows: int | None, find: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays that ``find`` returned when it was asked before, else what it returns now."""
    if index is None:
        return find()
    arrays, reason = index.recall(what, n_rows)
    if arrays is None:
        log.info("index of %s: looking for %s (%s)", index.name, what.split("-")[0], reason)
        arrays = find()
        index.keep(what, **arrays)
    return arrays


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _digest_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while piece := file.read(1 << 22):
                digest.update(piece)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()[:16]
