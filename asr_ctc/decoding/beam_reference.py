"""From log probabilities to hypotheses: best path, and prefix beam search with an n-best list.

The beam search that is used is compiled, in ``fast_beam``, or decodes a whole batch on a device, in
``batch_beam``; the reference of both stands here to be read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from asr_ctc.decoding.alignment import Timed
    from asr_ctc.decoding.fusion import Fusion
    from asr_ctc.text.charmap import CharMap

LOGP_TOLERANCE = 1e-3  # how far above zero rounding may carry a log probability (half precision)


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


class _PrefixTree:
    """Label prefixes as nodes of a tree, so that a prefix is one integer.

    A prefix that left the beam and is reached again gets its old node: its children may have
    outlived it, and a second node would let the same labels stand in the beam twice.
    """

    ROOT = 0

    def __init__(self):
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
        labels = []
        while node != self.ROOT:
            labels.append(self._labels[node])
            node = self._parents[node]
        return tuple(reversed(labels))


def _best(scores: np.ndarray, n: int) -> np.ndarray:
    """Indices of the ``n`` best possible (> -inf) scores (N,), best first, ties by lower index."""
    threshold = np.partition(scores, -n)[-n] if n < len(scores) else -np.inf
    kept = np.flatnonzero((scores >= threshold) & (scores > -np.inf))
    return kept[np.argsort(-scores[kept], kind="stable")][:n]


def _best_path(frames: np.ndarray, blank: int) -> tuple[tuple[int, ...], float]:
    """Labels of the best path through ``frames`` (T', V), and the log probability of that path."""
    path = frames.argmax(axis=1)
    logp = float(frames.max(axis=1).sum())
    if logp == -np.inf:
        return (), logp
    starts = np.ones(len(path), dtype=bool)
    starts[1:] = path[1:] != path[:-1]
    return tuple(path[starts & (path != blank)].tolist()), logp


def _prefix_beam(
    frames: np.ndarray, blank: int, beam_width: int, n_tokens: int, threshold: float
) -> list[tuple[tuple[int, ...], float]]:
    """Labels and log probability of the prefixes left after ``frames`` (T', V), best first.

    The beam holds W ≤ ``beam_width`` prefixes. A prefix has two log probabilities, of the paths
    that end in blank and of those that end in its last label: only the former may repeat that
    label as a new one. Empty when every path is impossible.
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
        # Candidates (W, V): each prefix extended by each label. The blank column has no extension
        # and holds the prefix that stays as it is.
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


def _clips(
    logp: torch.Tensor | np.ndarray, lengths: torch.Tensor | Sequence[int], charmap: CharMap
) -> list[np.ndarray]:
    """The valid frames of each clip, (T'_b, V) float64; ValueError for what cannot be decoded.

    Frames past a clip's length are padding and may hold anything.
    """
    if isinstance(logp, torch.Tensor):
        logp = logp.detach().cpu().double().numpy()
    logp = np.asarray(logp, dtype=np.float64)
    clips = []
    for clip, length in enumerate(_checked_lengths(logp.shape, lengths, charmap)):
        frames = logp[clip, :length]
        _refuse_unless_logp(clip, frames.max(initial=-np.inf))
        clips.append(frames)
    return clips


def _checked_lengths(
    shape: Sequence[int], lengths: torch.Tensor | Sequence[int], charmap: CharMap
) -> list[int]:
    """The lengths of the clips in frames; ValueError unless they and ``shape`` fit together."""
    if len(shape) != 3:
        raise ValueError(f"logp has shape {tuple(shape)}; needed (clips, frames, classes)")
    n_clips, n_frames, n_classes = shape
    if n_classes != charmap.vocab_size:
        raise ValueError(
            f"logp has {n_classes} classes; the character map needs {charmap.vocab_size}"
        )

    lengths = np.asarray(lengths.cpu() if isinstance(lengths, torch.Tensor) else lengths)
    if lengths.shape != (n_clips,):
        raise ValueError(
            f"lengths has shape {lengths.shape}; needed ({n_clips},), one for each clip"
        )
    if n_clips and not np.issubdtype(lengths.dtype, np.integer):
        raise ValueError(f"lengths are {lengths.dtype}; needed integers, in frames")
    for clip, length in enumerate(lengths.tolist()):
        if not 0 <= length <= n_frames:
            raise ValueError(f"clip {clip} has length {length}; needed 0 to {n_frames} frames")
    return lengths.tolist()


def _refuse_unless_logp(clip: int, greatest: float) -> None:
    """ValueError when the greatest value of a clip, NaN if it holds one, is no log probability."""
    if math.isnan(greatest):
        raise ValueError(f"clip {clip} holds NaN; needed log probabilities")
    if greatest > LOGP_TOLERANCE:
        raise ValueError(f"clip {clip} holds {greatest:.4g}; needed log probabilities, at most 0")


def _batch(
    logp: torch.Tensor | np.ndarray,
    lengths: torch.Tensor | Sequence[int],
    charmap: CharMap,
    device: torch.device | str,
) -> torch.Tensor:
    """All clips on the device, (B, T', V) float64; ValueError as for ``_clips``.

    Frames past a clip's length are blank, for certain.
    """
    if not isinstance(logp, torch.Tensor):
        logp = torch.from_numpy(np.array(logp, dtype=np.float64))
    lengths = _checked_lengths(logp.shape, lengths, charmap)
    logp = logp.detach().to(device).double()
    frame = torch.arange(logp.shape[1], device=device)
    is_padding = frame >= torch.tensor(lengths, device=device)[:, None]
    batch = logp.masked_fill(is_padding[:, :, None], -torch.inf)
    if batch.numel():
        for clip, greatest in enumerate(batch.amax(dim=(1, 2)).tolist()):
            _refuse_unless_logp(clip, greatest)
    batch[:, :, charmap.blankid].masked_fill_(is_padding, 0.0)
    return batch


def greedy_decode(
    logp: torch.Tensor | np.ndarray, lengths: torch.Tensor | Sequence[int], charmap: CharMap
) -> list[list[Hypothesis]]:
    """Best-path decoding: the likeliest class of each frame, repeats merged, blanks dropped.

    ``logp`` (B, T', V) holds natural log probabilities, ``lengths`` (B,) the frames of each clip.
    Returns one hypothesis for each clip, in a list of its own as ``beam_decode`` does. Its
    ``logp`` is that of the one best path, thus a lower bound on that of its labels, which other
    paths spell as well. Equal classes: the lower wins. A clip of no frames gives the empty
    hypothesis with logp 0, one without a possible path the empty hypothesis with logp -inf.

    Raises ValueError for a wrong shape, lengths out of range, NaN or values above zero within a
    clip's length.

    Source: Graves et al. 2006, "Connectionist temporal classification", section 3.2.
    """
    decoded = []
    for frames in _clips(logp, lengths, charmap):
        labels, path_logp = _best_path(frames, charmap.blankid)
        decoded.append([Hypothesis(charmap.text(labels), labels, path_logp)])
    return decoded


def beam_decode(
    logp: torch.Tensor | np.ndarray,
    lengths: torch.Tensor | Sequence[int],
    charmap: CharMap,
    beam_width: int = 10,
    n_best: int = 10,
    *,
    beam_tokens: int | None = None,
    beam_threshold: float | None = None,
    fusion: Fusion | None = None,
    device: torch.device | str | None = None,
) -> list[list[Hypothesis]]:
    """Prefix beam search: the likeliest labels, all their paths added up, and a language model.

    ``logp`` (B, T', V) holds natural log probabilities, ``lengths`` (B,) the frames of each clip.
    After each frame the ``beam_width`` likeliest prefixes go on. Returns for each clip at most
    ``min(beam_width, n_best)`` hypotheses, best first, all with different labels (two may share
    a text, which leaves out sentence marks and outer spaces) and none of probability zero. A clip
    of no frames gives the empty hypothesis with logp 0, one without a possible path the empty
    hypothesis with logp -inf.

    ``logp`` of a hypothesis adds up the paths that the beam kept: a lower bound on minus the CTC
    loss of its labels, and equal to it when the beam was wide enough to drop nothing. Ties are
    broken by rank in the beam before the frame, then by class, where staying counts as blank.

    Two more cuts make the beam narrower than its width: only the ``beam_tokens`` likeliest labels
    of a frame make new prefixes; a prefix more than ``beam_threshold`` below the best one (natural
    logarithm) leaves the beam. None cuts nothing.

    ``fusion`` (``fusion.fuse`` makes it of a language model) adds to the score by which prefixes
    are ranked; ``logp`` stays what the frames say. What it makes impossible is left out.

    The clips are spread over ``torch.get_num_threads()`` threads of the processor. With a
    ``device`` they are decoded there instead, all at once: it takes no ``fusion``, and breaks ties
    in an order of its own.

    Raises ValueError for a wrong shape, lengths out of range, NaN or values above zero within a
    clip's length, ``beam_width``, ``n_best`` or ``beam_tokens`` below 1, ``beam_threshold``
    below 0, a ``fusion`` with a ``device``.

    Source: Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using
    bi-directional recurrent DNNs", algorithm 1, without its
    re-use of prefixes that have left the beam; Graves 2012, "Supervised sequence labelling with
    recurrent neural networks", section 7.5.
    """
    cuts = _cuts(beam_width, n_best, beam_tokens, beam_threshold, charmap)
    if device is not None:
        if fusion is not None:
            raise ValueError("a beam search on a device takes no fusion")
        from asr_ctc.decoding import beam_batched as batch_beam

        batch = _batch(logp, lengths, charmap, device)
        beams = batch_beam.search(batch, charmap.blankid, beam_width, n_best, *cuts)
        return [_hypotheses([(*found, found[1]) for found in beam], charmap) for beam in beams]

    from asr_ctc.decoding.beam_compiled import search
    from asr_ctc.decoding.fusion import no_fusion

    fusion = fusion or no_fusion(charmap.vocab_size)
    clips = [np.ascontiguousarray(frames) for frames in _clips(logp, lengths, charmap)]

    def decode(frames: np.ndarray) -> list[Hypothesis]:
        labels, ends, logps, scores = search(
            frames, charmap.blankid, beam_width, n_best, *cuts, fusion
        )
        found = [tuple(part.tolist()) for part in np.split(labels, ends[:-1])]
        return _hypotheses(zip(found, logps.tolist(), scores.tolist(), strict=True), charmap)

    n_threads = min(torch.get_num_threads(), len(clips))
    if n_threads <= 1:
        return [decode(frames) for frames in clips]
    with ThreadPoolExecutor(n_threads) as threads:
        return list(threads.map(decode, clips))


def reference_beam_decode(
    logp: torch.Tensor | np.ndarray,
    lengths: torch.Tensor | Sequence[int],
    charmap: CharMap,
    beam_width: int = 10,
    n_best: int = 10,
    *,
    beam_tokens: int | None = None,
    beam_threshold: float | None = None,
) -> list[list[Hypothesis]]:
    """``beam_decode`` without a language model, and slow: the search as one reads it."""
    cuts = _cuts(beam_width, n_best, beam_tokens, beam_threshold, charmap)
    decoded = []
    for frames in _clips(logp, lengths, charmap):
        beam = _prefix_beam(frames, charmap.blankid, beam_width, *cuts)
        beam = [(labels, clip_logp, clip_logp) for labels, clip_logp in beam[:n_best]]
        decoded.append(_hypotheses(beam, charmap))
    return decoded


def _cuts(
    beam_width: int,
    n_best: int,
    beam_tokens: int | None,
    beam_threshold: float | None,
    charmap: CharMap,
) -> tuple[int, float]:
    """``beam_tokens`` and ``beam_threshold`` as numbers; ValueError for a setting out of range."""
    n_tokens = charmap.vocab_size if beam_tokens is None else beam_tokens
    threshold = np.inf if beam_threshold is None else beam_threshold
    for name, value in dict(beam_width=beam_width, n_best=n_best, beam_tokens=n_tokens).items():
        if value < 1:
            raise ValueError(f"{name} is {value}; needed 1 or more")
    if not threshold >= 0:
        raise ValueError(f"beam_threshold is {threshold}; needed 0 or more")
    return n_tokens, threshold


def _hypotheses(
    beam: Iterable[tuple[tuple[int, ...], float, float]], charmap: CharMap
) -> list[Hypothesis]:
    """(labels, logp, score) of a beam as a person reads them; the empty reading of an empty one."""
    beam = list(beam) or [((), -np.inf, -np.inf)]
    return [
        Hypothesis(charmap.text(labels), labels, logp, score=score) for labels, logp, score in beam
    ]
