"""The log posteriors of a batch."""

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


def log_posteriors(
    model: nn.Module, spectrograms: PackedSequence
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities (B, T', V) in float32 of a packed batch, and the output lengths (B,)."""
    logits, lengths = pad_packed_sequence(model(spectrograms), batch_first=True)
    return logits.float().log_softmax(dim=-1), lengths
