"""Padding of a batch must not change a clip: layers that know where each clip ends.

The published models of the group-norm kind (wav2vec 2.0 base and its kin) normalise over the whole
padded batch, and convolutions with padding of their own (data2vec's positions, adapters that
subsample) see what earlier layers made of the padding. ``keep_clips_apart`` changes both, so that
the frames of a clip in a batch are those of the clip alone, which is how the models are evaluated.
The names and the values of the weights stay as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar

import torch
from torch import nn

from asr_ctc.acoustic.clip_mask import inside

# The lengths (B,) of the clips by the number of frames that the batch has at that layer. A context
# variable, since several threads may run one model.
_LENGTHS: ContextVar[dict[int, torch.Tensor] | None] = ContextVar("lengths", default=None)


@contextlib.contextmanager
def clips_of(stages: Iterable[torch.Tensor]) -> Iterator[None]:
    """Within it layers know the clips' lengths (B,), given for each stage of the model."""
    token = _LENGTHS.set({int(lengths.max()): lengths for lengths in stages})
    try:
        yield
    finally:
        _LENGTHS.reset(token)


def lengths_at(n_frames: int) -> torch.Tensor | None:
    """The lengths (B,) of the clips of a batch of ``n_frames``; None where none is padded."""
    lengths = (_LENGTHS.get() or {}).get(n_frames)
    if lengths is None or bool((lengths == n_frames).all()):
        return None
    return lengths


class ClipGroupNorm(nn.GroupNorm):
    """GroupNorm whose statistics are those of each clip's own frames."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lengths = lengths_at(x.shape[2])
        if lengths is None:
            return super().forward(x)
        normed = torch.zeros_like(x)
        for clip, n_frames in enumerate(lengths.tolist()):
            normed[clip : clip + 1, :, :n_frames] = super().forward(
                x[clip : clip + 1, :, :n_frames]
            )
        return normed


def _zero_padding(layer: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
    """What a convolution reads in place of the padded (B, C, T): zeros past the ends of clips."""
    (x,) = inputs
    lengths = lengths_at(x.shape[2])
    if lengths is None:
        return None
    return (x * inside(lengths, x.shape[2], x.device)[:, None].to(x.dtype),)


def keep_clips_apart(model: nn.Module) -> None:
    """Changes the layers of ``model`` in which the padding of a batch would reach its clips."""
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if type(layer) is nn.GroupNorm:
                norm = ClipGroupNorm(layer.num_groups, layer.num_channels, layer.eps, layer.affine)
                norm.weight, norm.bias = layer.weight, layer.bias
                setattr(parent, name, norm)
            elif isinstance(layer, nn.Conv1d) and layer.padding != (0,):
                layer.register_forward_pre_hook(_zero_padding)
