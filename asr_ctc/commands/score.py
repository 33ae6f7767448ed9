"""`test --split`: error rates of a split, and the files that were asked for."""

import sys
from pathlib import Path

from asr_ctc.assembly.decoder import beam_settings
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.config.settings import ScoringConfig


def distinctions_of(settings: ScoringConfig) -> dict[str, bool]:
    """The settings as ``metrics.error_rates`` takes them."""
    return {
        "case": settings.case,
        "accents": settings.accents,
        "punctuation": settings.punctuation,
    }


def beam_method(config, stored) -> str:
    from asr_ctc.assembly.decoder import uses_stored, weights_of

    name = stored.name if uses_stored(config, stored) else config.decoding.lm
    method = f"beam search of {config.decoding.beamwidth}"
    weights = [f"{key} {value:g}" for key, value in weights_of(config, stored).items()]
    return f"{method} with {name} ({', '.join(weights)})" if name else method


def run_score(recognizer, config) -> int:
    """How well a split is recognised, over every clip unless duration bounds are typed."""
    from functools import partial

    from asr_ctc.assembly.splits import make_scoring_loader, split_to_read
    from asr_ctc.decoding.beam import beam_decode
    from asr_ctc.decoding.greedy import greedy_decode
    from asr_ctc.scoring.screen import as_text
    from asr_ctc.scoring.split_scores import columns_of, score_split

    beam = beam_settings(config, recognizer)
    corpus, n_rows = split_to_read(recognizer, config, config.corpus.split)
    columns = columns_of(corpus, config.scoring.by)
    refuse_missing_folders(config.scoring)
    decode, decoding = greedy_decode, "greedy"
    if config.decoding.beamsearch:
        width = config.decoding.beamwidth
        decode = partial(beam_decode, beam_width=width, n_best=1, **beam)
        decoding = beam_method(config, recognizer.file.language_model)
    scores = score_split(
        recognizer,
        make_scoring_loader(recognizer, corpus, config.corpus.nthreads),
        n_rows=n_rows,
        decode=decode,
        decoding=decoding,
        columns=columns,
        **distinctions_of(config.scoring),
    )
    paths = write_files(scores, columns, config.scoring)
    for clip, reason in scores.excluded:
        print(f"note: {clip}: {reason}", file=sys.stderr)
    print(scores.report.to_json() if config.runs.json else as_text(scores.report))
    if paths:
        print(f"written: {', '.join(paths)}", file=sys.stderr)
    return 0


def refuse_missing_folders(settings: ScoringConfig) -> None:
    """UserError when a file that is to be written has no folder: before any work is done."""
    for path in (settings.csv, settings.html, settings.hypotheses):
        if path and not Path(path).parent.is_dir():
            raise UserError(f"cannot write {path}: there is no folder {Path(path).parent}")


def write_files(scores, columns: dict[str, list[str]], settings: ScoringConfig) -> list[str]:
    """Writes the files that the settings name; returns their paths."""
    from asr_ctc.scoring.clips import as_csv, as_jsonl
    from asr_ctc.scoring.page import as_page

    texts = {
        settings.csv: lambda: as_csv(scores.errors, columns),
        settings.html: lambda: as_page(scores.report),
        settings.hypotheses: lambda: as_jsonl(scores.errors.clips),
    }
    paths = [path for path in texts if path]
    for path in paths:
        write_atomically(Path(path), texts[path]().encode("utf-8", "backslashreplace"))
    return paths
