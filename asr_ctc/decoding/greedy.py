"""Greedy decoding: the likeliest class of each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.decoding.posteriors import frames_of_clips
from asr_ctc.lm.stored import StoredModel
from asr_ctc.text.units import Units


def _best_path(frames: np.ndarray, blank: int) -> tuple[tuple[int, ...], float]:
    """Labels of the best path through ``frames`` (T', V), and the log probability of that path."""
    path = frames.argmax(axis=1)
    logp = float(frames.max(axis=1).sum())
    if logp == -np.inf:
        return (), logp
    starts = np.ones(len(path), dtype=bool)
    starts[1:] = path[1:] != path[:-1]
    return tuple(path[starts & (path != blank)].tolist()), logp


def greedy_decode(
    logp: torch.Tensor | np.ndarray, lengths: torch.Tensor | Sequence[int], units: Units
) -> list[list[Hypothesis]]:
    """Best-path decoding: the likeliest class of each frame, repeats merged, blanks dropped.

    ``logp`` (B, T', V) holds natural log probabilities, ``lengths`` (B,) the frames of each clip.
    Returns a list of one hypothesis for each clip, as ``beam_decode`` does. Its ``logp`` is that of
    the best path alone: a lower bound on that of its labels, which other paths spell too. Of
    equally likely classes the lowest wins. A clip without frames has the empty hypothesis with logp
    0, a clip without a possible path the empty hypothesis with logp -inf.

    Raises ValueError for a wrong shape, lengths out of range, NaN or values above zero within a
    clip's length.

    Source: Graves et al. 2006, "Connectionist temporal classification", section 3.2.
    """
    hypotheses = []
    for frames in frames_of_clips(logp, lengths, units):
        labels, path_logp = _best_path(frames, units.blankid)
        hypotheses.append([Hypothesis(units.text(labels), labels, path_logp)])
    return hypotheses


@dataclass(frozen=True)
class Greedy:
    """``greedy_decode`` as a decoder, in the place of a ``Beam``."""

    fusion: ClassVar[None] = None
    reader: ClassVar[None] = None
    decode = staticmethod(greedy_decode)

    def prepared(self, units: Units, stored: StoredModel | None = None) -> Greedy:
        return self

    def name(self, stored: StoredModel | None = None) -> str:
        return "greedy"
