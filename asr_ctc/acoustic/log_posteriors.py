"""The log posteriors of a batch."""

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


def log_posteriors(
    model: nn.Module, spectrograms: PackedSequence
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities (B, T', V) in float32 of a packed batch, and the output lengths (B,)."""
    return _padded(model(spectrograms))


def both_log_posteriors(
    model: nn.Module, spectrograms: PackedSequence
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Those of both output layers of a model, and the output lengths (B,)."""
    main, aux = model(spectrograms, both=True)
    logp, lengths = _padded(main)
    return logp, _padded(aux)[0], lengths


def _padded(logits: PackedSequence) -> tuple[torch.Tensor, torch.Tensor]:
    padded, lengths = pad_packed_sequence(logits, batch_first=True)
    return padded.float().log_softmax(dim=-1), lengths
