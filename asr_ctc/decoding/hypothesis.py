"""What a decoder returns, and the seconds of its frames."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from asr_ctc.text.charmap import CharMap


class Timed(NamedTuple):
    """A character or a word, when it was said, and how sure the model is of it.

    ``confidence`` is the geometric mean of the posteriors of its labels over their frames, 0 to 1.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class FrameClock:
    """The seconds of a clip's output frames: frame i is centred ``first_s + i * step_s`` after its
    start, and stands for the ``step_s`` around that, within the clip's ``duration_s``."""

    step_s: float
    first_s: float
    duration_s: float

    def start_s(self, frame: float) -> float:
        """When a frame starts, which is when the one before it ends; frames may be divided."""
        start_s = self.first_s + (frame - 0.5) * self.step_s
        return float(min(max(start_s, 0.0), self.duration_s))


@dataclass(frozen=True)
class Hypothesis:
    """One reading of a clip: its text, its labels without blanks, its natural log probability.

    ``score`` is what a beam search ranks by: ``logp`` and what a language model adds to it.
    ``words`` and ``characters`` say when each was said, once ``alignment.with_times`` put them in.
    """

    text: str
    labels: tuple[int, ...]
    logp: float
    words: tuple[Timed, ...] = field(default=(), compare=False, repr=False)
    characters: tuple[Timed, ...] = field(default=(), compare=False, repr=False)
    score: float = field(default=math.nan, compare=False)


def hypotheses_of(
    beam: Iterable[tuple[tuple[int, ...], float, float]], charmap: CharMap
) -> list[Hypothesis]:
    """(labels, logp, score) of a beam with their texts; the empty hypothesis of an empty beam."""
    beam = list(beam) or [((), -math.inf, -math.inf)]
    return [
        Hypothesis(charmap.text(labels), labels, logp, score=score) for labels, logp, score in beam
    ]
