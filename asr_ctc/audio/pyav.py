"""What phones and browsers record (AAC, AMR, WMA; MP4, WebM), decoded by PyAV where it is there.

libsndfile reads none of it. PyAV, the package ``av``, carries FFmpeg's decoders.
"""

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from asr_ctc.audio.containers import JoinedParts
from asr_ctc.base.errors import AudioError

ENDINGS = frozenset(
    ".m4a .m4b .aac .mp4 .mov .3gp .3g2 .webm .mkv .mka .wma .asf .amr .awb".split()
)
UNANNOUNCED = "aac", "loas"  # bare frames, of whose length FFmpeg guesses
_STARTS = (
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "WMA"),
    (0, b"#!AMR", "AMR"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (4, b"ftyp", "MP4"),
)


def kind(start: bytes, path: Path) -> str:
    """What a file is by its first bytes, else by its name; "" when it is none of those above."""
    for place, mark, name in _STARTS:
        if start[place:].startswith(mark):
            return name
    return path.suffix[1:].upper() if path.suffix.lower() in ENDINGS else ""


def is_installed() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def opened(path: Path, file: BinaryIO, kind: str) -> Iterator["PyAVDecoder"]:
    """The decoder of a file that is ``kind``; AudioError when it cannot be, or PyAV is not here."""
    try:
        import av
    except ImportError:
        raise AudioError(path, f"is {kind}, which needs another package: pip install av") from None
    size = file.seek(0, io.SEEK_END)
    whole = JoinedParts(file, [(0, size)])  # FFmpeg seeks anywhere, also before the beginning
    try:
        with av.open(whole, "r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise AudioError(path, "holds no audio")
            yield PyAVDecoder(path, container)
    except (av.FFmpegError, UnicodeDecodeError):  # also its MemoryError, for sizes that are damage
        raise AudioError(path, f"is not {kind} that can be decoded: damaged or cut short") from None


class PyAVDecoder:
    """As SndfileDecoder in audio.py. The length that a container announces is about right only."""

    subtype, note, is_float, slack = "", "", False, 0.02

    def __init__(self, path: Path, container: Any):
        from av import AudioResampler

        self.path, self.container = path, container
        stream = container.streams.best("audio") or container.streams.audio[0]
        self.rate, self.channels = stream.codec_context.sample_rate, stream.codec_context.channels
        if not self.rate or not self.channels:
            raise AudioError(path, "is not audio that can be decoded")
        seconds = (container.duration or 0) / 1e6
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        if container.format.name in UNANNOUNCED:
            seconds = 0.0
        self.n_announced = max(0, math.floor(seconds * self.rate))
        resampler = AudioResampler("fltp", stream.codec_context.layout, self.rate)
        self.waiting, self.blocks = (
            np.zeros((0, self.channels), np.float32),
            self._blocks(stream, resampler),
        )

    def _blocks(self, stream: Any, resampler: Any) -> Iterator[np.ndarray]:
        for frame in self.container.decode(stream):
            yield from (out.to_ndarray().T for out in resampler.resample(frame))
        yield from (out.to_ndarray().T for out in resampler.resample(None))

    def n_samples(self) -> int:
        """As announced; else all is decoded to count it."""
        if self.n_announced:
            return self.n_announced
        return sum(map(len, self.blocks))

    def read(self, n_samples: int) -> np.ndarray:
        """The next samples (n, channels), fewer at the end, none after it."""
        blocks, n_read = [self.waiting], len(self.waiting)
        while n_read < n_samples and (block := next(self.blocks, None)) is not None:
            blocks.append(block)
            n_read += len(block)
        samples = np.concatenate(blocks)
        self.waiting = samples[n_samples:]
        return samples[:n_samples]

    def skip(self, n_samples: int) -> None:
        """Passes over samples, but never over the last one."""
        while n_samples > 0 and len(samples := self.read(min(n_samples, 1 << 20))):
            n_samples -= len(samples)
            if len(last := self.read(1)) == 0:
                last, n_samples = samples[-1:], 0
            self.waiting = np.concatenate([last, self.waiting])
