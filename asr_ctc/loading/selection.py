"""The clips of a split that can be used."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from asr_ctc.audio.features import Features
from asr_ctc.base.errors import UserError
from asr_ctc.corpus import transcripts
from asr_ctc.corpus.corpus import Corpus, ExcludedClip, load_split, refuse_if_mostly_broken
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.exclude import exclude_listed
from asr_ctc.display.terminal import seconds_range, several
from asr_ctc.text.feasibility import infeasible
from asr_ctc.text.units import Units

COUNTED = 10_000  # clips in which the frames of the classes are counted


def prepare_split(
    folder: Path,
    split: str,
    *,
    min_s: float = 0.0,
    max_s: float = float("inf"),
    n_threads: int = 4,
    keep_broken: bool = False,
    excluded: Mapping[str, str] | None = None,
    layout: str = "commonvoice",
    index_dir: Path | None = None,
) -> Corpus:
    """A split with durations, cut to the bounds (seconds); UserError when no clip is left.

    ``keep_broken`` keeps clips that cannot be opened, for scoring, where they count. The clips in
    ``excluded`` ({clip: reason}, see exclude.py) are excluded before any is opened.
    ``layout`` and ``index_dir`` as in ``load_split``.
    """
    corpus = exclude_listed(load_split(folder, split, layout, index_dir=index_dir), excluded)
    corpus = with_durations(corpus, n_threads, keep_broken)
    return between_or_refuse(corpus, min_s, max_s, keep_broken=keep_broken)


def between_or_refuse(
    corpus: Corpus, min_s: float, max_s: float, *, keep_broken: bool = False
) -> Corpus:
    """The clips of ``min_s`` to ``max_s`` seconds; UserError when there is none.

    ``keep_broken`` keeps clips that cannot be opened too: they have a duration of 0.
    """
    durations = corpus.durations
    within = (durations >= min_s) & (durations <= max_s)
    chosen = corpus.select(within | (durations == 0) if keep_broken else within)
    if not within.any():
        raise UserError(
            f"{corpus.name}: none of {several(len(corpus), 'clip')} lasts "
            f"{seconds_range(min_s, max_s)} "
            f"(they last {durations.min():.2f} to {durations.max():.2f} s): "
            "change --min_duration, --max_duration"
        )
    return chosen


def exclude_unlearnable(
    corpus: Corpus, charmap: Units, *, features: Features, output_lengths: Callable
) -> Corpus:
    """The clips without those whose transcript is empty or too long for CTC, before training.

    ``output_lengths`` maps frames of these ``features`` to the model's output frames. UserError
    when most clips are excluded.
    """
    needed = transcripts.ctc_frames(corpus, charmap)
    available = _output_frames(corpus, features, output_lengths)
    keep = (needed > 0) & (needed <= available)
    excluded = [
        ExcludedClip(
            corpus.path(i), _why_unlearnable(corpus.sentence(i), charmap, int(available[i]))
        )
        for i in np.flatnonzero(~keep).tolist()
    ]
    refuse_if_mostly_broken(corpus.name, excluded, len(corpus))
    return corpus.select(keep, excluded)


def filled_shares(
    corpus: Corpus, charmap: Units, *, features: Features, output_lengths: Callable
) -> np.ndarray:
    """Of each clip's output frames (N,), the share that CTC needs for the labels."""
    available = _output_frames(corpus, features, output_lengths)
    return transcripts.ctc_frames(corpus, charmap) / np.maximum(available, 1)


def class_frames(
    corpus: Corpus, units: Units, *, features: Features, output_lengths: Callable
) -> torch.Tensor:
    """The output frames (V,) of each class, taking one for each label and the blank for the rest.

    In at most COUNTED clips, evenly spread over the corpus.
    """
    step = -(-len(corpus) // COUNTED)
    some = corpus.select(np.arange(len(corpus)) % step == 0)
    counts = torch.from_numpy(transcripts.label_counts(some, units))
    counts[0] = int(_output_frames(some, features, output_lengths).sum()) - counts.sum()
    return counts


def _output_frames(corpus: Corpus, features: Features, output_lengths: Callable) -> np.ndarray:
    n_samples = torch.from_numpy(np.round(corpus.durations * features.rate).astype(np.int64))
    return np.asarray(output_lengths(features.n_frames(n_samples)))


def _why_unlearnable(sentence: str, charmap: Units, n_output_frames: int) -> str:
    if not sentence.strip():
        return "empty transcript"
    try:
        return infeasible(charmap.encode(sentence), n_output_frames) or "empty transcript"
    except ValueError as error:
        return str(error)
