"""The textbook prefix beam search: the specification of the two fast ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from asr_ctc.decoding.beam import Beam
from asr_ctc.decoding.hypothesis import Hypothesis, hypotheses_of
from asr_ctc.decoding.posteriors import frames_of_clips
from asr_ctc.text.units import Units


class _PrefixTree:
    """Label prefixes as nodes of a tree, so that a prefix is one integer.

    A prefix that left the beam and is reached again gets its old node: its children may still be in
    the beam, and with a second node the same labels could be in the beam twice.
    """

    ROOT = 0

    def __init__(self) -> None:
        self._parents = [self.ROOT]
        self._labels = [-1]
        self._nodes: dict[tuple[int, int], int] = {}

    def child(self, parent: int, label: int) -> int:
        """The node of the prefix ``parent`` followed by ``label``."""
        node = self._nodes.setdefault((parent, label), len(self._labels))
        if node == len(self._labels):
            self._parents.append(parent)
            self._labels.append(label)
        return node

    def labels(self, node: int) -> tuple[int, ...]:
        """The labels of a prefix."""
        labels = []
        while node != self.ROOT:
            labels.append(self._labels[node])
            node = self._parents[node]
        return tuple(reversed(labels))


def _best(scores: np.ndarray, n: int) -> np.ndarray:
    """Indices of the ``n`` best possible (> -inf) scores (N,), best first, ties by lower index."""
    threshold = np.partition(scores, -n)[-n] if n < len(scores) else -np.inf
    candidates = np.flatnonzero((scores >= threshold) & (scores > -np.inf))
    return candidates[np.argsort(-scores[candidates], kind="stable")][:n]


def _prefix_beam(
    frames: np.ndarray, blank: int, beam_width: int, n_tokens: int, threshold: float
) -> list[tuple[tuple[int, ...], float]]:
    """Labels and log probability of the prefixes left after ``frames`` (T', V), best first.

    The beam holds W ≤ ``beam_width`` prefixes. A prefix has two log probabilities, of the paths
    that end in blank and of those that end in its last label: only the former can be extended by
    the same label again. Empty if every path is impossible.
    """
    n_classes = frames.shape[1]
    tree = _PrefixTree()
    nodes = np.array([tree.ROOT])
    parents = np.array([-1])
    last = np.array([blank])  # the empty prefix has no label, hence no path that ends in one
    p_blank = np.array([0.0])
    p_label = np.array([-np.inf])

    for frame in frames:
        total = np.logaddexp(p_blank, p_label)
        repeated = frame[last]
        stay_blank = total + frame[blank]
        stay_label = p_label + repeated
        rows = np.arange(len(nodes))
        # Candidates (W, V): each prefix extended by each label. The blank column holds the prefix
        # that stays as it is.
        candidates = total[:, None] + frame
        candidates[rows, last] = p_blank + repeated

        children, owners = np.nonzero(parents[:, None] == nodes)
        extended = last[children]
        stay_label[children] = np.logaddexp(stay_label[children], candidates[owners, extended])
        candidates[owners, extended] = -np.inf
        by_likelihood = np.argsort(-frame, kind="stable")
        candidates[:, by_likelihood[by_likelihood != blank][n_tokens:]] = -np.inf
        candidates[:, blank] = np.logaddexp(stay_blank, stay_label)

        scores = candidates.ravel()
        chosen = _best(scores, beam_width)
        chosen = chosen[scores[chosen] >= scores[chosen].max(initial=-np.inf) - threshold]
        source, label = np.divmod(chosen, n_classes)
        stays = label == blank
        p_blank = np.where(stays, stay_blank[source], -np.inf)
        p_label = np.where(stays, stay_label[source], scores[chosen])
        last = np.where(stays, last[source], label)
        parents = np.where(stays, parents[source], nodes[source])
        nodes = nodes[source]
        for row in np.flatnonzero(~stays).tolist():
            nodes[row] = tree.child(int(nodes[row]), int(label[row]))

    total = np.logaddexp(p_blank, p_label)
    return [
        (tree.labels(node), logp) for node, logp in zip(nodes.tolist(), total.tolist(), strict=True)
    ]


def reference_decode(
    logp: torch.Tensor | np.ndarray,
    lengths: torch.Tensor | Sequence[int],
    units: Units,
    beam: Beam,
) -> list[list[Hypothesis]]:
    """``beam.decode`` without a language model, slow and readable."""
    width, n_best, n_tokens, threshold = beam.limits(units.vocab_size)
    hypotheses = []
    penalty = beam.blank_penalty or 0.0
    for frames in frames_of_clips(logp, lengths, units, blank_penalty=penalty):
        prefixes = _prefix_beam(frames, units.blankid, width, n_tokens, threshold)
        best = [(labels, clip_logp, clip_logp) for labels, clip_logp in prefixes[:n_best]]
        hypotheses.append(hypotheses_of(best, units))
    return hypotheses
