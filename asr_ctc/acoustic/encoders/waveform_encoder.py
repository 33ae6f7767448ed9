"""What the published encoders that read samples, or mels of their own kind, have in common."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from asr_ctc.acoustic.architecture import Size
from asr_ctc.acoustic.encoders.clip_edges import clips_of
from asr_ctc.acoustic.encoders.convolutions import Convolutions
from asr_ctc.acoustic.encoders.span_masks import SpanMasks


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """What changes a pretrained encoder only while it is trained.

    masks: spans of frames and channels. layer_drop: the probability of skipping a layer.
    checkpointing: compute the layers twice, to keep the memory of one of them only.
    """

    masks: SpanMasks = field(default_factory=SpanMasks)
    layer_drop: float = 0.0
    checkpointing: bool = False


class WaveformEncoder(nn.Module):
    """Clips of inputs (S, C), packed, to frames (T', ``n_outputs``), packed, in the same order.

    ``n_inputs`` is C: 1 for samples. The frames of a clip do not depend on the padding of the
    batch. ``convolutions`` are those from an input to the frames.
    """

    n_inputs: int
    n_outputs: int
    convolutions: Convolutions

    def output_lengths(self, n_inputs: Size) -> Size:
        """Output frames T' of clips of S inputs (an int, or a tensor of them)."""
        return self.convolutions.output_lengths(n_inputs)

    @property
    def output_centres(self) -> tuple[int, float]:
        """(stride, offset): output frame i is centred on input stride · i + offset."""
        return self.convolutions.output_centres

    def forward(self, clips: PackedSequence) -> PackedSequence:
        padded, n_inputs = pad_packed_sequence(clips, batch_first=True)
        if padded.shape[2] != self.n_inputs:
            raise ValueError(f"{self.n_inputs} inputs are needed, found {padded.shape[2]}")
        stages = self.convolutions.stages(n_inputs)
        if not bool((stages[-1] > 0).all()):
            needed = self.convolutions.min_inputs
            raise ValueError(f"a clip of {int(n_inputs.min())} inputs; needed {needed} or more")
        with clips_of(stages):
            frames = self._frames(padded, n_inputs)
        return pack_padded_sequence(frames, stages[-1], batch_first=True, enforce_sorted=False)

    def _frames(self, inputs: torch.Tensor, n_inputs: torch.Tensor) -> torch.Tensor:
        """Frames (B, T', n_outputs) of padded inputs (B, S, C) with lengths (B,)."""
        raise NotImplementedError

    def parts(self) -> OrderedDict[str, nn.Module]:
        """The parts from the input to the output, each of which can be frozen."""
        raise NotImplementedError


def standardize(samples: torch.Tensor, lengths: torch.Tensor, eps: float) -> torch.Tensor:
    """Each clip of samples (B, S) with mean 0 and variance 1 over its own length; zeros after."""
    result = torch.zeros_like(samples)
    for clip, n in enumerate(lengths.tolist()):
        result[clip, :n] = nn.functional.layer_norm(samples[clip, :n], (n,), eps=eps)
    return result
