"""Batches, and a model of two letters that learns from them: small enough to check by hand."""

import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from asr_ctc.loading.batch import Batch
from asr_ctc.models import CTCModel
from asr_ctc.text.charmap import CharMap


def labels(*clips: list[int]) -> PackedSequence:
    return pack_sequence([torch.tensor(clip) for clip in clips], enforce_sorted=False)


def make_batch(*transcripts: list[int], n_frames: int = 30) -> Batch:
    """Clips of noise, all of ``n_frames``, with these labels."""
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(n_frames, 20, generator=generator) for _ in transcripts]
    return Batch(
        pack_sequence(features),
        labels(*transcripts),
        ids=tuple(f"clip {i}" for i in range(len(transcripts))),
        durations=(n_frames / 100,) * len(transcripts),
    )


def make_model(**penalties: float) -> CTCModel:
    """The same weights each time."""
    torch.manual_seed(0)
    return CTCModel(CharMap.from_symbols("ab"), 20, 4, 1, "GRU", 0.0, **penalties).train()
