"""The clip that is looked at: its samples, and which part of the recording they are."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import UserError
from asr_ctc.recognition.cutting import LONGEST_S

SLACK_S = 0.05  # a header and its frames may differ by as much


@dataclass(frozen=True)
class Sound:
    """Samples (S,) float32, mono, at ``rate`` Hz; ``note`` says of what part, '' for the whole."""

    name: str
    samples: np.ndarray
    rate: int
    note: str = ""

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate

    def to_wav(self) -> bytes:
        """A WAV file of 16 bits; what is beyond full scale is clipped."""
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(self.rate)
            out.writeframes((self.samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
        return file.getvalue()


def load_sound(path: Path, rate: int, start_s: float = 0.0) -> Sound:
    """A recording, or the 20 s of it from ``start_s`` on: what a model hears as one piece.

    AudioError for one that cannot be used; UserError for a start behind its end.
    """
    duration_s = audio.duration_s(path)
    if start_s and start_s >= duration_s:
        raise UserError(f"{path}: lasts {duration_s:.1f} s, and is to be shown from {start_s:g} s")
    if not start_s and duration_s <= LONGEST_S + SLACK_S:
        return Sound(path.name, audio.load(path, rate), rate)
    samples = audio.load_part(path, start_s=start_s, length_s=LONGEST_S, rate=rate)
    end_s = start_s + len(samples) / rate
    note = f"Shown: {start_s:g} to {end_s:.1f} s of {duration_s:.1f} s; times count from there."
    return Sound(path.name, samples, rate, note)
