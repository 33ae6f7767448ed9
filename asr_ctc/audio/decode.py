"""Any audio file to samples: decoding (libsndfile, else PyAV), one channel, one rate."""

import contextlib
import io
import math
import os
import stat
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import soundfile
import soxr

from asr_ctc.audio import containers, pyav
from asr_ctc.audio.mixdown import Mixdown, MixdownChoice
from asr_ctc.base.errors import LIMITS, AudioError, exhausted
from asr_ctc.base.quiet import quiet_decoder

RATE_HZ = 16_000
SILENCE_DBFS = -90.0
LOUDEST = 2.0**32  # samples kept as 32-bit integers are still sound; beyond, power overflows
RATES_HZ = 1_000, 1_000_000  # the lowest and the highest that a file may have; others are damage
MOST_CHANNELS = 64  # of samples in memory
MP3_FRAME = 1152  # samples: the grain of an mp3's length
LISTED_SLACK = 0.02  # share by which a corpus may be wrong about a length
JOINED_BYTES = 1 << 16  # read at once of joined parts: the decoder asks for single headers
BLOCK_SAMPLES = 1 << 22  # what is decoded at once, whatever length a header announces
# Of all channels together: so a damaged number of them does not exhaust the memory.
BLOCK_VALUES = 1 << 26

Decoder: TypeAlias = "SndfileDecoder | pyav.PyAVDecoder"


def load(
    path: str | Path,
    rate: int = RATE_HZ,
    expected_s: float | None = None,
    channel: int | None = None,
) -> np.ndarray:
    """The samples (S,) of a file: float32, mono, at ``rate`` Hz.

    Mono is the mean of the channels that carry sound, or the loudest where they cancel (see
    mixdown.py), or the one that ``channel`` names. Floats that hold integers are scaled to ±1.

    Any format that libsndfile reads (mp3, wav, flac, ogg...), and where PyAV is installed those
    that it reads (m4a, webm...); any rate, any number of channels. A file that announces no length
    is read to its end, a chained Ogg stream to its last link. Raises AudioError for a file that is
    missing, a folder, empty, not audio, holds NaN, infinite or absurd samples, several recordings
    put into one file, or is truncated: fewer samples than its header, or ``expected_s``, announces.
    """
    with _opened(path) as decoder:
        choice, blocks = MixdownChoice(decoder.channels), []
        for samples in _read_blocks(path, decoder, BLOCK_SAMPLES):
            if _has_choice(decoder):
                choice.add(samples)
            blocks.append(samples)
        n_samples = sum(map(len, blocks))
        _check_length(path, n_samples, decoder, expected_s)
        mixdown = choice.mixdown(channel)
    monos = [mixdown(samples) for samples in blocks]
    mono = monos[0] if len(monos) == 1 else np.concatenate(monos)
    return _resampled(path, mono, decoder.rate, rate)


def blocks(
    path: str | Path, rate: int = RATE_HZ, *, block_s: float = 30.0, notes: list[str] | None = None
) -> Iterator[np.ndarray]:
    """The samples that ``load`` gives, in consecutive blocks of about ``block_s`` seconds.

    So a recording of any length takes no more memory than a block; one of several channels, or of
    floats, is decoded twice, to choose the channel first. What a listener should know of how the
    file is read is added to ``notes``. AudioError as ``load``, for a truncated file after its last
    block.
    """
    mixdown = _choose_mixdown(path)
    with _opened(path) as decoder:
        if notes is not None:
            notes += filter(None, (decoder.note, mixdown.note))
        n_read = n_resampled = 0
        resampler = soxr.ResampleStream(decoder.rate, rate, 1, dtype="float32")
        for samples in _read_blocks(path, decoder, max(1, int(block_s * decoder.rate))):
            n_read += len(samples)
            mono = np.ascontiguousarray(mixdown(samples), dtype=np.float32)
            resampled = resampler.resample_chunk(mono)
            n_resampled += len(resampled)
            yield resampled
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        yield rest
        n_resampled += len(rest)
        _check_length(path, n_read if n_resampled else 0, decoder)


def _choose_mixdown(path: str | Path) -> Mixdown:
    """The mixdown of a whole file, which is read only where there is something to choose."""
    with _opened(path) as decoder:
        choice = MixdownChoice(decoder.channels)
        if _has_choice(decoder):
            for samples in _read_blocks(path, decoder, BLOCK_SAMPLES // decoder.channels):
                choice.add(samples)
        return choice.mixdown()


def _has_choice(decoder: Decoder) -> bool:
    return decoder.channels > 1 or decoder.is_float


def from_array(samples: np.ndarray, native_rate: int, rate: int = RATE_HZ) -> np.ndarray:
    """Samples in memory as ``load`` gives those of a file: (S,), float32, mono, at ``rate`` Hz.

    ``samples`` is (S,) or (S, channels), floats within ±1 or integers of full scale. Raises
    ValueError for another shape or type, no samples, NaN, and a rate that is no sound.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise ValueError(f"samples have shape {samples.shape}; needed (S,) or (S, channels)")
    if samples.ndim == 2 and samples.shape[1] > min(MOST_CHANNELS, len(samples)):
        raise ValueError(
            f"samples have shape {samples.shape}; needed (S, channels): transpose them"
        )
    if not RATES_HZ[0] <= native_rate <= RATES_HZ[1]:
        raise ValueError(f"rate is {native_rate}; needed {RATES_HZ[0]:,} to {RATES_HZ[1]:,} Hz")
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    elif samples.dtype.kind != "f":
        raise ValueError(f"samples are {samples.dtype}; needed floats or signed integers")
    samples = samples.astype(np.float32).reshape(len(samples), -1)
    if not np.isfinite(samples).all():
        raise ValueError("samples hold NaN or infinity")
    if np.abs(samples).max() > LOUDEST:
        raise ValueError("samples are of absurd size")
    choice = MixdownChoice(samples.shape[1])
    choice.add(samples)
    mono = choice.mixdown()(samples)
    if native_rate != rate:
        mono = soxr.resample(mono, native_rate, rate)
    if len(mono) == 0:
        raise ValueError(f"too few samples for one at {rate} Hz")
    return np.ascontiguousarray(mono, dtype=np.float32)


def load_part(
    path: str | Path, *, start_s: float, length_s: float, rate: int = RATE_HZ
) -> np.ndarray:
    """As ``load``, of the ``length_s`` seconds from ``start_s`` on, or of what there is of them.

    Decodes no more than that, so that the mixdown of its channels, and the scale of floats beyond
    ±1, are those that suit the part. AudioError as ``load``, but for a truncated file.
    """
    with _opened(path, thorough=False) as decoder, _decoding(path):
        decoder.skip(int(start_s * decoder.rate))
        samples = decoder.read(max(1, round(length_s * decoder.rate)))
    if len(samples) == 0:
        raise AudioError(path, "holds no samples")
    _refuse_no_sound(path, samples)
    choice = MixdownChoice(samples.shape[1])
    choice.add(samples)
    return _resampled(path, choice.mixdown()(samples), decoder.rate, rate)


def duration_s(path: str | PathLike[str]) -> float:
    """Length of a file in seconds, as its header or the headers of its frames say.

    Raises AudioError like ``load``. What announces no length anywhere is decoded to count it.
    """
    path = Path(path)
    with _opened(path, thorough=False) as decoder, _decoding(path):
        n_samples = decoder.n_samples()
    if n_samples <= 0:
        raise AudioError(path, "holds no samples")
    return n_samples / decoder.rate


def peak_dbfs(samples: np.ndarray) -> float:
    """Largest absolute sample in dB relative to full scale; -inf for digital silence."""
    peak = float(np.abs(samples).max(initial=0.0))
    return 20 * np.log10(peak) if peak > 0 else -float("inf")


def is_silent(samples: np.ndarray) -> bool:
    """True when no sample rises above -90 dBFS, less than the last bit of a 16-bit recording."""
    return peak_dbfs(samples) < SILENCE_DBFS


def _read_blocks(path: str | Path, decoder: Decoder, n_samples: int) -> Iterator[np.ndarray]:
    """Samples (n, channels) in blocks to the end; AudioError if they are no sound."""
    n_samples = max(1, min(n_samples, BLOCK_VALUES // decoder.channels))
    while True:
        with _decoding(path):
            samples = decoder.read(n_samples)
        if len(samples) == 0:
            return
        _refuse_no_sound(path, samples)
        yield samples


@contextlib.contextmanager
def _decoding(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (soundfile.SoundFileError, RuntimeError, ValueError):
        raise AudioError(path, "the decoder stopped early: truncated or damaged") from None


def _refuse_no_sound(path: str | Path, samples: np.ndarray) -> None:
    low, high = float(samples.min()), float(samples.max())  # NaN if any sample is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise AudioError(path, "holds NaN or infinite samples")
    if max(-low, high) > LOUDEST:
        raise AudioError(path, "holds samples of absurd size")


def _check_length(
    path: str | Path, n_samples: int, decoder: Decoder, expected_s: float | None = None
) -> None:
    """AudioError for a file without samples, and for one with fewer than are announced."""
    if n_samples == 0:
        raise AudioError(path, "holds no samples")
    is_listed = expected_s is not None and math.isfinite(expected_s)
    listed = int(expected_s * decoder.rate) if is_listed else 0
    needed = max(decoder.n_announced * (1 - decoder.slack), listed * (1 - LISTED_SLACK))
    if n_samples < needed - 2 * MP3_FRAME:
        announced_s = max(decoder.n_announced, listed) / decoder.rate
        raise AudioError(
            path,
            f"truncated: {n_samples / decoder.rate:.2f} s decoded of {announced_s:.2f} s announced",
        )


def _resampled(path: str | Path, mono: np.ndarray, native_rate: int, rate: int) -> np.ndarray:
    if native_rate != rate:
        mono = soxr.resample(mono, native_rate, rate)
        if len(mono) == 0:
            raise AudioError(path, "holds no samples")
    return np.ascontiguousarray(mono, dtype=np.float32)


@contextlib.contextmanager
def _opened(path: str | Path, thorough: bool = True) -> Iterator[Decoder]:
    """The decoder of a file; ``thorough`` as for containers.layout."""
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(path, "is a folder, not an audio file")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(path, "is not a file; what comes through a pipe is read as '-'")
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise AudioError(path, "is empty (0 bytes)")
            with _decoder(path, file, size, thorough) as decoder:
                yield decoder
    except FileNotFoundError:
        raise AudioError(path, "no such file") from None
    except ValueError as error:  # of the name
        if "null byte" not in str(error) and "null character" not in str(error):
            raise
        raise AudioError(path, "is not the name of a file: it has a NUL in it") from None
    except OSError as error:
        if error.errno in LIMITS:
            raise exhausted(error) from None
        raise AudioError(path, f"cannot be read ({error.strerror or error})") from None


@contextlib.contextmanager
def _decoder(path: Path, file: BinaryIO, size: int, thorough: bool) -> Iterator[Decoder]:
    start = file.read(16)
    kind = pyav.kind(start, path)
    if not kind or not pyav.kind(start, Path()):
        layout = containers.layout(file, size, thorough)
        if layout.problem:
            raise AudioError(path, layout.problem)
        try:
            sndfile = SndfileDecoder(path, file, layout)
        except (soundfile.SoundFileError, ValueError):
            if not kind:
                raise AudioError(path, "is not audio that can be decoded") from None
        else:
            with contextlib.closing(sndfile):
                yield sndfile
            return
    with pyav.opened(path, file, kind) as other:
        yield other


class SndfileDecoder:
    """Decodes a file with libsndfile, one link of its layout after the other.

    rate (Hz), channels and is_float are those of all links. n_announced: samples of each channel
    that the file announces; slack: the share by which that may be wrong; note: as of the layout.
    """

    slack = 0.0
    current: soundfile.SoundFile

    def __init__(self, path: Path, file: BinaryIO, layout: containers.Layout):
        self.file, self.note = file, layout.note
        self.links: Sequence[Sequence[containers.Part] | None] = layout.links or [None]
        self.sizes: list[int] = []
        kinds = set()
        for link in range(len(self.links)):
            self._open(link)
            self.sizes.append(layout.n_samples or self.current.frames)
            kinds.add((self.current.samplerate, self.current.channels))
            if len(self.links) > 1:
                self.current.close()
        self.rate, self.channels = next(iter(kinds))
        self.is_float = self.current.subtype in ("FLOAT", "DOUBLE")
        if len(kinds) > 1:
            raise AudioError(path, "holds several recordings of different rates or channels")
        if not RATES_HZ[0] <= self.rate <= RATES_HZ[1]:
            self.close()
            raise AudioError(path, f"has {self.rate} samples a second: no sound, or damaged")
        if len(self.links) > 1:
            self._open(0)
        self.n_announced = round(sum(self.sizes) * layout.announced_share)

    def _open(self, link: int) -> None:
        self.link, self.position, parts = link, 0, self.links[link]
        with quiet_decoder():
            if parts is None:
                self.file.seek(0)
                self.current = soundfile.SoundFile(self.file.fileno(), closefd=False)
            else:
                joined = containers.JoinedParts(self.file, parts)
                self.current = soundfile.SoundFile(io.BufferedReader(joined, JOINED_BYTES))

    def close(self) -> None:
        self.current.close()

    def n_samples(self) -> int:
        return sum(self.sizes)

    def read(self, n_samples: int) -> np.ndarray:
        """The next samples (n, channels), fewer at the end of a link, none after the last."""
        while True:
            n = min(n_samples, self.sizes[self.link] - self.position)
            samples = np.zeros((0, self.channels), np.float32)
            if n > 0:
                with quiet_decoder():
                    samples = self.current.read(n, "float32", always_2d=True)
            self.position += len(samples)
            if len(samples) or self.link + 1 == len(self.links):
                return samples
            self.close()
            self._open(self.link + 1)

    def skip(self, n_samples: int) -> None:
        """Passes over samples, but never over the last one."""
        while n_samples >= self.sizes[self.link] and self.link + 1 < len(self.links):
            n_samples -= self.sizes[self.link]
            self.close()
            self._open(self.link + 1)
        with quiet_decoder():
            last = min(self.sizes[self.link], self.current.frames) - 1
            self.position = self.current.seek(min(n_samples, max(last, 0)))
