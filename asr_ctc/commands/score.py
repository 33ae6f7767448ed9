"""`test --split`: scores a split and writes the files of --csv, --html and --hypotheses."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from asr_ctc.assembly.decoder import beam_settings
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.base.printable import one_line
from asr_ctc.config.load import Config
from asr_ctc.config.settings import OutputConfig, ScoringConfig

if TYPE_CHECKING:
    from asr_ctc.lm.stored import StoredModel
    from asr_ctc.recognition.recognizer import Recognizer
    from asr_ctc.scoring.split_scores import SplitScores


def distinctions_of(settings: ScoringConfig) -> dict[str, bool]:
    """The settings as arguments of ``metrics.error_rates``."""
    return {
        "case": settings.case,
        "accents": settings.accents,
        "punctuation": settings.punctuation,
    }


def beam_method(config: Config, stored: "StoredModel | None") -> str:
    """The beam search in words, for the report: its width, language model and weights."""
    from asr_ctc.assembly.decoder import uses_stored, weights_of

    name = stored.name if stored and uses_stored(config, stored) else config.decoding.lm
    method = f"beam search of {config.decoding.beamwidth}"
    weights = [f"{key} {value:g}" for key, value in weights_of(config, stored).items()]
    return f"{method} with {name} ({', '.join(weights)})" if name else method


def run_score(recognizer: "Recognizer", config: Config) -> int:
    """Scores a split: every clip within the duration bounds."""
    from functools import partial

    from asr_ctc.assembly.splits import make_scoring_loader, split_to_read
    from asr_ctc.decoding.beam import beam_decode
    from asr_ctc.decoding.greedy import greedy_decode
    from asr_ctc.scoring.screen import as_text
    from asr_ctc.scoring.split_scores import columns_of, score_split

    beam = beam_settings(config, recognizer)
    corpus, n_rows = split_to_read(recognizer, config, config.input.split)
    columns = columns_of(corpus, config.scoring.by)
    refuse_missing_folders(config.output)
    decode: Callable = greedy_decode
    decoding = "greedy"
    if config.decoding.beamsearch:
        width = config.decoding.beamwidth
        decode = partial(beam_decode, beam_width=width, n_best=1, **beam)
        decoding = beam_method(config, recognizer.file.language_model)
    scores = score_split(
        recognizer,
        make_scoring_loader(recognizer, corpus, config.runtime.nthreads),
        n_rows=n_rows,
        decode=decode,
        decoding=decoding,
        columns=columns,
        **distinctions_of(config.scoring),
    )
    paths = write_files(scores, columns, config.output)
    for clip, reason in scores.excluded:
        print(f"note: {one_line(f'{clip}: {reason}')}", file=sys.stderr)
    print(scores.report.to_json() if config.output.json else as_text(scores.report))
    if paths:
        print(f"written: {one_line(', '.join(paths))}", file=sys.stderr)
    return 0


def refuse_missing_folders(output: OutputConfig) -> None:
    """UserError, before any work, if a file to write has no folder."""
    for path in (output.csv, output.html, output.hypotheses):
        if path and not Path(path).parent.is_dir():
            raise UserError(f"cannot write {path}: there is no folder {Path(path).parent}")


def write_files(
    scores: "SplitScores", columns: dict[str, list[str]], output: OutputConfig
) -> list[str]:
    """Writes the files that the settings name and returns their paths."""
    from asr_ctc.scoring.clips import as_csv, as_jsonl
    from asr_ctc.scoring.page import as_page

    makers: dict[str | None, Callable[[], str]] = {
        output.csv: lambda: as_csv(scores.errors, columns),
        output.html: lambda: as_page(scores.report),
        output.hypotheses: lambda: as_jsonl(scores.errors.clips),
    }
    paths = []
    for path, make_text in makers.items():
        if path:
            write_atomically(Path(path), make_text().encode("utf-8"))
            paths.append(path)
    return paths
