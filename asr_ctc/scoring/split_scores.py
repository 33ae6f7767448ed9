"""Decodes and scores a split: the report, and the clips with their errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import DataLoader

from asr_ctc.corpus.corpus import Corpus, ExcludedClip, refuse_if_mostly_broken
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.scoring.clips import ClipErrors, count_errors, in_corpus_order
from asr_ctc.scoring.evaluation import Decode, dataset_of, evaluate
from asr_ctc.scoring.report import (
    SplitDecoding,
    SplitReport,
    duration_bins,
    make_report,
    units_of,
)
from asr_ctc.text.normalise import Distinctions, described
from asr_ctc.text.segments import segmenter_of, why_no_words
from asr_ctc.text.writing import Writing

if TYPE_CHECKING:
    from typing_extensions import Unpack

DISTINCTIONS = ("case", "accents", "punctuation")
# Slices that are no columns of a table.
COMPUTED: dict[str, Callable[[Corpus], list[str]]] = {
    "duration": lambda corpus: duration_bins(corpus.durations),
    "speaker": lambda corpus: [corpus.speakers[row] for row in corpus.rows],
}


@dataclass(frozen=True)
class SplitScores:
    """The report of a split, its clips with their errors, and the clips excluded or unreadable."""

    report: SplitReport
    errors: ClipErrors
    excluded: list[ExcludedClip]


def score_split(
    recognizer: Recognizer,
    loader: DataLoader,
    *,
    n_rows: int,
    decode: Decode,
    decoding: str,
    in_letters: bool = False,
    columns: dict[str, list[str]],
    **distinctions: Unpack[Distinctions],
) -> SplitScores:
    """Decodes the clips of ``loader`` and scores them, with a bar.

    ``n_rows`` is the number of clips in the whole split; ``decode`` turns posteriors into
    hypotheses, those of phonemes ``in_letters`` too, and ``decoding`` is its name; ``columns`` are
    those of ``columns_of``; ``distinctions`` are those of ``metrics.error_rates``, without one what
    the model's units can write. UserError if more than half of the clips cannot be read.
    """
    corpus = dataset_of(loader).corpus
    started_s = time.perf_counter()
    evaluation = evaluate(
        recognizer.model,
        loader,
        recognizer.device,
        decode=decode,
        progress="scoring",
        in_letters=in_letters,
    )
    seconds = time.perf_counter() - started_s
    refuse_if_mostly_broken(corpus.name, evaluation.excluded, len(corpus))

    distinctions = {**evaluation.distinctions, **distinctions}
    writing, phonemes = distinctions["writing"], distinctions.get("phonemes", False)
    clips = in_corpus_order(evaluation, corpus, distinctions)
    errors = count_errors(clips, **distinctions)
    strict = count_errors(
        clips,
        case=True,
        accents=True,
        punctuation=True,
        writing=Writing(name=writing.name, spaces=writing.spaces),
        phonemes=phonemes,
    )
    segmenter, why_no_wer = segmenter_of(writing), why_no_words(writing)
    audio_s = float(corpus.durations.sum(dtype=np.float64))
    split_decoding = SplitDecoding(
        corpus=corpus.name,
        n_decoded=len(corpus),
        n_rows=n_rows,
        hours=corpus.hours,
        decoding=decoding,
        device=str(recognizer.device),
        unreadable=len(evaluation.excluded),
        case_folding=writing.case_folding,
        units=units_of(distinctions),
        distinctions=[name for name in DISTINCTIONS if distinctions.get(name)],
        scored_by=described(distinctions),
        has_words=not why_no_wer,
        why_no_wer=why_no_wer,
        segmenter=segmenter.name if segmenter else "",
        seconds=seconds,
        real_time_factor=seconds / audio_s if audio_s else None,
    )
    report = make_report(split_decoding, errors, strict, columns)
    return SplitScores(report, errors, [*corpus.excluded, *evaluation.excluded])


def columns_of(corpus: Corpus, names: Iterable[str]) -> dict[str, list[str]]:
    """The slice of each clip by each of ``names``: duration, speaker, or a column.

    UserError for a column that the corpus does not have.
    """
    names = list(names)
    columns = corpus.columns(name for name in names if name not in COMPUTED)
    return {name: COMPUTED[name](corpus) if name in COMPUTED else columns[name] for name in names}
