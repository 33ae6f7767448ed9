"""The output layers of a model: one, and perhaps a second one on the same encoder, at its last
recurrent layer or at a lower one.

Krishna et al. 2018, "Hierarchical multitask learning for CTC-based speech recognition"; Sanabria &
Metze 2018, "Hierarchical multitask learning with CTC".
"""

from collections.abc import Sequence
from typing import Any

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


class OutputLayers(nn.Module):
    """The output layers of an acoustic model: ``charlin`` and perhaps a second one, ``auxlin``.

    ``head`` is the one that ``forward`` returns, MAIN or AUX.
    """

    head: str
    charlin: nn.Sequential
    auxlin: nn.Sequential | None

    def _add_output_layers(self, n_hidden: int, vocab_size: int, aux_vocab_size: int) -> None:
        self.charlin = nn.Sequential(nn.Linear(n_hidden, vocab_size))
        self.head, self.auxlin = MAIN, None
        if aux_vocab_size:
            self.auxlin = nn.Sequential(nn.Linear(n_hidden, aux_vocab_size))

    @torch.no_grad()
    def set_priors(self, head: str, counts: torch.Tensor) -> None:
        """Starts an untrained output layer from the ``counts`` (V,) of its classes' frames.

        The biases become the logarithms of the shares, so that training need not first learn which
        classes are frequent: Lin et al. 2017, "Focal loss for dense object detection". One is added
        to each count, so that no share is 0.
        """
        layer = self.auxlin if head == AUX else self.charlin
        assert layer is not None
        shares = (counts.double() + 1) / (counts + 1).sum()
        layer.get_parameter("0.bias").copy_(shares.log())

    @property
    def output_layer(self) -> nn.Module:
        """The linear layer of the ``head`` that is read."""
        return self.auxlin if self.auxlin is not None and self.head == AUX else self.charlin

    def _reads_aux(self, both: bool) -> bool:
        return self.auxlin is not None and (both or self.head == AUX)

    def _logits(
        self, hidden: torch.Tensor, tapped: torch.Tensor, n_frames: torch.Tensor, both: bool
    ) -> Any:
        """Logits of the ``head``, packed, or of ``both``; ``tapped`` as of ``run_tapped``."""
        main = pack_padded_sequence(self.charlin(hidden), n_frames, enforce_sorted=False)
        if self.auxlin is None or not self._reads_aux(both):
            return main
        if tapped.dim() == 2:  # packed in the same order
            aux = PackedSequence(self.auxlin(tapped), *main[1:])
        else:
            aux = pack_padded_sequence(self.auxlin(tapped), n_frames, enforce_sorted=False)
        return (main, aux) if both else aux
