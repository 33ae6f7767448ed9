"""The CTC loss of each clip of a batch."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from asr_ctc.acoustic.log_posteriors import both_log_posteriors, log_posteriors


def ctc_losses(
    logp: torch.Tensor, n_frames: torch.Tensor, transcripts: PackedSequence
) -> torch.Tensor:
    """CTC loss per label of each clip (B,), natural logarithm.

    ``logp`` (B, T', V) and ``n_frames`` (B,) are those of ``log_posteriors``; blank is class 0. The
    loss of a transcript that is too long for its output frames is infinite. Graves et al. 2006.
    """
    labels, n_labels = pad_packed_sequence(transcripts, batch_first=True)
    losses = torch.nn.functional.ctc_loss(
        logp.transpose(0, 1),
        labels,
        n_frames.to(labels.device),
        n_labels.to(labels.device),
        reduction="none",
    )
    return losses / n_labels.to(losses.device)


def ctc_objective(model: nn.Module, batch: Any) -> torch.Tensor:
    """Training objective: the loss of each clip (B,) of a pair (spectrograms, transcripts)."""
    spectrograms, transcripts = batch
    logp, n_frames = log_posteriors(model, spectrograms)
    return ctc_losses(logp, n_frames, transcripts)


def two_headed_objective(model: nn.Module, batch: Any, *, aux_weight: float) -> torch.Tensor:
    """As ``ctc_objective`` for a model with two output layers: the weighted sum of their losses.

    ``aux_weight`` is that of the second, the first has the rest of 1.
    """
    spectrograms, transcripts = batch
    logp, aux_logp, n_frames = both_log_posteriors(model, spectrograms)
    losses = ctc_losses(logp, n_frames, transcripts)
    aux_losses = ctc_losses(aux_logp, n_frames, batch.aux_transcripts)
    return (1 - aux_weight) * losses + aux_weight * aux_losses
