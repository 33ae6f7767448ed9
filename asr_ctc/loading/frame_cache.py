"""Frames of a frozen encoder, computed once and kept on the disk.

Each copy of a split is a FeatureCache whose features are the encoder's frames.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_packed_sequence

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.encoder_model import EncoderModel
from asr_ctc.audio.features import Features, Lengths
from asr_ctc.base.errors import UserError
from asr_ctc.base.progress import bar
from asr_ctc.corpus.corpus import ExcludedClip
from asr_ctc.loading.dataset import ClipDataset, mix_seeds
from asr_ctc.loading.feature_cache import FeatureCache
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.sampling import Draw, DurationBatchSampler

BATCH_S = 160.0  # seconds of audio, padding included, that the encoder reads at once


@dataclass(frozen=True, kw_only=True)
class EncodedFeatures(Features):
    """Frames of ``layers`` of an encoder, joined, as features.

    of: the features that the encoder hears. output_lengths: of the encoder. size: numbers of a
    frame. step: features from one frame to the next. stretch: how much longer than a clip its
    augmented copies may be. key: what else the numbers follow from.
    """

    of: Features
    output_lengths: Callable
    size: int
    step: int
    key: tuple[str, ...]
    stretch: float = 1.0  # type: ignore[misc]

    kind = "encoder frames"
    is_scaled = True

    @property
    def rate(self) -> int:
        return self.of.rate

    @property
    def hop(self) -> int:
        return self.step * self.of.hop

    @property
    def min_samples(self) -> int:
        return self.of.min_samples

    @property
    def frame_size(self) -> int:
        return self.size

    def n_frames(self, n_samples: Lengths) -> Lengths:
        return self.output_lengths(self.of.n_frames(n_samples))

    def cache_key(self) -> dict:
        return {"of": self.of.cache_key(), "size": self.size, "key": self.key}

    def analyser(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return _refuse_to_encode


def _refuse_to_encode(waveform: torch.Tensor) -> torch.Tensor:
    raise UserError(
        "a clip's frames are missing from --cache_dir, or damaged: go on with --resume_from, which "
        "computes them again"
    )


class FrameCopies:
    """The kept copies of a split; a draw takes one, by (seed, epoch, row)."""

    def __init__(self, caches: Sequence[FeatureCache], seed: int):
        self.caches, self.seed = caches, seed

    def of(self, draw: Draw) -> FeatureCache:
        """The copy that a draw takes."""
        n_copies = len(self.caches)
        return self.caches[mix_seeds(self.seed, draw.epoch, draw.row, 1) % n_copies]


def encode_missing(
    model: EncoderModel,
    dataset: ClipDataset,
    cache: FeatureCache,
    *,
    copy: int,
    layers: tuple[int, ...],
    device: torch.device,
    precision: str,
    n_threads: int,
) -> list[ExcludedClip]:
    """Fills the cache of a split with what the encoder makes of each clip of ``dataset``.

    What is there is read and checked whole, as an epoch reads it: frames that turned out damaged
    within one could not be computed there, and would end the run.
    ``copy`` seeds its changes in place of an epoch. Clips are encoded in batches of like durations,
    with a bar. Returns those that cannot be used, which have no frames. UserError when there is no
    room for the frames of one: without them no epoch would end.
    """
    corpus = dataset.corpus
    missing = [row for row in range(len(corpus)) if not cache.has(*_place(dataset, row))]
    excluded: list[ExcludedClip] = []
    if not missing:
        return excluded
    durations = corpus.durations[missing]
    sampler = DurationBatchSampler(
        durations, batch_seconds=BATCH_S, computed_s=model.encoder.computed_s, shuffle=False
    )
    draws = [[Draw(missing[row], copy) for row in rows] for rows in sampler.batches(0)]
    rows_of: dict[str, list[int]] = {}
    for row in missing:
        rows_of.setdefault(corpus.path(row), []).append(row)
    loader = make_loader(dataset, draws, n_threads, pin_memory=device.type == "cuda")
    encoder = model.encoder.eval()
    title = f"encoding {corpus.name}, copy {copy}" if copy else f"encoding {corpus.name}"
    with torch.inference_mode():
        for batch in bar(loader, title, "batch"):
            excluded += batch.excluded
            if batch.spectrograms is None:
                continue
            with compute.autocast(device, precision):
                frames = encoder(batch.to(device).spectrograms, layers)
            padded, n_frames = pad_packed_sequence(frames, batch_first=True)
            clips = zip(batch.ids, batch.durations, padded.float().cpu(), n_frames, strict=True)
            for clip_id, duration_s, of_clip, n in clips:
                n_samples = round(duration_s * dataset.processor.rate)
                for row in rows_of[clip_id]:
                    if not cache.put(*_place(dataset, row), of_clip[: int(n)], n_samples):
                        raise UserError(
                            f"{clip_id}: its frames cannot be kept in {cache.folder}: free some of "
                            "the disk, exclude the clip if it is longer than its corpus says, or "
                            "train without a cache"
                        )
    return excluded


def _place(dataset: ClipDataset, row: int) -> tuple[int, Path]:
    """Where a cache has a row, and its file."""
    corpus = dataset.corpus
    return int(corpus.rows[row]), corpus.file(row)


def frozen_key(model: EncoderModel) -> str:
    """A fingerprint of the encoder's frozen weights."""
    digest = hashlib.sha256()
    for name, parameter in model.encoder.named_parameters():
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(parameter.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()[:16]
