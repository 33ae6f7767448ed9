"""Waveform augmentation: the same words faster, louder, in noise, on the telephone, in a hall.

First pure functions of samples (S,), then the steps that draw their numbers, then the list that
`--augment` writes them in, such as "speed 0.9 1.0 1.1" "noise FOLDER 5 20 p=0.3".
"""

import contextlib
import logging
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.display.terminal import several

log = logging.getLogger(__name__)

BAND_FILTER_S = 0.032
BAND_FILTER_KAISER = 5.65  # 60 dB

# ---------------------------------------------------------------------------- pure functions


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Samples (S,) played ``factor`` times as fast: S / factor of them, rounded; pitch moves too.

    Source: Ko et al. 2015, "Audio augmentation for speech recognition".
    """
    if factor == 1:
        return samples
    return soxr.resample(samples, factor, 1.0)


def change_level(samples: np.ndarray, gain_db: float) -> np.ndarray:
    """Samples (S,) amplified by ``gain_db``; nothing is clipped."""
    return samples * np.float32(10 ** (gain_db / 20))


def add_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Samples (S,) with noise (S,) at a signal-to-noise ratio in dB, of mean powers over the clip.

    Noise that is digital silence adds nothing.
    """
    noise_power = _power(noise)
    if noise_power == 0:
        return samples
    gain = math.sqrt(_power(samples) / noise_power / 10 ** (snr_db / 10))
    return samples + np.float32(gain) * noise


def limit_band(samples: np.ndarray, rate: int, *, low_hz: float, high_hz: float) -> np.ndarray:
    """Samples (S,) of which only the band remains; nothing is delayed.

    At ``low_hz`` and ``high_hz`` half the amplitude passes, within the band by 60 Hz all of it,
    outside by 60 Hz a thousandth (-60 dB). The telephone's band is 300 to 3400 Hz (ITU-T G.712).
    The filter is a sinc under a Kaiser window (Oppenheim and Schafer, Discrete-Time Signal
    Processing, on FIR design by windowing).
    """
    half = round(BAND_FILTER_S * rate / 2)
    time = np.arange(-half, half + 1) / rate

    def low_pass(cutoff_hz: float) -> np.ndarray:
        return 2 * cutoff_hz / rate * np.sinc(2 * cutoff_hz * time)

    taps = low_pass(min(high_hz, rate / 2)) - low_pass(low_hz)
    taps *= np.kaiser(len(taps), BAND_FILTER_KAISER)
    return _convolve(samples, taps.astype(np.float32))[half : half + len(samples)]


def reverberate(samples: np.ndarray, impulse_response: np.ndarray) -> np.ndarray:
    """Samples (S,) as heard in the room of an impulse response (R,): of the same length and power.

    The direct path, the response's largest peak, is where the sound was: transcripts stay aligned.
    Source: Ko et al. 2017, "A study on data augmentation of reverberant speech".
    """
    direct = int(np.abs(impulse_response).argmax())
    reverberant = _convolve(samples, impulse_response)[direct : direct + len(samples)]
    reverberant_power = _power(reverberant)
    if reverberant_power == 0:
        return samples
    return reverberant * np.float32(math.sqrt(_power(samples) / reverberant_power))


def _power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def _convolve(samples: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """The full convolution (S + R - 1,), by FFT."""
    n_samples = len(samples) + len(taps) - 1
    n_fft = 1 << (n_samples - 1).bit_length()
    spectrum = np.fft.rfft(samples, n_fft) * np.fft.rfft(taps, n_fft)
    return np.fft.irfft(spectrum, n_fft)[:n_samples].astype(np.float32)


# ---------------------------------------------------------------------------- steps that draw

Step = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Sounds:
    """The audio files below a folder, by name, with their durations."""

    files: tuple[Path, ...]
    durations_s: tuple[float, ...]

    @classmethod
    def below(cls, folder: str) -> "Sounds":
        """Reads the headers of all files; UserError when none is audio."""
        if not Path(folder).is_dir():
            raise UserError(f"no such folder: {folder}")
        durations_s: dict[Path, float] = {}
        unreadable: list[str] = []
        for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
            try:
                durations_s[path] = audio.duration_s(path)
            except AudioError:
                unreadable.append(path.name)
        if not durations_s:
            raise UserError(f"no audio files below {folder}")
        note = (
            f"; not audio: {several(len(unreadable), 'file')}, such as {unreadable[0]}"
            if unreadable
            else ""
        )
        hours = sum(durations_s.values()) / 3600
        log.info("%s: %d audio files, %.2f h%s", folder, len(durations_s), hours, note)
        return cls(tuple(durations_s), tuple(durations_s.values()))

    def excerpt(self, n_samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
        """``n_samples`` from a random place in a random file, repeated where it is too short."""
        i = int(random.integers(len(self.files)))
        length_s = n_samples / rate
        start_s = random.uniform(0, max(0.0, self.durations_s[i] - length_s))
        with _blamed_on(self.files[i]):
            return np.resize(
                audio.load_part(self.files[i], start_s=start_s, length_s=length_s, rate=rate),
                n_samples,
            )

    def first_channel(self, rate: int, random: np.random.Generator) -> np.ndarray:
        """The first channel of a random file."""
        path = self.files[int(random.integers(len(self.files)))]
        with _blamed_on(path):
            return audio.load(path, rate, channel=0)


@contextlib.contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    """Names the sound in the reason: the clip it was meant for is excluded, and is sound itself."""
    try:
        yield
    except AudioError as error:
        raise AudioError(path, f"could not be augmented by {path}: {error.reason}") from None


@dataclass(frozen=True)
class Speed:
    factors: tuple[float, ...]

    def __call__(self, samples: np.ndarray, rate: int, random: np.random.Generator) -> np.ndarray:
        return change_speed(samples, self.draw(random))

    def draw(self, random: np.random.Generator) -> float:
        """One of the factors."""
        return self.factors[int(random.integers(len(self.factors)))]


@dataclass(frozen=True)
class Gain:
    low_db: float
    high_db: float

    def __call__(self, samples: np.ndarray, rate: int, random: np.random.Generator) -> np.ndarray:
        return change_level(samples, random.uniform(self.low_db, self.high_db))


@dataclass(frozen=True)
class Noise:
    sounds: Sounds
    low_db: float
    high_db: float

    def __call__(self, samples: np.ndarray, rate: int, random: np.random.Generator) -> np.ndarray:
        noise = self.sounds.excerpt(len(samples), rate, random)
        return add_noise(samples, noise, random.uniform(self.low_db, self.high_db))


@dataclass(frozen=True)
class Band:
    low_hz: float
    high_hz: float

    def __call__(self, samples: np.ndarray, rate: int, random: np.random.Generator) -> np.ndarray:
        return limit_band(samples, rate, low_hz=self.low_hz, high_hz=self.high_hz)


@dataclass(frozen=True)
class Reverb:
    responses: Sounds

    def __call__(self, samples: np.ndarray, rate: int, random: np.random.Generator) -> np.ndarray:
        return reverberate(samples, self.responses.first_channel(rate, random))


@dataclass(frozen=True)
class Augmentation:
    """Steps, each taken with its probability, in their order."""

    steps: tuple[tuple[float, Step], ...]

    @property
    def stretch(self) -> float:
        """How many times as long as it was a waveform is at most."""
        slowest = [min(1.0, *step.factors) for _, step in self.steps if isinstance(step, Speed)]
        return 1.0 / math.prod(slowest)

    @property
    def first_speed(self) -> tuple[float, Speed] | None:
        """The first step with its probability, if it changes the speed."""
        probability, step = self.steps[0] if self.steps else (0.0, None)
        return (probability, step) if isinstance(step, Speed) else None

    def __call__(self, samples: np.ndarray, rate: int, random: np.random.Generator) -> np.ndarray:
        """Other samples (S',) float32; S' differs from S when the speed does."""
        for probability, step in self.steps:
            if random.random() < probability:
                samples = step(samples, rate, random)
        return np.ascontiguousarray(samples, dtype=np.float32)


# ---------------------------------------------------------------------------- the list


def parse_augmentation(items: Sequence[str]) -> Augmentation | None:
    """The augmentation that `--augment` lists; None for an empty list or the word "none".

    UserError names every item that is wrong and how it is written.
    """
    if list(items) in ([], ["none"], [""]):
        return None
    steps, problems = [], []
    for item in items:
        try:
            steps.append(_parse_item(item))
        except (ValueError, UserError) as error:
            problems.append(f"{item!r}: {error}")
    if problems:
        raise UserError(f"--augment {'; '.join(problems)}")
    return Augmentation(tuple(steps))


def _parse_item(item: str) -> tuple[float, Step]:
    """(probability, step) of 'KIND WORD... p=PROBABILITY'; words with spaces stand in quotes."""
    kind, *words = shlex.split(item) or [""]
    if kind not in KINDS:
        raise ValueError(f"must begin with one of {', '.join(KINDS)}")
    make, usage = KINDS[kind]
    try:
        probability = 1.0
        if words and words[-1].startswith("p="):
            probability = _number(words.pop().removeprefix("p="), 0, 1)
        return probability, make(words)
    except ValueError as error:
        raise ValueError(f"{error}; it is written '{usage} p=PROBABILITY'") from None


def _make_speed(words: list[str]) -> Speed:
    if not words:
        raise ValueError("no factor")
    return Speed(tuple(_number(word, 0.5, 2) for word in words))


def _make_gain(words: list[str]) -> Gain:
    return Gain(*_range(words, -60, 60))


def _make_noise(words: list[str]) -> Noise:
    folder, *bounds = words or [""]
    low_db, high_db = _range(bounds, -40, 100)
    return Noise(Sounds.below(folder), low_db, high_db)


def _make_band(words: list[str]) -> Band:
    low_hz, high_hz = _range(words, 0, audio.RATE_HZ / 2)
    if low_hz == high_hz:
        raise ValueError("nothing would remain")
    return Band(low_hz, high_hz)


def _make_reverb(words: list[str]) -> Reverb:
    if len(words) != 1:
        raise ValueError("one folder is needed")
    return Reverb(Sounds.below(words[0]))


KINDS: dict[str, tuple[Callable, str]] = {
    "speed": (_make_speed, "speed FACTOR..."),
    "gain": (_make_gain, "gain LOW_DB HIGH_DB"),
    "noise": (_make_noise, "noise FOLDER LOWEST_SNR_DB HIGHEST_SNR_DB"),
    "band": (_make_band, "band LOW_HZ HIGH_HZ"),
    "reverb": (_make_reverb, "reverb FOLDER"),
}


def _range(words: list[str], lowest: float, highest: float) -> tuple[float, float]:
    if len(words) != 2:
        raise ValueError(f"two numbers are needed, found {' '.join(words) or 'none'}")
    low, high = (_number(word, lowest, highest) for word in words)
    if low > high:
        raise ValueError(f"{low:g} is greater than {high:g}")
    return low, high


def _number(word: str, lowest: float, highest: float) -> float:
    try:
        value = float(word)
    except ValueError:
        raise ValueError(f"{word!r} is not a number") from None
    if not lowest <= value <= highest:
        raise ValueError(f"{word} is not in {lowest:g} to {highest:g}")
    return value
