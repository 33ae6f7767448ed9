"""Whether a recording sounds like what the model was trained on."""

from statistics import median
from typing import NamedTuple

import numpy as np

from asr_ctc.audio.measures import bandwidth_hz, speech_dbfs

BAND_FACTOR = 0.56  # between a telephone's 4 kHz and the 7.4 kHz of most wideband clips
# Beyond the first and 99th percentile of the training; features less each clip's mean hardly depend
# on the level, until noise or rounding hides the speech.
LEVEL_MARGIN_DB = {"none": 12.0, "mean": 30.0, "mean_variance": 30.0}  # by clip_norm


class TrainedSound(NamedTuple):
    """As trained_sound.py measured it, kept in the origin of a model file; and how much quieter or
    louder a recording may be."""

    band_hz: tuple[float, float]
    speech_dbfs: tuple[float, float]
    level_margin_db: float = LEVEL_MARGIN_DB["none"]

    @classmethod
    def from_origin(cls, origin: dict, clip_norm: str = "none") -> "TrainedSound | None":
        """None for a file that does not say it; ``clip_norm`` is that of its features."""
        try:
            low_hz, high_hz = map(float, origin["sound"]["band_hz"])
            low_dbfs, high_dbfs = map(float, origin["sound"]["speech_dbfs"])
        except (KeyError, TypeError, ValueError):
            return None
        return cls((low_hz, high_hz), (low_dbfs, high_dbfs), LEVEL_MARGIN_DB[clip_norm])


class RecordingNotes:
    """Gathers band and level of the pieces of a recording, and says where they are far from what
    the model was trained on; nothing when ``trained`` is None."""

    def __init__(self, trained: TrainedSound | None, rate: int):
        self.trained, self.rate = trained, rate
        self.bands_hz: list[float] = []
        self.levels_dbfs: list[float] = []

    def add(self, samples: np.ndarray) -> None:
        """A piece, samples (S,) at the model's rate. Digital silence has neither."""
        if self.trained is not None and samples.any():
            self.bands_hz.append(bandwidth_hz(samples, self.rate))
            self.levels_dbfs.append(speech_dbfs(samples, self.rate))

    def lines(self) -> list[str]:
        """A line for the level and one for the band, by the medians of the pieces."""
        if self.trained is None or not self.bands_hz:
            return []
        lines = []
        level_dbfs, (low_dbfs, high_dbfs) = median(self.levels_dbfs), self.trained.speech_dbfs
        margin_db = self.trained.level_margin_db
        if not low_dbfs - margin_db <= level_dbfs <= high_dbfs + margin_db:
            lines.append(
                f"its speech is at {level_dbfs:.0f} dBFS, unlike the training's {low_dbfs:.0f} to "
                f"{high_dbfs:.0f} dBFS: expect errors"
            )
        band_hz, (low_hz, high_hz) = median(self.bands_hz), self.trained.band_hz
        if not low_hz * BAND_FACTOR <= band_hz <= high_hz / BAND_FACTOR:
            lines.append(
                f"its sound reaches up to {band_hz / 1000:.1f} kHz, unlike the training's "
                f"{low_hz / 1000:.1f} to {high_hz / 1000:.1f} kHz: expect errors"
            )
        return lines
