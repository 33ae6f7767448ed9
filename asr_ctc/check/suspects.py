"""Ranks transcripts by how much a trained model doubts them: wrong ones rise to the top."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from asr_ctc.acoustic.log_posteriors import log_posteriors
from asr_ctc.assembly.scored_split import make_scoring_loader
from asr_ctc.base.progress import bar
from asr_ctc.check.scan import ScannedSplit
from asr_ctc.decoding.alignment import best_path
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.scoring.metrics import error_rates
from asr_ctc.text.feasibility import infeasible
from asr_ctc.text.normalise import distinctions_of
from asr_ctc.text.units import Units

LISTED_SHARE, MOST_LISTED = 0.06, 1000  # of a split's clips: twice as many as may well be wrong


@dataclass(frozen=True)
class Suspect:
    """A clip, its transcript and the model's hypothesis (``heard``).

    ``gap`` is the log probability of the model's best path minus that of the transcript's, per
    character: 0 if the paths are the same, infinite if the transcript is too long. ``cer`` is that
    of the hypothesis against the transcript, as a fraction.
    """

    clip: str
    sentence: str
    heard: str
    gap: float
    cer: float

    @property
    def gap_text(self) -> str:
        return f"{self.gap:.2f} a character" if math.isfinite(self.gap) else "too long"


@dataclass(frozen=True)
class SplitSuspects:
    """The number of clips ranked in a split, and the most suspect 6 % of them, worst first."""

    n_ranked: int = field(metadata={"json": "ranked"})
    clips: list[Suspect]


@dataclass(frozen=True)
class Suspects:
    """The transcripts that a model doubts, by split; ``model`` is the path of its file."""

    model: str
    splits: dict[str, SplitSuspects]
    rate: str = "CER"  # what ``cer`` is called: a model of phonemes has a PER


def find_suspects(
    recognizer: Recognizer, splits: dict[str, ScannedSplit], n_threads: int
) -> dict[str, SplitSuspects]:
    """The suspects of each split, with gap and CER to three places."""
    suspects = {}
    for name, split in splits.items():
        ranking = rank(judge(recognizer, split, n_threads=n_threads, title=f"{name}: listening"))
        n_listed = min(math.ceil(LISTED_SHARE * len(ranking)), MOST_LISTED)
        suspects[name] = SplitSuspects(
            len(ranking),
            [replace(s, gap=round(s.gap, 3), cer=round(s.cer, 3)) for s in ranking[:n_listed]],
        )
    return suspects


def rank(suspects: list[Suspect]) -> list[Suspect]:
    """Sorts by the sum of the ranks by gap and by CER, then by gap; the most suspect first."""
    gaps, cers = (np.array([getattr(s, name) for s in suspects]) for name in ("gap", "cer"))
    places = np.searchsorted(np.sort(gaps), gaps) + np.searchsorted(np.sort(cers), cers)
    return [suspects[i] for i in np.lexsort([-gaps, -places])]


@torch.inference_mode()
def judge(
    recognizer: Recognizer, split: ScannedSplit, *, n_threads: int, title: str = ""
) -> list[Suspect]:
    """Compares every scanned clip with its transcript; ``title`` is that of the progress bar.

    Skips clips that cannot be decoded, and those whose transcript is empty or has characters that
    the model's map refuses.
    """
    corpus = split.corpus.select(split.scan_mask)
    durations = split.durations[split.scan_mask]
    loader = make_scoring_loader(recognizer, corpus, n_threads, durations)
    suspects = []
    for batch in bar(loader, title, "batch"):
        if not batch.ids:
            continue
        posteriors, lengths = log_posteriors(recognizer.model, batch.to(recognizer.device)[0])
        clips = zip(
            batch.ids,
            batch.sentences,
            batch.has_labels,
            posteriors.cpu(),
            lengths.tolist(),
            strict=True,
        )
        for clip, sentence, has_labels, logp, n_frames in clips:
            if has_labels:
                suspects.append(suspect_of(clip, sentence, logp[:n_frames], recognizer.charmap))
    return list(filter(None, suspects))


def suspect_of(clip: str, sentence: str, logp: torch.Tensor, units: Units) -> Suspect | None:
    """The Suspect of log posteriors (T', V); None if the transcript has no word."""
    ((heard,),) = greedy_decode(logp[None], [len(logp)], units)
    reference = units.reference(sentence)
    cer = error_rates([reference], [heard.text], n_resamples=0, **distinctions_of(units)).cer
    if math.isnan(cer):
        return None
    labels = units.encode(sentence)
    gap = math.inf
    if infeasible(labels, len(logp)) is None:
        gap = max(0.0, heard.logp - best_path(logp, labels, units.blankid).logp) / len(labels)
    return Suspect(clip, reference, heard.text, gap, cer)
