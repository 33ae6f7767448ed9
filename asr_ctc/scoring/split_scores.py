"""A split decoded and scored: the report, and the clips with their errors."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader

from asr_ctc.corpus.corpus import Corpus, LeftOut, refuse_if_mostly_broken
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.scoring.clips import ClipErrors, count_errors, in_corpus_order
from asr_ctc.scoring.evaluation import evaluate
from asr_ctc.scoring.report import SplitDecoding, SplitReport, duration_bins, make_report

DISTINCTIONS = ("case", "accents", "punctuation")


@dataclass(frozen=True)
class SplitScores:
    """The report on a split, its clips with their errors, and those that could not be decoded."""

    report: SplitReport
    errors: ClipErrors
    excluded: list[LeftOut]


def score_split(
    recognizer: Recognizer,
    loader: DataLoader,
    *,
    n_rows: int,
    decode,
    decoding: str,
    columns: dict[str, list[str]],
    **distinctions: bool,
) -> SplitScores:
    """Decodes the clips of ``loader`` and scores them, with a bar.

    ``n_rows`` is how many clips the split has in all; ``decode`` turns posteriors into hypotheses
    and ``decoding`` is its name; ``columns`` are those of ``columns_of``; ``distinctions`` those
    of ``metrics.error_rates``, such as case. UserError when more than half of the clips cannot be
    read.
    """
    corpus: Corpus = loader.dataset.corpus
    started_s = time.perf_counter()
    evaluation = evaluate(
        recognizer.model, loader, recognizer.device, decode=decode, progress="scoring"
    )
    seconds = time.perf_counter() - started_s
    refuse_if_mostly_broken(corpus.name, evaluation.left_out, len(corpus))

    clips = in_corpus_order(evaluation, corpus)
    errors = count_errors(clips, **distinctions)
    strict = count_errors(clips, **dict.fromkeys(DISTINCTIONS, True))
    audio_s = float(corpus.durations.sum(dtype=np.float64))
    facts = SplitDecoding(
        corpus=corpus.name,
        n_decoded=len(corpus),
        n_rows=n_rows,
        hours=corpus.hours,
        decoding=decoding,
        device=str(recognizer.device),
        unreadable=len(evaluation.left_out),
        distinctions=[name for name in DISTINCTIONS if distinctions.get(name)],
        seconds=seconds,
        real_time_factor=seconds / audio_s if audio_s else None,
    )
    report = make_report(facts, errors, strict, columns)
    return SplitScores(report, errors, [*corpus.left_out, *evaluation.left_out])


def columns_of(corpus: Corpus, names: Iterable[str]) -> dict[str, list[str]]:
    """What slice each clip belongs to, by each of ``names``: duration, speaker, or a column.

    UserError for a column that the corpus does not have.
    """
    computed = {
        "duration": lambda: duration_bins(corpus.durations),
        "speaker": lambda: [corpus.speakers[row] for row in corpus.rows],
    }
    names = list(names)
    columns = corpus.columns(name for name in names if name not in computed)
    return {name: computed[name]() if name in computed else columns[name] for name in names}
