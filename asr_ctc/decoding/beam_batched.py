"""Prefix beam search in torch: all clips of a batch at once, on the device of their posteriors.

Finds the hypotheses of ``beam_reference.reference_decode``; among equal scores its choice may
differ. A frame is a fixed sequence of tensor operations on (clips, beam, classes) that never waits
for a result: with a GPU the CPU only queues them, and reads the choices after the last frame.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

INF = float("inf")

# Rows of ``_Beam.prefix``.
LAST, PARENT, NUMBER = range(3)
# A prefix is identified by a number: 1 for the empty prefix, for a longer one MULTIPLIER · its
# parent's number + its last label, modulo 2⁶⁴. It is the same whenever the prefix is reached, so a
# prefix that left the beam and returns finds its children that stayed. Two prefixes have the same
# number with probability 2⁻⁶⁴: in a beam of 100, once in about 10¹⁵ frames. The multiplier is that
# of Knuth 1997, "The art of computer programming", volume 2, section 3.3.4.
MULTIPLIER = 6364136223846793005
EMPTY_PREFIX, NO_PREFIX = 1, 0


class _Beam(NamedTuple):
    """The W prefixes of each of B clips, best first; an empty row has probability zero."""

    p_blank: Tensor  # (B, W) float64, log probability of the paths that end in blank
    p_label: Tensor  # (B, W) float64, of those that end in the last label
    total: Tensor  # (B, W) float64, of both
    prefix: Tensor  # (3, B, W) int64: its last label, its parent's number, its own


def search(
    frames: Tensor, blank: int, width: int, n_best: int, n_tokens: int, threshold: float
) -> list[list[tuple[tuple[int, ...], float]]]:
    """The ``n_best`` likeliest label sequences of each clip and their log probabilities.

    ``frames`` (B, T', V) holds natural log probabilities in float64: in float32 a clip of 750
    frames would have an error of more than 10⁻⁴. A shorter clip is padded with frames that are
    blank with probability 1; they change nothing. The beam keeps ``width`` prefixes after each
    frame; only the ``n_tokens`` likeliest labels of a frame extend prefixes; a prefix more than
    ``threshold`` below the best is dropped. Each list is best first, and empty if every path is
    impossible.

    Memory on the device: about B · W · (W + 8 · V) bytes, and 8 · T' · B · W for the choices.
    """
    n_classes = frames.shape[2]
    total, choices = run(frames, blank, width, n_tokens, threshold)
    logps = total[:, :n_best].cpu().numpy()
    labels = _trace(choices.cpu().numpy(), logps.shape[1], n_classes)
    return [
        [
            (tuple(path[path != blank].tolist()), float(logp))
            for path, logp in zip(labels[:, clip].T, logps[clip], strict=True)
            if logp > -INF
        ]
        for clip in range(len(frames))
    ]


@torch.no_grad()
def run(
    frames: Tensor, blank: int, width: int, n_tokens: int, threshold: float
) -> tuple[Tensor, Tensor]:
    """Log probabilities (B, W) of the last beam, and the choices of each frame, (T', B, W) int64.

    A choice is row · V + class: a row of the beam before the frame, and the class that extends it;
    the class ``blank`` means that the row stays as it is.
    """
    n_clips, _, n_classes = frames.shape
    blanks = frames[:, :, blank, None]
    labels = frames.clone()
    labels[:, :, blank].fill_(-INF)
    rare = None
    if n_tokens < n_classes - 1:
        by_likelihood = labels.argsort(dim=2, descending=True, stable=True)
        rare = torch.zeros_like(labels, dtype=torch.bool)
        rare.scatter_(2, by_likelihood[:, :, n_tokens:], True)

    beam = _first_beam(frames, blank, width)
    choices = [torch.empty(0, n_clips, width, dtype=torch.int64, device=frames.device)]
    for t in range(frames.shape[1]):
        rare_labels = None if rare is None else rare[:, t]
        beam, chosen = _step(beam, blanks[:, t], labels[:, t], rare_labels, blank, threshold)
        choices.append(chosen[None])
    return beam.total, torch.cat(choices)


def _first_beam(frames: Tensor, blank: int, width: int) -> _Beam:
    """The empty prefix of each clip. It has no label, hence no path that ends in a label."""
    impossible = frames.new_full((len(frames), width), -INF)
    total = impossible.clone()
    total[:, 0] = 0.0
    prefix = torch.full_like(impossible, NO_PREFIX, dtype=torch.int64).repeat(3, 1, 1)
    prefix[LAST, :, 0] = blank
    prefix[NUMBER, :, 0] = EMPTY_PREFIX
    return _Beam(total, impossible, total, prefix)


def _step(
    beam: _Beam,
    p_of_blank: Tensor,
    p_of_label: Tensor,
    rare: Tensor | None,
    blank: int,
    threshold: float,
) -> tuple[_Beam, Tensor]:
    """The beam after a frame, and its choices (B, W), see ``run``.

    ``p_of_blank`` (B, 1) and ``p_of_label`` (B, V) are the frame, the latter -inf for the blank;
    ``rare`` (B, V) marks labels that extend no prefix. Nothing here may wait for a value on the
    device: no branch and no shape may depend on one, and ``where`` gets no Python number.
    """
    last, parent, number = beam.prefix
    n_clips, width = last.shape
    n_classes = p_of_label.shape[1]

    # Each prefix extended by each label; by its last label again only after a blank.
    candidates = beam.total[:, :, None] + p_of_label[:, None]
    p_of_last = p_of_label.gather(1, last)
    candidates.scatter_(2, last[:, :, None], (beam.p_blank + p_of_last)[:, :, None])

    # An extension that spells a prefix of the beam is merged into that prefix. For a prefix whose
    # parent is not in the beam, the index is the blank of the first row, still impossible here.
    flat = candidates.view(n_clips, width * n_classes)
    is_orphan, parent_row = (parent[:, :, None] != number[:, None]).min(2)
    index = torch.add(last, parent_row, alpha=n_classes).masked_fill_(is_orphan, blank)
    stay_label = torch.logaddexp(beam.p_label + p_of_last, flat.gather(1, index))
    stay_blank = beam.total + p_of_blank
    flat.scatter_(1, index, -INF)
    if rare is not None:
        candidates.masked_fill_(rare[:, None], -INF)
    candidates[:, :, blank] = torch.logaddexp(stay_blank, stay_label)

    total, chosen = flat.topk(width)
    row, label = chosen // n_classes, chosen % n_classes
    grows = label != blank
    p_blank = stay_blank.gather(1, row).masked_fill_(grows, -INF)
    p_label = torch.where(grows, total, stay_label.gather(1, row))
    if threshold < INF:
        is_far = total < total[:, :1] - threshold
        p_blank, p_label, total = (p.masked_fill(is_far, -INF) for p in (p_blank, p_label, total))

    source = beam.prefix.gather(2, row.expand(3, -1, -1))
    new_number = torch.add(label, source[NUMBER], alpha=MULTIPLIER)
    extended = torch.stack([label, source[NUMBER], new_number])
    prefix = torch.where(grows, extended, source).masked_fill_(total == -INF, NO_PREFIX)
    return _Beam(p_blank, p_label, total, prefix), chosen


def _trace(choices: np.ndarray, n_best: int, n_classes: int) -> np.ndarray:
    """The classes (T', B, n_best) that led to the best rows, from ``choices`` (T', B, W)."""
    n_frames, n_clips, _ = choices.shape
    labels = np.empty((n_frames, n_clips, n_best), dtype=np.int64)
    rows = np.tile(np.arange(n_best), (n_clips, 1))
    for t in reversed(range(n_frames)):
        rows, labels[t] = np.divmod(np.take_along_axis(choices[t], rows, axis=1), n_classes)
    return labels
