"""Reads a split with a model, says how well, and writes the files that were asked for."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from asr_ctc.assembly.decoder import beam_settings
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.config.load import Config
from asr_ctc.config.settings import ScoringConfig
from asr_ctc.corpus.corpus import Corpus, LeftOut, refuse_if_mostly_broken
from asr_ctc.scoring.clips import as_csv, as_jsonl, count_errors, in_corpus_order
from asr_ctc.scoring.evaluation import evaluate
from asr_ctc.scoring.page import as_page
from asr_ctc.scoring.report import duration_bins, make_report


def score_split(
    recognizer, loader, n_there: int, decode, method: str, config: Config
) -> tuple[dict, list[LeftOut], list[str]]:
    """(the report, see ``report.make_report``; the clips that were left out; the files written).

    ``loader`` gives the clips, ``n_there`` is how many rows the split has, ``decode`` reads the
    posteriors and ``method`` is its name. UserError for a column or a file that cannot be used,
    before anything is read, and when more than half of the clips cannot be.
    """
    settings, output = config.scoring, config.output
    corpus: Corpus = loader.dataset.corpus
    columns = columns_of(corpus, settings.by)
    for path in (output.csv, output.html, output.hypotheses):
        if path and not Path(path).parent.is_dir():
            raise UserError(f"cannot write {path}: there is no folder {Path(path).parent}")

    started_s = time.perf_counter()
    evaluation = evaluate(
        recognizer.model, loader, recognizer.device, decode=decode, progress="scoring"
    )
    seconds = time.perf_counter() - started_s
    refuse_if_mostly_broken(corpus.name, evaluation.left_out, len(corpus))

    clips = in_corpus_order(evaluation, corpus)
    errors = count_errors(clips, **what_to_keep(settings))
    strict = count_errors(clips, keep_case=True, keep_accents=True, keep_punctuation=True)
    audio_s = float(corpus.durations.sum(dtype=np.float64))
    report = {
        "corpus": corpus.name,
        "clips_read": len(corpus),
        "clips_there": n_there,
        "hours": corpus.hours,
        "decoding": method,
        "device": str(recognizer.device),
        "unreadable": len(evaluation.left_out),
        "kept": kept(settings),
        "seconds": seconds,
        "real_time_factor": seconds / audio_s if audio_s else None,
        **make_report(errors, strict, columns),
    }
    files = {
        output.csv: lambda: as_csv(errors, columns),
        output.html: lambda: as_page(report),
        output.hypotheses: lambda: as_jsonl(clips),
    }
    written = [path for path in files if path]
    for path in written:
        write_atomically(Path(path), files[path]().encode("utf-8"))
    return report, [*corpus.left_out, *evaluation.left_out], written


def columns_of(corpus: Corpus, names: list[str]) -> dict[str, list[str]]:
    """What slice each clip belongs to, by each of ``names``: duration, speaker, or a column."""
    known = {
        "duration": lambda: duration_bins(corpus.durations),
        "speaker": lambda: [corpus.speakers[row] for row in corpus.rows],
    }
    further = corpus.columns(name for name in names if name not in known)
    return {name: known[name]() if name in known else further[name] for name in names}


def what_to_keep(settings: ScoringConfig) -> dict[str, bool]:
    """The settings as ``metrics.normalise_text`` takes them."""
    return {
        "keep_case": settings.case,
        "keep_accents": settings.accents,
        "keep_punctuation": settings.punctuation,
    }


def kept(settings: ScoringConfig) -> list[str]:
    return [name for name in ("case", "accents", "punctuation") if getattr(settings, name)]


def as_json(report: dict) -> str:
    return json.dumps(report, ensure_ascii=False, indent=1)


def beam_method(config, stored) -> str:
    from asr_ctc.assembly.decoder import uses_stored, weights_of

    name = stored.name if uses_stored(config, stored) else config.decoding.lm
    method = f"beam search of {config.decoding.beamwidth}"
    weights = [f"{key} {value:g}" for key, value in weights_of(config, stored).items()]
    return f"{method} with {name} ({', '.join(weights)})" if name else method


def run_score(recognizer, config) -> int:
    """How well a split is read, over every clip unless duration bounds are typed."""
    from functools import partial

    from asr_ctc.assembly.splits import make_scoring_loader, split_to_read
    from asr_ctc.commands import score as split
    from asr_ctc.decoding.beam import beam_decode
    from asr_ctc.decoding.greedy import greedy_decode
    from asr_ctc.scoring.screen import as_text

    settings = beam_settings(config, recognizer)
    corpus, n_there = split_to_read(recognizer, config, config.input.split)
    loader = make_scoring_loader(recognizer, corpus, config.runtime.nthreads)
    decode, method = greedy_decode, "greedy"
    if config.decoding.beamsearch:
        width = config.decoding.beamwidth
        decode = partial(beam_decode, beam_width=width, n_best=1, **settings)
        method = beam_method(config, recognizer.file.language_model)
    scored = split.score_split(recognizer, loader, n_there, decode, method, config)
    report, left_out, written = scored
    for clip, reason in left_out:
        print(f"note: {clip}: {reason}", file=sys.stderr)
    print(split.as_json(report) if config.output.json else as_text(report))
    if written:
        print(f"written: {', '.join(written)}", file=sys.stderr)
    return 0
