"""The CTC loss of each clip of a batch."""

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from asr_ctc.acoustic.ctc_model import log_posteriors


def ctc_losses(
    logp: torch.Tensor, n_frames: torch.Tensor, transcripts: PackedSequence
) -> torch.Tensor:
    """CTC loss of each clip (B,) per label, natural logarithm, of what ``log_posteriors`` gives.

    Blank is class 0. Infinite for a transcript too long for its output frames. Graves et al. 2006.
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


def ctc_objective(model: nn.Module, batch) -> torch.Tensor:
    """What training minimises: the loss of each clip (B,) of a pair (spectrograms, transcripts)."""
    spectrograms, transcripts = batch
    return ctc_losses(*log_posteriors(model, spectrograms), transcripts)
