"""How long the clips of a corpus last: as listed with it, else as their headers say.

All is found once and kept in the index. The lengths that were read from the clips are kept with
size and time of each file; a clip that was changed, came or went since is read again.
"""

import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import AudioError
from asr_ctc.base.progress import bar
from asr_ctc.corpus.clip_files import find_clip
from asr_ctc.corpus.columns import Strings, line_blocks
from asr_ctc.corpus.corpus import Corpus, refuse_if_mostly_broken
from asr_ctc.corpus.layouts.table import LONGEST_CLIP_S, ExcludedClip
from asr_ctc.display.terminal import several

log = logging.getLogger(__name__)

CLIPS_AT_A_TIME = 64
SHORTEST_MEDIAN_S, LONGEST_MEDIAN_S = 0.05, 600.0  # of a corpus; beyond, it is another unit


@dataclass
class Lengths:
    """Seconds of every row of a corpus's columns (N,) float32, NaN where unknown or broken.

    ``stamps`` has the rows whose file was read, with size and time of it; ``reasons`` those of them
    that are broken.
    """

    duration_s: np.ndarray
    stamps: dict[int, tuple[int, int]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {
            "duration_s": self.duration_s,
            "read": np.array(list(self.stamps), dtype=np.int64),
            "stamps": np.array(list(self.stamps.values()), dtype=np.int64).reshape(-1, 2),
            "reasons": np.array(json.dumps(self.reasons)),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], n_rows: int) -> "Lengths":
        """What ``to_arrays`` made; ValueError or KeyError when it is not of ``n_rows`` rows."""
        duration_s, stamps = arrays["duration_s"], arrays["stamps"]
        if duration_s.shape != (n_rows,) or stamps.shape != (len(arrays["read"]), 2):
            raise ValueError("the lengths of another corpus")
        reasons = json.loads(str(arrays["reasons"]))
        return cls(
            duration_s,
            dict(zip(arrays["read"].tolist(), map(tuple, stamps.tolist()), strict=True)),
            {int(row): reason for row, reason in reasons.items()},
        )


def find_durations(corpus: "Corpus", n_threads: int = 4) -> tuple[np.ndarray, dict[int, str]]:
    """(seconds of every row of the columns, float32; {row: reason} of the broken clips).

    They are those of the table, else of clip_durations.tsv beside it, else those that the clips'
    headers say, read in parallel with a bar. NaN for the broken ones, and for the rows that are not
    among ``corpus.rows`` and would have to be read.
    """
    lengths, reason = _recall_lengths(corpus)
    if lengths is None:
        lengths = Lengths(plausible(corpus.duration_s, corpus.name))
        add_listed_durations(lengths.duration_s, corpus.paths, corpus.folder / "clip_durations.tsv")
    rows = corpus.rows.tolist() if lengths.stamps else []
    read_before = [row for row in rows if row in lengths.stamps]
    now = _in_threads(_stamp, corpus, read_before, n_threads)
    changed = [
        row for row, stamp in zip(read_before, now, strict=True) if stamp != lengths.stamps[row]
    ]
    unknown = corpus.rows[np.isnan(lengths.duration_s[corpus.rows])].tolist()
    to_read = sorted({*changed, *(row for row in unknown if row not in lengths.stamps)})
    if changed:
        reason = f"{several(len(changed), 'clip')} changed since"
    elif to_read:
        reason = reason or "more clips are asked for"
    if reason:
        _read_clips(corpus, lengths, to_read, reason, n_threads)
    broken = lengths.reasons.keys() & corpus.rows.tolist() if lengths.reasons else ()
    return lengths.duration_s, {row: lengths.reasons[row] for row in sorted(broken)}


def _recall_lengths(corpus: "Corpus") -> tuple[Lengths | None, str]:
    """(lengths as they were kept, ""), else (None, why they must be measured)."""
    if corpus.index is None:
        return None, "first time"
    arrays, reason = corpus.index.recall("durations")
    if arrays is None:
        return None, reason
    try:
        return Lengths.from_arrays(arrays, len(corpus.paths)), ""
    except (KeyError, ValueError, AttributeError, TypeError):
        return None, "its list of lengths is damaged"


def _read_clips(
    corpus: "Corpus", lengths: Lengths, rows: list[int], reason: str, n_threads: int
) -> None:
    """Adds the lengths of the clips of those rows, and keeps all."""
    if corpus.index is not None:
        work = f"{several(len(rows), 'clip')} to read" if rows else "all are listed"
        log.info("index of %s: looking for lengths (%s), %s", corpus.name, reason, work)
    measured = _in_threads(_measure, corpus, rows, n_threads)
    try:
        for row, clip in zip(
            rows, bar(measured, "durations", "clip", total=len(rows)), strict=True
        ):
            lengths.duration_s[row], lengths.stamps[row] = clip.duration_s, clip.stamp
            lengths.reasons.pop(row, None)
            if clip.reason:
                lengths.reasons[row] = clip.reason
    finally:  # after Ctrl-C the next time goes on from here
        if corpus.index is not None:
            corpus.index.keep("durations", **lengths.to_arrays())


class Measured(NamedTuple):
    """One clip as its file says: NaN seconds and a reason, when it cannot be used."""

    duration_s: float
    stamp: tuple[int, int]
    reason: str


def _in_threads(
    measure: Callable[[Path], object], corpus: "Corpus", rows: list, n_threads: int
) -> Iterator:
    """``measure(file)`` of each row, in order, several at a time."""

    def measure_all(first: int) -> list:
        names = corpus.paths.take(np.array(rows[first : first + CLIPS_AT_A_TIME], dtype=np.int64))
        return [measure(find_clip(corpus.clips, name)) for name in names]

    with ThreadPoolExecutor(max(1, n_threads)) as pool:
        for answers in pool.map(measure_all, range(0, len(rows), CLIPS_AT_A_TIME)):
            yield from answers


def _stamp(file: Path) -> tuple[int, int]:
    """(bytes, time of the last change in ns) of a file; (-1, -1) when it is not there."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):  # a NUL in the name
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _measure(file: Path) -> Measured:
    stamp = _stamp(file)  # before it is read: a change meanwhile is then seen the next time
    try:
        return Measured(audio.duration_s(file), stamp, "")
    except AudioError as error:
        return Measured(float("nan"), stamp, error.reason)


def add_listed_durations(duration_s: np.ndarray, paths: Strings, tsv: Path) -> None:
    """Fills the seconds that are NaN with those that a clip_durations.tsv gives, where it does."""
    if not tsv.is_file() or not np.isnan(duration_s).any():
        return
    hash_blocks, second_blocks = [np.zeros(0, np.int64)], [np.zeros(0)]
    n_columns, n_lines, unused = None, 0, []
    for block in line_blocks(tsv, keeps_undecodable=True):
        hashes, cells = [], []
        for number, line in enumerate(block.split(b"\n"), n_lines + 1):
            row = line.split(b"\t")
            n_columns = n_columns or len(row)
            if len(row) == n_columns > 1:
                hashes.append(hash(row[0]))
                cells.append(row[1])
            else:
                unused.append(number)
        n_lines = number
        hash_blocks.append(np.array(hashes, dtype=np.int64))
        second_blocks.append(_milliseconds(cells) / 1000)
    if unused:
        message = "%s: not used: %s with other than the %d columns of the first line (line %d)"
        log.warning(message, tsv, several(len(unused), "row"), n_columns, unused[0])
    names = np.concatenate(hash_blocks)
    listed_s = plausible(np.concatenate(second_blocks), str(tsv))
    sound = np.isfinite(listed_s)
    names, listed_s = names[sound], listed_s[sound]
    if len(names) == 0:
        return
    order = np.argsort(names, kind="stable")
    names, listed_s = names[order], listed_s[order]
    unknown = np.flatnonzero(np.isnan(duration_s))
    unknown_hashes = paths.hashes(unknown)
    order = np.argsort(unknown_hashes)  # neighbours are then looked up one after the other
    unknown, unknown_hashes = unknown[order], unknown_hashes[order]
    at = np.searchsorted(names, unknown_hashes, side="right") - 1  # the last line of a name counts
    is_listed = names[at] == unknown_hashes
    duration_s[unknown[is_listed]] = listed_s[at[is_listed]]


def plausible(listed_s: np.ndarray, source: str) -> np.ndarray:
    """A copy of listed seconds (N,), NaN for those that cannot be: they are measured instead.

    All of them when their median says that they are in another unit: milliseconds for seconds
    would leave most clips out, without a word, for being too long.
    """
    lengths_s = listed_s.copy()
    with np.errstate(invalid="ignore"):
        lengths_s[~((lengths_s > 0) & (lengths_s <= LONGEST_CLIP_S))] = np.nan
    is_number = np.isfinite(listed_s) & (listed_s > 0)
    median = float(np.median(listed_s[is_number])) if is_number.any() else math.nan
    if median > LONGEST_MEDIAN_S or median < SHORTEST_MEDIAN_S:
        unit = "milliseconds" if median > LONGEST_MEDIAN_S else "another unit"
        log.warning(
            "%s: the listed durations have a median of %g s, as if they were in %s: they are not "
            "used, the lengths are those of the files",
            source,
            median,
            unit,
        )
        lengths_s[:] = np.nan
    return lengths_s


def _milliseconds(cells: list[bytes]) -> np.ndarray:
    """Numbers (N,) float64, NaN for what is none, such as the header."""
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return np.array([_number(cell) for cell in cells])


def _number(cell: bytes) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def with_durations(corpus: Corpus, n_threads: int = 4, keep_broken: bool = False) -> Corpus:
    """The corpus with the length of every clip, as listed with it, else from the files.

    Clips whose file cannot be opened are excluded and named; with ``keep_broken`` they stay, with
    a duration of 0. UserError when they are more than half.
    """
    duration_s, broken = find_durations(corpus, n_threads)
    excluded = [ExcludedClip(corpus.paths[row], reason) for row, reason in broken.items()]
    refuse_if_mostly_broken(corpus.name, excluded, len(corpus))
    measured = replace(corpus, duration_s=np.nan_to_num(duration_s, nan=0.0))
    if keep_broken:
        return measured
    return measured.select(~np.isnan(duration_s[corpus.rows]), excluded)
