"""Losses and hypotheses of a whole split: training monitors them, `test` reports them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.data import DataLoader

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.clip_mask import inside
from asr_ctc.acoustic.log_posteriors import both_log_posteriors, log_posteriors
from asr_ctc.acoustic.loss import ctc_losses
from asr_ctc.base.progress import bar
from asr_ctc.corpus.corpus import ExcludedClip
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.scoring.metrics import ErrorRates, error_rates
from asr_ctc.text.normalise import Distinctions, distinctions_of
from asr_ctc.text.units import Units

if TYPE_CHECKING:
    from typing_extensions import Unpack


# The hypotheses of each clip, best first, from (logp (B, T', V), lengths (B,), character map).
Decode = Callable[[torch.Tensor, torch.Tensor, Units], list[list[Hypothesis]]]


@dataclass
class Decoded:
    """A decoded clip: its reference, its hypotheses (best first), its loss per label.

    ``sentence`` is its transcript where the reference is in another form, such as IPA.
    """

    id: str
    reference: str
    hypotheses: list[Hypothesis]
    loss: float = math.nan
    sentence: str | None = None

    @property
    def transcript(self) -> str:
        return self.reference if self.sentence is None else self.sentence


@dataclass
class Evaluation:
    """A split, or part of one, decoded. ``loss`` is the mean over the clips that CTC can align."""

    clips: list[Decoded]
    excluded: list[ExcludedClip] = field(default_factory=list)
    n_frames: int = 0  # output frames
    n_blank_frames: int = 0  # those whose likeliest class is the blank
    # what a model with these units is scored by
    distinctions: Distinctions = field(default_factory=Distinctions)
    aux: Evaluation | None = None  # in the units of the model's second output layer

    @classmethod
    def joined(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """The parts of a split as one evaluation."""
        return cls(
            [clip for part in parts for clip in part.clips],
            [item for part in parts for item in part.excluded],
            sum(part.n_frames for part in parts),
            sum(part.n_blank_frames for part in parts),
            parts[0].distinctions if parts else {},
            cls.joined([part.aux for part in parts if part.aux])
            if parts and parts[0].aux
            else None,
        )

    @property
    def blank_share(self) -> float:
        """Fraction of the output frames whose likeliest class is the blank."""
        return self.n_blank_frames / self.n_frames if self.n_frames else math.nan

    @property
    def empty_share(self) -> float:
        """Fraction of the clips decoded to empty text."""
        n_empty = sum(not clip.hypotheses[0].text for clip in self.clips)
        return n_empty / len(self.clips) if self.clips else math.nan

    @property
    def loss(self) -> float:
        losses = [clip.loss for clip in self.clips if math.isfinite(clip.loss)]
        return sum(losses) / len(losses) if losses else math.nan

    def score(self, **distinctions: Unpack[Distinctions]) -> ErrorRates:
        """Error rates of the best hypotheses, without intervals; see ``metrics.error_rates``."""
        best = [clip.hypotheses[0].text for clip in self.clips]
        references = [clip.reference for clip in self.clips]
        rule: Distinctions = {**self.distinctions, **distinctions}
        return error_rates(references, best, n_resamples=0, **rule)


def dataset_of(loader: DataLoader) -> ClipDataset:
    """The ClipDataset of a loader; TypeError for another dataset."""
    if not isinstance(loader.dataset, ClipDataset):
        raise TypeError(f"a loader of a ClipDataset is needed, not of a {type(loader.dataset)}")
    return loader.dataset


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    loader: DataLoader,
    device: torch.device,
    *,
    precision: str = "fp32",
    decode: Decode = greedy_decode,
    progress: str = "",
    in_letters: bool = False,
) -> Evaluation:
    """Decodes every clip of a loader of a ClipDataset. ``progress`` titles the bar, '' hides it.

    Of a dataset with units for a second output layer, that is decoded too, greedily: ``aux``.
    Hypotheses in phonemes are compared with the phonemes of the transcripts, unless ``decode`` has
    written them ``in_letters``. A clip that is unreadable or silent counts with an empty
    hypothesis.
    """
    model.eval()
    dataset = dataset_of(loader)
    units, aux_units = dataset.charmap, dataset.aux_units
    distinctions = distinctions_of(units, in_letters=in_letters)
    evaluation = Evaluation([], distinctions=distinctions)

    def reference(sentence: str) -> str:
        return units.reference(sentence) if distinctions.get("phonemes") else sentence

    if aux_units is not None:
        evaluation.aux = Evaluation([], distinctions=distinctions_of(aux_units))
    for batch in bar(loader, progress, "batch"):
        evaluation.excluded += batch.excluded
        if not batch.ids:
            continue
        spectrograms, transcripts = batch.to(device)
        with compute.autocast(device, precision):
            if aux_units is None:
                logp, n_frames = log_posteriors(model, spectrograms)
            else:
                logp, aux_logp, n_frames = both_log_posteriors(model, spectrograms)
        losses = ctc_losses(logp, n_frames, transcripts).tolist()
        losses = [
            loss if has_labels else math.nan
            for loss, has_labels in zip(losses, batch.has_labels, strict=True)
        ]
        is_inside = inside(n_frames, logp.shape[1])
        evaluation.n_frames += int(n_frames.sum())
        evaluation.n_blank_frames += int(((logp.argmax(2) == 0).cpu() & is_inside).sum())
        decoded = decode(logp, n_frames, dataset.charmap)
        references = map(reference, batch.sentences)
        evaluation.clips += map(Decoded, batch.ids, references, decoded, losses, batch.sentences)
        if aux_units is not None and evaluation.aux is not None:
            references = map(aux_units.reference, batch.sentences)
            decoded = greedy_decode(aux_logp, n_frames, aux_units)
            evaluation.aux.clips += map(Decoded, batch.ids, references, decoded)
    if evaluation.excluded:
        corpus, sentences = dataset.corpus, defaultdict(list)
        for i in range(len(corpus)):  # a clip may have several rows, each with its sentence
            sentences[corpus.path(i)].append(corpus.sentence(i))
        empty = [Hypothesis("", (), 0.0)]
        for clip, _ in evaluation.excluded:
            sentence = sentences[clip].pop()
            evaluation.clips.append(Decoded(clip, reference(sentence), empty, sentence=sentence))
            if aux_units is not None and evaluation.aux is not None:
                evaluation.aux.clips.append(Decoded(clip, aux_units.reference(sentence), empty))
    return evaluation
