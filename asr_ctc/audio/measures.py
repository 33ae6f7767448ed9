"""How loud the speech of a recording is and how high its frequencies reach."""

import numpy as np

FRAME_S = 0.032
LOUD_SHARE = 0.1  # of the frames: speech, in nearly any recording
BAND_DB = 60.0  # below the strongest frequencies nothing counts
SMOOTH_HZ = 250.0
FLOOR = 1e-12  # -120 dBFS


def speech_dbfs(samples: np.ndarray, rate: int) -> float:
    """Level of the loudest tenth of the samples (S,), in frames of 32 ms: dB re full scale.

    Full scale is the power of samples that are all ±1. -120 for digital silence.
    """
    power = np.square(_frames(samples, rate), dtype=np.float64).mean(axis=1)
    return float(10 * np.log10(_loudest(power).mean() + FLOOR))


def bandwidth_hz(samples: np.ndarray, rate: int) -> float:
    """The highest frequency in the samples (S,) whose power, averaged over 250 Hz and the loudest
    tenth of the frames, is less than 60 dB below that of the strongest; 0 for digital silence."""
    frames = _frames(samples, rate)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    if power.max() <= FLOOR:
        return 0.0
    loud = frames[power >= _loudest(power).min()]
    spectrum = np.square(np.abs(np.fft.rfft(loud * np.hanning(loud.shape[1])))).mean(axis=0)
    n_bins = max(1, round(SMOOTH_HZ * loud.shape[1] / rate))
    smooth = np.convolve(spectrum, np.ones(n_bins) / n_bins, "same")
    audible = np.flatnonzero(smooth > smooth.max() * 10 ** (-BAND_DB / 10))
    return float(audible[-1] * rate / loud.shape[1]) if len(audible) else 0.0


def _frames(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples (S,) as frames (n, size); what is shorter than one is padded with zeros."""
    size = round(FRAME_S * rate)
    n_frames = len(samples) // size
    if n_frames == 0:
        return np.pad(samples, (0, size - len(samples)))[None]
    return samples[: n_frames * size].reshape(n_frames, size)


def _loudest(power: np.ndarray) -> np.ndarray:
    """The largest tenth of the powers (n,), at least one."""
    return np.sort(power)[-max(1, round(LOUD_SHARE * len(power))) :]
