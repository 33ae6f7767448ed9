"""The prefix beam as it grows: which prefixes were in it after each frame, and which paths met.

The search itself is ``beam.advance``, frame by frame; it is not changed by being watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from asr_ctc.decoding.beam import Beam, BeamState, advance, start_beam
from asr_ctc.text.units import Units


class Prefix(NamedTuple):
    """A prefix in the beam after a frame.

    ``number`` names its labels, wherever it appears. ``logp`` is the natural log probability of its
    paths so far, ``score`` that with a language model's contribution, by which the beam is ranked.
    ``merged`` is the share of it, 0 to 1, of paths that came in this frame from the prefix that is
    one label shorter, while this one was in the beam already: two prefixes have become one.
    """

    number: int
    logp: float
    score: float
    merged: float = 0.0


@dataclass(frozen=True)
class BeamHistory:
    """The beams before the first frame and after each of T' frames, every one best first.

    ``labels`` and ``parents`` are those of each prefix by its number; 0 is the empty one, whose
    parent is -1.
    """

    labels: list[tuple[int, ...]]
    parents: list[int]
    beams: list[list[Prefix]]

    def numbers(self, frame: int) -> set[int]:
        """The prefixes in the beam after ``frame`` frames."""
        return {prefix.number for prefix in self.beams[frame]}

    def arrived(self, frame: int) -> set[int]:
        """Those that were not in the beam one frame before."""
        return self.numbers(frame) - (self.numbers(frame - 1) if frame else set())

    def dropped(self, frame: int) -> set[int]:
        """Those that were in the beam one frame before, and are not any more."""
        return (self.numbers(frame - 1) if frame else set()) - self.numbers(frame)

    def ancestors(self, number: int) -> set[int]:
        """The prefix and all shorter ones that it begins with."""
        line = set()
        while number >= 0:
            line.add(number)
            number = self.parents[number]
        return line

    def leading(self) -> list[int]:
        """In each beam the likeliest of the prefixes that the best of the last beam begins with.

        -1 where there is none: the search found no possible path.
        """
        last = self.beams[-1]
        best = self.ancestors(last[0].number) if last else set()
        return [next((p.number for p in beam if p.number in best), -1) for beam in self.beams]


def record_beam(logp: torch.Tensor | np.ndarray, charmap: Units, beam: Beam) -> BeamHistory:
    """The history of a search through one clip, (T', V) natural log probabilities.

    ValueError as ``advance``, and for a beam with a device.
    """
    frames = np.asarray(logp.detach().cpu() if isinstance(logp, torch.Tensor) else logp)
    reader = beam.reader
    wide = frames if reader is None else reader.widen(frames)
    state = start_beam(charmap, beam)
    beams = [_prefixes(state)]
    for t in range(len(frames)):
        before, state = state, advance(state, frames[t : t + 1])
        beams.append(_prefixes(state, before, wide[t]))
    from asr_ctc.decoding.beam_compiled import LABEL, PARENT, ROOT

    labels: list[tuple[int, ...]] = []
    parents: list[int] = []
    for number, node in enumerate(state.arrays.tree.nodes.tolist()):
        is_root = number == ROOT
        parents.append(-1 if is_root else node[PARENT])
        label = node[LABEL] if reader is None else reader.own_class(node[LABEL])
        labels.append(() if is_root else (*labels[node[PARENT]], label))
    return BeamHistory(labels, parents, beams)


def _prefixes(
    state: BeamState, before: BeamState | None = None, frame: np.ndarray | None = None
) -> list[Prefix]:
    """The rows of a beam, with the share of what ``frame`` merged into them."""
    from asr_ctc.decoding.beam_compiled import BOUND, LABEL, PARENT

    tree, rows = state.arrays
    old = {} if before is None else {int(n): row for row, n in enumerate(before.arrays.rows.node)}
    prefixes = []
    for number, total in zip(rows.node.tolist(), rows.total.tolist(), strict=True):
        label, parent = int(tree.nodes[number, LABEL]), int(tree.nodes[number, PARENT])
        merged = 0.0
        if before is not None and frame is not None and number in old and parent in old:
            repeats = label == tree.nodes[parent, LABEL]
            paths = before.arrays.rows.p_blank if repeats else before.arrays.rows.total
            merged = float(np.exp(paths[old[parent]] + float(frame[label]) - total))
        score = total + float(tree.lm_score[number, BOUND])
        prefixes.append(Prefix(number, total, score, merged))
    return prefixes
