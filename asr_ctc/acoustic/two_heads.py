"""A second output layer on the same encoder, at its last recurrent layer or at a lower one.

Krishna et al. 2018, "Hierarchical multitask learning for CTC-based speech recognition"; Sanabria &
Metze 2018, "Hierarchical multitask learning with CTC".
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from asr_ctc.acoustic.recurrent import run_layers

MAIN, AUX = "main", "aux"


class _Tap:
    """A function between two recurrent layers that remembers what passes."""

    def __init__(self, following: nn.Module | None):
        self.following, self.passed = following, torch.zeros(0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.passed = x
        return x if self.following is None else self.following(x)


def run_tapped(
    rnn: nn.RNNBase,
    x: torch.Tensor,
    n_frames: torch.Tensor,
    norms: Sequence[nn.Module],
    *,
    layer: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The output of ``run_layers``, and that of the ``layer``-th of its layers, counted from 1.

    The second is (T, B, 2H), or packed (N, 2H) where the layers run packed.
    """
    if layer == rnn.num_layers:
        hidden = run_layers(rnn, x, n_frames, norms)
        return hidden, hidden
    taps = [_Tap(norm) for norm in norms] or [_Tap(None) for _ in range(rnn.num_layers - 1)]
    hidden = run_layers(rnn, x, n_frames, taps)  # type: ignore[arg-type]  # they are called only
    return hidden, taps[layer - 1].passed


def pack_both(
    hidden: torch.Tensor,
    tapped: torch.Tensor,
    n_frames: torch.Tensor,
    heads: tuple[nn.Module, nn.Module],
) -> tuple[PackedSequence, PackedSequence]:
    """The logits of both heads, packed; ``tapped`` as ``run_tapped`` returns it."""
    main = pack_padded_sequence(heads[0](hidden), n_frames, enforce_sorted=False)
    if tapped.dim() == 2:  # packed in the same order
        return main, PackedSequence(heads[1](tapped), *main[1:])
    return main, pack_padded_sequence(heads[1](tapped), n_frames, enforce_sorted=False)
