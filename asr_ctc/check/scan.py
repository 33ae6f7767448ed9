"""Decodes every clip of a split once, in parallel, and measures its sound."""

import hashlib
import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import AudioError
from asr_ctc.base.processors import n_usable_cores
from asr_ctc.base.progress import bar
from asr_ctc.corpus.corpus import Corpus

BLOCK_SAMPLES = audio.RATE_HZ // 100  # 10 ms
STRETCH_BLOCKS = 30  # 300 ms: a syllable or two
SOUND_RANGE_DB = 25.0  # blocks no further below the loudest stretch count as sound
FULL_SCALE = 0.99
DIGITAL_SILENCE_DBFS = -200.0
CHUNK_CLIPS = 16


class Sound(NamedTuple):
    """Measurements of a decoded clip.

    n_samples: at 16 kHz; 0 when the clip was not decoded
    level_dbfs: of its loudest 300 ms (see ``measure``)
    variation_db: between the level of its quieter blocks (10th percentile) and louder ones (90th)
    offset: median of the samples
    sound_s: seconds within 25 dB of the loudest stretch, pauses not counted
    clipped_share: samples at full scale (0.99 or more), as a share
    digest: hash of the samples
    """

    n_samples: int
    level_dbfs: float
    variation_db: float
    offset: float
    sound_s: float
    clipped_share: float
    digest: int


SOUND_COLUMNS = np.dtype(
    [(name, "f8" if kind is float else "u8") for name, kind in Sound.__annotations__.items()]
)


def measure(samples: np.ndarray) -> Sound:
    """The Sound of samples (S,) at 16 kHz, S > 0.

    The level is that of the loudest 300 ms: the greatest median of 30 consecutive blocks of 10 ms.
    The median ignores a click or a knock on the microphone; a stretch of 300 ms keeps the level of
    clear speech however long its pauses are. A constant offset, which nobody hears, is subtracted
    first.
    """
    offset = float(np.median(samples[::8]))
    block = min(BLOCK_SAMPLES, len(samples))
    blocks = samples[: len(samples) // block * block].reshape(-1, block) - np.float32(offset)
    power = np.square(blocks).mean(axis=1, dtype=np.float64)
    level_dbfs = 10 * np.log10(np.maximum(power, 10 ** (DIGITAL_SILENCE_DBFS / 10)))
    stretches = np.lib.stride_tricks.sliding_window_view(
        level_dbfs, min(STRETCH_BLOCKS, len(level_dbfs))
    )
    loudest = float(np.median(stretches, axis=1).max())
    quiet, loud = np.percentile(level_dbfs, [10, 90])
    n_sound = int((level_dbfs >= loudest - SOUND_RANGE_DB).sum())
    digest = hashlib.blake2b(samples.tobytes(), digest_size=8).digest()
    return Sound(
        n_samples=len(samples),
        level_dbfs=loudest,
        variation_db=float(loud - quiet),
        offset=offset,
        sound_s=n_sound * block / audio.RATE_HZ,
        clipped_share=float((np.abs(samples) >= FULL_SCALE).mean()),
        digest=int.from_bytes(digest, "big"),
    )


@dataclass
class ScannedSplit:
    """A split and the sound of its clips: one row of ``sounds`` (SOUND_COLUMNS) per clip.

    ``problems`` maps the rows of clips that cannot be decoded to the reason; ``scan_mask`` (N,) is
    true for the clips that were tried.
    """

    corpus: Corpus
    sounds: np.ndarray
    scan_mask: np.ndarray
    problems: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.corpus)

    @cached_property
    def sentences(self) -> list[str]:
        return list(self.corpus.all_sentences())

    @cached_property
    def speakers(self) -> list[str]:
        return [self.corpus.speakers[row] for row in self.corpus.rows]

    @cached_property
    def durations(self) -> np.ndarray:
        """Seconds of each clip: as decoded, else as the corpus says, else 0."""
        decoded = self.sounds["n_samples"].astype(np.float64) / audio.RATE_HZ
        return np.where(decoded > 0, decoded, np.nan_to_num(self.corpus.durations))


def scan(
    corpus: Corpus, n_processes: int, *, n_clips: int | None = None, seed: int = 0
) -> ScannedSplit:
    """Decodes the clips of a split, at most ``n_clips`` of them (drawn at random); with a bar."""
    scan_mask = np.ones(len(corpus), dtype=bool)
    if n_clips is not None and n_clips < len(corpus):
        scan_mask[:] = False
        scan_mask[np.random.default_rng(seed).permutation(len(corpus))[:n_clips]] = True
    split = ScannedSplit(corpus, np.zeros(len(corpus), SOUND_COLUMNS), scan_mask)
    rows = np.flatnonzero(scan_mask).tolist()
    durations = np.nan_to_num(corpus.durations)
    tasks = ((str(corpus.file(row)), float(durations[row])) for row in rows)
    results = _in_parallel(tasks, min(n_processes, n_usable_cores()))
    for row, result in zip(rows, bar(results, corpus.name, "clips", total=len(rows)), strict=True):
        if isinstance(result, str):
            split.problems[row] = result
        else:
            split.sounds[row] = result
    return split


def _in_parallel(tasks: Iterable, n_processes: int) -> Iterator[Sound | str]:
    if n_processes <= 1:
        yield from map(_listen, tasks)
        return
    with multiprocessing.Pool(n_processes, _ignore_ctrl_c) as pool:
        yield from pool.imap(_listen, tasks, CHUNK_CLIPS)


def _ignore_ctrl_c() -> None:
    """Ctrl-C reaches every process of the terminal; the main one decides what happens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _listen(task: tuple[str, float]) -> Sound | str:
    """The Sound of a file, or the reason why it cannot be decoded."""
    file, expected_s = task
    try:
        return measure(audio.load(file, audio.RATE_HZ, expected_s))
    except AudioError as error:
        return error.reason
