"""Prefix beam search, on the processor or on a device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from asr_ctc.decoding import beam_batched
from asr_ctc.decoding.fusion import Fusion, no_fusion
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.decoding.posteriors import frames_of_clips, padded_batch
from asr_ctc.text.charmap import CharMap


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
    cuts = cuts_of(beam_width, n_best, beam_tokens, beam_threshold, charmap)
    if device is not None:
        if fusion is not None:
            raise ValueError("a beam search on a device takes no fusion")

        batch = padded_batch(logp, lengths, charmap, device)
        beams = beam_batched.search(batch, charmap.blankid, beam_width, n_best, *cuts)
        return [hypotheses_of([(*found, found[1]) for found in beam], charmap) for beam in beams]

    from asr_ctc.decoding.beam_compiled import search  # loads the compiler

    fusion = fusion or no_fusion(charmap.vocab_size)
    clips = [np.ascontiguousarray(frames) for frames in frames_of_clips(logp, lengths, charmap)]

    def decode(frames: np.ndarray) -> list[Hypothesis]:
        labels, ends, logps, scores = search(
            frames, charmap.blankid, beam_width, n_best, *cuts, fusion
        )
        found = [tuple(part.tolist()) for part in np.split(labels, ends)[:-1]]
        return hypotheses_of(zip(found, logps.tolist(), scores.tolist(), strict=True), charmap)

    n_threads = min(torch.get_num_threads(), len(clips))
    if n_threads <= 1:
        return [decode(frames) for frames in clips]
    with ThreadPoolExecutor(n_threads) as threads:
        return list(threads.map(decode, clips))


def cuts_of(
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


def hypotheses_of(
    beam: Iterable[tuple[tuple[int, ...], float, float]], charmap: CharMap
) -> list[Hypothesis]:
    """(labels, logp, score) of a beam as a person reads them; the empty reading of an empty one."""
    beam = list(beam) or [((), -np.inf, -np.inf)]
    return [
        Hypothesis(charmap.text(labels), labels, logp, score=score) for labels, logp, score in beam
    ]
