"""The hypotheses that a decoder returns, and the seconds of its frames."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from asr_ctc.text.units import Units


class Timed(NamedTuple):
    """A character or a word with its times and the model's confidence.

    ``confidence`` is the geometric mean of the posteriors of its labels over their frames, 0 to 1.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class FrameClock:
    """The seconds of a clip's output frames.

    Frame i is centred at ``first_s + i * step_s`` and is ``step_s`` long, cut off at the clip's
    start and at its end, ``duration_s``.
    """

    step_s: float
    first_s: float
    duration_s: float

    def start_s(self, frame: float) -> float:
        """The start of a frame, which is the end of the one before; ``frame`` may be fractional."""
        start_s = self.first_s + (frame - 0.5) * self.step_s
        return float(min(max(start_s, 0.0), self.duration_s))


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis for a clip: its text, its labels without blanks, its natural log probability.

    A beam search ranks by ``score``: ``logp`` plus the language model's contribution. Of both a
    ``blank_penalty`` is subtracted already.
    ``words`` and ``characters``, with their times, are empty until ``alignment.with_times``.
    ``written`` are the words of the text where a lexicon has read them from phonemes.
    """

    text: str
    labels: tuple[int, ...]
    logp: float
    words: tuple[Timed, ...] = field(default=(), compare=False, repr=False)
    characters: tuple[Timed, ...] = field(default=(), compare=False, repr=False)
    score: float = field(default=math.nan, compare=False)
    written: tuple[str, ...] = field(default=(), compare=False, repr=False)


def hypotheses_of(
    beam: Iterable[tuple[tuple[int, ...], float, float]], units: Units
) -> list[Hypothesis]:
    """Hypotheses from the (labels, logp, score) of a beam; the empty one if the beam is empty."""
    beam = list(beam) or [((), -math.inf, -math.inf)]
    return [
        Hypothesis(units.text(labels), labels, logp, score=score) for labels, logp, score in beam
    ]
