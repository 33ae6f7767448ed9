"""Any audio file to samples: decoding (libsndfile), one channel, one rate."""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asr_ctc.audio import mp3
from asr_ctc.base.errors import LIMITS, AudioError, exhausted

RATE_HZ = 16_000
SILENCE_DBFS = -90.0
LOUDEST = 2.0**32  # samples kept as 32-bit integers are still sound; beyond, power overflows
MP3_FRAME = 1152  # samples: the grain of an mp3's length
_CUT_WAV = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
_STREAMED_WAV_BYTES = 0x7FFF_0000  # a writer that cannot seek back announces 2 or 4 GiB


def load(
    path, rate: int = RATE_HZ, expected_s: float | None = None, channel: int | None = None
) -> np.ndarray:
    """The samples (S,) of a file: float32, mono, at ``rate`` Hz.

    Mono is the mean of the channels, or the one that ``channel`` names.

    Any format that libsndfile reads (mp3, wav, flac, ogg...), any rate, any number of channels.
    Raises AudioError for a file that is missing, a folder, empty, not audio, holds NaN, infinite or
    absurd samples, or is truncated: fewer samples than its header, or ``expected_s``, announces. An
    mp3 that holds more than its header announces, of which the decoder would not tell, is refused.
    """
    with _opened(path) as file:
        _refuse_more_than_announced(path, file)
        announced, native_rate = _announced_frames(file), file.samplerate
        try:
            samples = file.read(dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError, MemoryError, ValueError):
            raise AudioError(path, "the decoder stopped early: truncated or damaged") from None
    expected = max(announced, int((expected_s or 0) * native_rate))
    _check_length(path, len(samples), expected, native_rate)
    return _mono(path, samples, native_rate, rate, channel)


def blocks(path, rate: int = RATE_HZ, block_s: float = 30.0) -> Iterator[np.ndarray]:
    """The samples that ``load`` gives, in consecutive blocks of about ``block_s`` seconds.

    So a recording of any length takes no more memory than a block. AudioError as ``load``, for a
    truncated file after its last block.
    """
    with _opened(path) as file:
        _refuse_more_than_announced(path, file)
        announced, native_rate, n_read = _announced_frames(file), file.samplerate, 0
        resampler = soxr.ResampleStream(native_rate, rate, 1, dtype="float32")
        while True:
            try:
                samples = file.read(max(1, int(block_s * native_rate)), "float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError, MemoryError, ValueError):
                raise AudioError(path, "the decoder stopped early: truncated or damaged") from None
            if len(samples) == 0:
                break
            n_read += len(samples)
            yield resampler.resample_chunk(_mono(path, samples, rate, rate))
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    _check_length(path, n_read, announced, native_rate)


def load_part(path, start_s: float, length_s: float, rate: int = RATE_HZ) -> np.ndarray:
    """As ``load``, of the ``length_s`` seconds from ``start_s`` on, or of what there is of them.

    Decodes no more than that. AudioError as ``load``, but for a truncated file.
    """
    with _opened(path) as file:
        native_rate = file.samplerate
        try:
            file.seek(min(int(start_s * native_rate), max(file.frames - 1, 0)))
            n_samples = max(1, round(length_s * native_rate))
            samples = file.read(n_samples, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError, MemoryError, ValueError):
            raise AudioError(path, "the decoder stopped early: truncated or damaged") from None
    if len(samples) == 0:
        raise AudioError(path, "holds no samples")
    return _mono(path, samples, native_rate, rate)


def _refuse_more_than_announced(path, file: soundfile.SoundFile) -> None:
    if file.subtype != "MPEG_LAYER_III":
        return
    beyond = mp3.samples_beyond(path, file.frames)
    if beyond > 0.02 * file.frames + 4 * MP3_FRAME:
        raise AudioError(
            path,
            f"only its first {file.frames / file.samplerate:.2f} s can be decoded, "
            f"{beyond / file.samplerate:.2f} s more are in it: several mp3 files in one? "
            "Convert it to flac or wav first",
        )


def _check_length(path, n_samples: int, expected: int, rate: int) -> None:
    """AudioError for a file without samples, and for one with fewer than it announces."""
    if n_samples == 0:
        raise AudioError(path, "holds no samples")
    if n_samples < 0.98 * expected - 2 * MP3_FRAME:
        raise AudioError(
            path,
            f"truncated: {n_samples / rate:.2f} s decoded of {expected / rate:.2f} s announced",
        )


def _mono(path, samples: np.ndarray, native_rate: int, rate: int, channel=None) -> np.ndarray:
    """Samples (S, channels) as one channel at another rate; AudioError if they are no sound."""
    low, high = float(samples.min()), float(samples.max())  # NaN if any sample is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise AudioError(path, "holds NaN or infinite samples")
    if max(-low, high) > LOUDEST:
        raise AudioError(path, "holds samples of absurd size")
    if channel is not None or samples.shape[1] == 1:
        mono = samples[:, channel or 0]
    else:
        mono = samples.mean(axis=1)
    if native_rate != rate:
        mono = soxr.resample(mono, native_rate, rate)
    return np.ascontiguousarray(mono, dtype=np.float32)


def duration_s(path) -> float:
    """Length of a file in seconds, from its header alone; raises AudioError like ``load``."""
    with _opened(path) as file:
        if file.frames <= 0:
            raise AudioError(path, "holds no samples")
        return file.frames / file.samplerate


def peak_dbfs(samples: np.ndarray) -> float:
    """Largest absolute sample in dB relative to full scale; -inf for digital silence."""
    peak = float(np.abs(samples).max(initial=0.0))
    return 20 * np.log10(peak) if peak > 0 else -float("inf")


def is_silent(samples: np.ndarray) -> bool:
    """True when no sample rises above -90 dBFS, less than the last bit of a 16-bit recording."""
    return peak_dbfs(samples) < SILENCE_DBFS


def _announced_frames(file: soundfile.SoundFile) -> int:
    """Frames that the header promises; libsndfile cuts a WAV's number to what the file holds."""
    cut = _CUT_WAV.search(file.extra_info)
    if cut and int(cut[2]) > 0 and int(cut[1]) < _STREAMED_WAV_BYTES:
        return file.frames * int(cut[1]) // int(cut[2])
    return file.frames


@contextlib.contextmanager
def _opened(path):
    path = Path(path)
    if "\0" in str(path):
        raise AudioError(path, "no such file: its name holds a NUL")
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise AudioError(path, "is a folder, not an audio file")
        if size == 0:
            raise AudioError(path, "is empty (0 bytes)")
        # soundfile itself cannot encode a name that is no UTF-8.
        name = os.fsencode(path) if os.name == "posix" else path
        with _quiet_decoder, soundfile.SoundFile(name) as file:
            if file.samplerate > 0 and file.channels > 0:
                yield file
                return
    except soundfile.SoundFileError:
        _refuse_at_a_limit(path)
        raise AudioError(path, "is not audio that can be decoded") from None
    except FileNotFoundError:
        raise AudioError(path, "no such file") from None
    except OSError as error:
        if error.errno in LIMITS:
            raise exhausted(error) from None
        raise AudioError(path, f"cannot be read ({error.strerror or error})") from None
    raise AudioError(path, "is not audio that can be decoded")


def _refuse_at_a_limit(path: Path) -> None:
    """UserError when the file cannot be opened because of the process's limits.

    libsndfile does not tell that from a damaged file.
    """
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        if error.errno in LIMITS:
            raise exhausted(error) from None


class _QuietDecoder:
    """Sends file descriptor 2 to nowhere while a file is decoded.

    The mp3 decoder inside libsndfile writes its complaints straight to standard error, where they
    would bury our own one-line message. Counted, so that threads can decode at the same time.
    """

    def __init__(self):
        self.lock, self.users, self.saved = threading.Lock(), 0, None

    def __enter__(self):
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.saved = os.dup(2)
                devnull = os.open(os.devnull, os.O_WRONLY)
                os.dup2(devnull, 2)
                os.close(devnull)

    def __exit__(self, *exception):
        with self.lock:
            self.users -= 1
            if self.users == 0:
                os.dup2(self.saved, 2)
                os.close(self.saved)


_quiet_decoder = _QuietDecoder()
