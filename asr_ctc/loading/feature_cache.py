"""Log-mel features kept on disk between epochs and runs, so that a clip is decoded once.

    CACHE_DIR/<corpus>-<fingerprint>/records       32 bytes for each row of the corpus
    CACHE_DIR/<corpus>-<fingerprint>/shard-0000…   the features as float16, memory-mapped

Each clip has a slot of its own, whose place and size follow from the corpus's durations. So
workers and runs fill one cache at the same time without locks: they write the same bytes to the
same places. A clip's features are written first, then its record, with a checksum of both: what a
crash left half written, or was damaged later, is not believed but computed again. The shards are
sparse files: a slot that was never written takes no room on the disk.
"""

import errno
import hashlib
import io
import json
import logging
import mmap
import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from asr_ctc.audio.features import Features
from asr_ctc.base.errors import LIMITS, UserError, exhausted
from asr_ctc.base.files import why_no_folder
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.display.terminal import several

log = logging.getLogger(__name__)

FORMAT = 1  # to be raised with every change of the layout or of the features' numbers
SPARE_FRAMES = 16  # a slot is this much longer than the announced duration: some decode to more
SHARD_BYTES = 2**30
KEPT_FREE_BYTES = 10**9  # of the disk, for the model files
RECORD = struct.Struct("<qqqI4x")  # samples, the file's bytes and time in ns; checksum
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class Shard(NamedTuple):
    file: io.FileIO
    map: mmap.mmap


class Flag:
    """Up or down for a process and its workers together, so that a thing is said once."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)  # needs no /dev/shm, unlike what has a lock

    def __reduce__(self) -> tuple[Any, ...]:
        return Flag, ()  # memory is not shared with workers that are not forked: they have theirs

    def __bool__(self) -> bool:
        return bool(self._shared[0])

    def set_once(self) -> bool:
        """True for the one who put it up; for two who do so within a microsecond, perhaps."""
        was_set, self._shared[0] = self._shared[0], 1
        return not was_set


class Rounding:
    """Where a cache cannot be made: its numbers without its files, so that no run differs."""

    def __init__(self, settings: Features):
        self.settings = settings

    def of(self, draw: object) -> "Rounding":
        """This one, whatever is drawn."""
        return self

    def get(
        self, row: int, file: Path, compute: Callable[[], tuple[torch.Tensor, int]]
    ) -> tuple[torch.Tensor, int]:
        """As FeatureCache.get."""
        features, n_samples = compute()
        return _wide(_halves(features, self.settings), self.settings), n_samples


class FeatureCache:
    """The kept features of one split; ``get`` is all that a dataset needs.

    Features come back rounded to float16 even when they were just computed: a run sees the same
    numbers whether the cache is empty, full or broken. OSError when the folder cannot be made.
    """

    def __init__(self, cache_dir: Path, corpus: Corpus, settings: Features):
        self.corpus, self.settings = corpus, settings
        n_frames = _slot_frames(corpus, settings)
        self._starts = np.concatenate([[0], np.cumsum(n_frames * self._frame_bytes)])
        name = re.sub(r"[^\w.]+", "-", corpus.name).strip("-")
        self.folder = Path(cache_dir) / f"{name}-{fingerprint(corpus, settings)}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._records_bytes = RECORD.size * len(n_frames)
        self._records: io.FileIO | None = None
        self._shards: dict[int, Shard] = {}
        self._open_records()
        self._last_row = len(n_frames) - 1
        self._full, self._damaged, self._overlong = Flag(), Flag(), Flag()

    def __getstate__(self) -> dict:
        """Workers that are not forked open the files themselves."""
        return {**self.__dict__, "_records": None, "_shards": {}}

    @property
    def _frame_bytes(self) -> int:
        return self.settings.frame_size * np.dtype(np.float16).itemsize

    def limit(self, n_bytes: float) -> tuple[int, int]:
        """Keeps only the clips that fit, the first of the split; (their number, bytes at most)."""
        rows = np.sort(self.corpus.rows)
        ends = np.cumsum(self._starts[rows + 1] - self._starts[rows] + RECORD.size)
        n_clips = int(np.searchsorted(ends, n_bytes, side="right"))
        self._last_row = int(rows[n_clips - 1]) if n_clips else -1
        return n_clips, int(ends[n_clips - 1]) if n_clips else 0

    def of(self, draw: object) -> "FeatureCache":
        """This one, whatever is drawn; a split may have several copies, see frame_cache.py."""
        return self

    @property
    def is_for_all(self) -> bool:
        """Whether there is room for every clip of the split."""
        return bool(self._last_row >= self.corpus.rows.max())

    def n_kept(self) -> int:
        """How many clips of the split are there already."""
        layout = np.dtype([("n_samples", "<i8"), ("rest", f"V{RECORD.size - 8}")])
        records = np.fromfile(self.folder / "records", layout)
        return int(np.count_nonzero(records["n_samples"][self.corpus.rows]))

    def get(
        self, row: int, file: Path, compute: Callable[[], tuple[torch.Tensor, int]]
    ) -> tuple[torch.Tensor, int]:
        """(features (T, F) in dB, samples S) of a row of the corpus's columns.

        They are the kept ones, else what ``compute`` gives, which is then kept. ``file`` is the
        audio: features of a file that was changed since are not used. Raises what ``compute`` does.
        """
        stamp = _stamp(file)
        item = self._read(row, stamp) if stamp else None
        if item is None:
            features, n_samples = compute()
            item = _halves(features, self.settings), n_samples
            if stamp and row <= self._last_row and not self._full:
                self._write(row, stamp, *item)
        halves, n_samples = item
        return _wide(halves, self.settings), n_samples

    def has(self, row: int, file: Path) -> bool:
        """Whether the features of a row are there, and not damaged."""
        stamp = _stamp(file)
        return stamp is not None and self._read(row, stamp) is not None

    def put(self, row: int, file: Path, features: torch.Tensor, n_samples: int) -> bool:
        """Keeps the features (T, F) of a row, of S samples; False when there is no room for them.

        Those of a file that has vanished are not kept, nor needed.
        """
        stamp = _stamp(file)
        return stamp is None or self._write(row, stamp, _halves(features, self.settings), n_samples)

    # ------------------------------------------------------------------------ reading, writing

    def _read(self, row: int, stamp: tuple[int, int]) -> tuple[torch.Tensor, int] | None:
        """The kept features; None when there are none, or none that can be trusted."""
        try:
            file = self._open_records().fileno()
            record = os.pread(file, RECORD.size, row * RECORD.size)
            if len(record) < RECORD.size or not any(record):
                return None
            n_samples, *stored_stamp, checksum = RECORD.unpack(record)
            if tuple(stored_stamp) != stamp:
                return None
            start, n_bytes = self._starts[row], self._n_bytes(n_samples)
            if n_samples < 0 or n_bytes > self._starts[row + 1] - start:
                raise OSError("a record is not one")
            number, offset = divmod(int(start), SHARD_BYTES)
            shard = self._open_shard(number)
            if shard.map.size() < offset + n_bytes:  # to read past the end would kill the process
                raise OSError(f"shard {number} is truncated")
            data = np.frombuffer(shard.map, np.uint8, n_bytes, offset).copy()
            if _checksum(n_samples, stamp, data) != checksum:
                raise OSError(f"a checksum in shard {number} is wrong")
        except OSError as error:
            if error.errno in LIMITS:
                raise exhausted(error) from None
            if self._damaged.set_once():
                log.warning(
                    "feature cache %s: damaged (%s); what cannot be read is computed again",
                    self.folder,
                    error.strerror or error,
                )
            return None
        halves = torch.from_numpy(data.view(np.float16)).view(-1, self.settings.frame_size)
        return halves, n_samples

    def _write(
        self, row: int, stamp: tuple[int, int], halves: torch.Tensor, n_samples: int
    ) -> bool:
        """Keeps a clip's features: first they, then the record that vouches for them.

        False, with a warning, when there is no room for them.
        """
        data = halves.contiguous().numpy().view(np.uint8).reshape(-1)
        if len(data) > self._starts[row + 1] - self._starts[row]:
            if self._overlong.set_once():
                log.warning(
                    "feature cache: %s is %.2f s longer than the corpus says; such clips are not "
                    "kept",
                    self.corpus.paths[row],
                    n_samples / self.settings.rate - float(self.corpus.duration_s[row]),
                )
            return False
        record = RECORD.pack(n_samples, *stamp, _checksum(n_samples, stamp, data))
        number, offset = divmod(int(self._starts[row]), SHARD_BYTES)
        try:
            _write_whole(self._open_shard(number).file, data, offset)
            _write_whole(self._open_records(), record, row * RECORD.size)
        except OSError as error:
            if self._full.set_once():
                log.warning(
                    "feature cache %s: %s; features that are not kept yet are computed each time",
                    self.folder,
                    error.strerror or error,
                )
            return False
        return True

    def _n_bytes(self, n_samples: int) -> int:
        return self.settings.n_frames(n_samples) * self._frame_bytes

    def _open_records(self) -> io.FileIO:
        if self._records is None:
            self._records = _open(self.folder / "records", self._records_bytes)
        return self._records

    def _open_shard(self, number: int) -> Shard:
        if number not in self._shards:
            first = number * SHARD_BYTES
            # The last slot that begins in a shard ends in it, too.
            behind = np.searchsorted(self._starts, min(first + SHARD_BYTES, self._starts[-1]))
            n_bytes = int(self._starts[behind]) - first
            file = _open(self.folder / f"shard-{number:04}", n_bytes)
            shard_map = mmap.mmap(file.fileno(), n_bytes, access=mmap.ACCESS_READ)
            self._shards[number] = Shard(file, shard_map)
        return self._shards[number]


def _halves(features: torch.Tensor, settings: Features) -> torch.Tensor:
    return (features - settings.centre).half()


def _wide(halves: torch.Tensor, settings: Features) -> torch.Tensor:
    return halves.float().add_(settings.centre)


def _slot_frames(corpus: Corpus, settings: Features) -> np.ndarray:
    """Frames (N,) that the slot of each row of the columns has room for."""
    durations = np.nan_to_num(corpus.duration_s.astype(np.float64))
    n_samples = np.ceil(durations * settings.rate).astype(np.int64)
    return np.ceil(settings.n_frames(n_samples) * settings.stretch).astype(np.int64) + SPARE_FRAMES


def fingerprint(corpus: Corpus, settings: Features) -> str:
    """16 hexadecimal digits that name a corpus (rows, folder, durations) and feature settings."""
    key = {
        "format": FORMAT,
        "corpus": corpus.fingerprint,
        "clips": str(Path(corpus.clips).resolve()),
        "slots": hashlib.sha256(_slot_frames(corpus, settings).tobytes()).hexdigest(),
        **settings.cache_key(),
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def _stamp(file: Path) -> tuple[int, int] | None:
    """(bytes, time of the last change in ns) of a file; None when it is not there."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):  # a NUL in the name
        return None
    return status.st_size, status.st_mtime_ns


def _checksum(n_samples: int, stamp: tuple[int, int], data: Any) -> int:
    return zlib.crc32(data, zlib.crc32(struct.pack("<qqq", n_samples, *stamp)))


def _open(path: Path, n_bytes: int) -> io.FileIO:
    """A file to read and write, made or lengthened (sparse) to at least ``n_bytes``."""
    file = io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    if os.fstat(file.fileno()).st_size < n_bytes:
        file.truncate(n_bytes)
    return file


def _write_whole(file: io.FileIO, data: Any, offset: int) -> None:
    if os.pwrite(file.fileno(), data, offset) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# ---------------------------------------------------------------------------- the caches of a run


def open_caches(
    cache_dir: str,
    corpora: Sequence[Corpus],
    settings: Features | Sequence[Features],
    *,
    max_gb: float,
) -> Sequence[FeatureCache | Rounding]:
    """A cache for each corpus and its features (or the same for all).

    Together with what is there already they stay below ``max_gb`` (10^9 bytes). Says how large they
    get and where they are. Where there is no room for all, the first clips are kept. On a full disk
    they keep nothing, with a warning. UserError when the folder cannot be written.
    """
    root = Path(cache_dir)
    kinds = [settings] * len(corpora) if isinstance(settings, Features) else settings
    try:
        root.mkdir(parents=True, exist_ok=True)
        caches = [
            FeatureCache(root, corpus, of_corpus)
            for corpus, of_corpus in zip(corpora, kinds, strict=True)
        ]
    except OSError as error:
        if error.errno in NO_ROOM:
            log.warning("--cache_dir %s: %s; nothing is kept", root, error.strerror)
            return [Rounding(of_corpus) for of_corpus in kinds]
        why = why_no_folder(root, error)
        raise UserError(f"--cache_dir {root}: cannot be written ({why})") from None
    folders = {path.parent for path in root.glob("*/records")}
    own_bytes = sum(map(_bytes_on_disk, {cache.folder for cache in caches}))
    other_bytes = sum(map(_bytes_on_disk, folders - {cache.folder for cache in caches}))
    disk = shutil.disk_usage(root).free - KEPT_FREE_BYTES + own_bytes
    room = min(max_gb * 1e9 - other_bytes, disk)
    limit = "what the disk has free" if room == disk else f"--cache_gb {max_gb:g}"
    if other_bytes:
        limit += f" beside {other_bytes / 1e9:.2f} GB of other caches in {root}"
    for cache in caches:
        n_clips, n_bytes = cache.limit(room)
        room -= n_bytes
        n_all = len(cache.corpus)
        log.info(
            "feature cache of %s: %s, %.3g GB at most, %d kept already: %s",
            cache.corpus.name,
            several(n_clips, "clip")
            if n_clips == n_all
            else f"{n_clips:,} of {several(n_all, 'clip')} fit into {limit}",
            n_bytes / 1e9,
            cache.n_kept(),
            cache.folder,
        )
    return caches


def _bytes_on_disk(folder: Path) -> int:
    """What the files of a folder take; unwritten parts of a sparse file take nothing."""
    return sum(512 * path.stat().st_blocks for path in folder.iterdir())
