"""The memory that training a model with an encoder takes for a clip, by its length.

What a transformer keeps of a clip for its gradient grows with the clip's length, and with its
square where attention weights are kept. Both are counted on noise of a few lengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.encoder_model import EncoderModel
from asr_ctc.acoustic.log_posteriors import log_posteriors
from asr_ctc.audio.features import Features

PROBES_S = 1.0, 2.0, 4.0
SHORTER = 0.9  # the second clip of a probe: batches are padded, and a mask takes memory too
LONGEST_S = 3600.0  # no clip is longer, whatever would fit
# Convolutions halve their frames one after the other: when nothing is kept for a gradient, about
# this share of what they put out is there at once.
LIVE_SHARE_OF_FRONT = 2 / 3


@dataclass(frozen=True)
class Parabola:
    """Bytes of n clips of s seconds: ``fixed`` + n · (``per_s`` · s + ``per_s2`` · s²)."""

    fixed: float
    per_s: float
    per_s2: float

    def __call__(self, n_clips: int, duration_s: float) -> float:
        return self.fixed + n_clips * (self.per_s * duration_s + self.per_s2 * duration_s**2)


@dataclass(frozen=True)
class ClipMemory:
    """The bytes of activations in training, at their peak.

    kept: for the gradient, until the backward pass reaches them. at_work: besides these, for the
    layer that this is computing. front: for what is below the layers, before they keep anything.
    """

    kept: Parabola
    at_work: Parabola
    front: Parabola

    def of_batch(self, n_clips: int, longest_s: float) -> float:
        """Bytes of a batch of clips, each padded to the longest."""
        kept, at_work, front = (
            part(n_clips, longest_s) for part in (self.kept, self.at_work, self.front)
        )
        return max(kept + at_work, front)

    def longest_s(self, n_bytes: float, n_clips: int = 1) -> float:
        """Seconds of the longest clip of which a batch of ``n_clips`` takes at most ``n_bytes``.

        0 where there is none, ``LONGEST_S`` where even that one fits.
        """
        low, high = 0.0, LONGEST_S
        if self.of_batch(n_clips, high) <= n_bytes:
            return high
        while high - low > 0.05:
            middle = (low + high) / 2
            fits = self.of_batch(n_clips, middle) <= n_bytes
            low, high = (middle, high) if fits else (low, middle)
        return math.floor(low * 10) / 10


def measure_clip_memory(
    model: EncoderModel, features: Features, *, device: torch.device, precision: str
) -> ClipMemory:
    """Of ``model`` as it is trained: its frozen layers without gradient, in evaluation mode.

    ``features`` are those that it is given. The state of torch's generators stays as it is.
    """
    encoder, tuning = model.encoder, model.encoder.fine_tuning
    is_checkpointed = tuning is not None and tuning.checkpointing
    counts = []
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            if tuning:
                encoder.fine_tuning = replace(tuning, layer_drop=0.0)
            with compute.autocast(device, precision):
                for longest_s in PROBES_S:
                    clips = _noise(features, longest_s, device)
                    counts.append(_count(model, clips, is_checkpointed))
        finally:
            encoder.fine_tuning = tuning
    seconds = encoder.computed_s(np.array(PROBES_S))
    if seconds[0] == seconds[-1]:  # all are padded alike, and a batch costs by its clips alone
        parabolas = np.array([(0.0, of_both / (2 * seconds[-1]), 0.0) for of_both in counts[-1]])
    else:
        terms = np.stack([np.ones(len(seconds)), 2 * seconds, 2 * seconds**2], 1)  # two clips
        parabolas = np.linalg.solve(terms, np.array(counts)).T
    return ClipMemory(*(Parabola(*map(float, np.maximum(p, 0.0))) for p in parabolas))


def _noise(features: Features, longest_s: float, device: torch.device) -> PackedSequence:
    """Two clips, packed."""
    size = (features.frame_size,) if features.frame_size else ()
    lengths = [features.n_frames(round(s * longest_s * features.rate)) for s in (1.0, SHORTER)]
    return pack_sequence([torch.randn(n, *size, device=device) for n in lengths])


def _count(
    model: EncoderModel, clips: PackedSequence, is_checkpointed: bool
) -> tuple[float, float, float]:
    """Bytes kept, at work and of the front."""
    encoder, last = model.encoder, model.architecture.layers[-1]
    kept = _saved(model, lambda: log_posteriors(model, clips)).megabytes
    x, n_frames = pad_packed_sequence(clips, batch_first=True)
    front = 0.0
    if model.input_layers is None:
        samples, n_inputs = x.requires_grad_(), n_frames
        saved = _saved(model, lambda: encoder.front(samples, n_inputs))
        front = LIVE_SHARE_OF_FRONT * saved.megabytes
        with torch.no_grad():
            x, n_frames = encoder.front(samples, n_inputs), encoder.output_lengths(n_inputs)
    x, at_work = x.detach().requires_grad_(), 0.0
    if last and is_checkpointed:
        # One layer at a time is computed again, and keeps what all layers keep otherwise.
        assert encoder.fine_tuning is not None
        tuning = encoder.fine_tuning
        encoder.fine_tuning = replace(tuning, checkpointing=False)
        at_work = 2 * _of_last_layer(model, x, n_frames)
        encoder.fine_tuning = tuning
    elif last:
        at_work = _of_last_layer(model, x, n_frames)
    return kept * 1e6, at_work * 1e6, front * 1e6


def _of_last_layer(model: EncoderModel, x: torch.Tensor, n_frames: torch.Tensor) -> float:
    """Megabytes that the topmost layer that is read keeps, and those of its input."""
    last = model.architecture.layers[-1]
    saved = _saved(
        model, lambda: model.encoder.frames_above(x, n_frames, first=last - 1, layers=[last])
    )
    return saved.megabytes + x.nbytes / 1e6


def _saved(model: torch.nn.Module, forward: Callable[[], Any]) -> compute.SavedActivations:
    with compute.SavedActivations(model) as saved:
        forward()
    return saved
