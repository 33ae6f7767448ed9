"""The half of `test` that scores a split, and writes --csv, --html and --hypotheses."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from asr_ctc.assembly.decoder import make_decoder, make_recognizer, read_model
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.base.printable import one_line
from asr_ctc.commands.arguments import distinctions_of
from asr_ctc.config.load import Config
from asr_ctc.config.settings.output import OutputConfig

if TYPE_CHECKING:
    from asr_ctc.scoring.split_scores import SplitScores


def report_scores(config: Config) -> int:
    """Scores a split, every clip within the duration bounds, and prints the report."""
    refuse_impossible_files(config.output)
    from asr_ctc.assembly.scored_split import clips_to_read, find_split, make_scoring_loader
    from asr_ctc.scoring.screen import as_text
    from asr_ctc.scoring.split_scores import COMPUTED, columns_of, score_split

    path, file = read_model(config)
    named = [name for name in config.scoring.by if name not in COMPUTED]
    split = find_split(file, config, config.input.split, named)
    stored = file.language_model
    decoder_settings = make_decoder(config, stored, n_best=1)
    recognizer = make_recognizer(config, path, file)
    distinctions = distinctions_of(config, recognizer.charmap.writing)
    decoder = recognizer.prepare(decoder_settings)
    corpus, n_rows = clips_to_read(split, config)
    columns = columns_of(corpus, config.scoring.by)
    scores = score_split(
        recognizer,
        make_scoring_loader(recognizer, corpus, config.runtime.nthreads),
        n_rows=n_rows,
        decode=decoder.decode,
        decoding=decoder.name(stored),
        in_letters=decoder.reader is not None,
        columns=columns,
        **distinctions,
    )
    for clip, reason in scores.excluded:
        print(f"note: {one_line(f'{clip}: {reason}')}", file=sys.stderr)
    print(scores.report.to_json() if config.output.json else as_text(scores.report), flush=True)
    paths = write_files(scores, columns, config.output)
    if paths:
        print(f"written: {one_line(', '.join(paths))}", file=sys.stderr)
    return 0


def refuse_impossible_files(output: OutputConfig) -> None:
    """UserError, before any work, if a file to write has no folder, is one, or is named twice."""
    paths = [path for path in (output.csv, output.html, output.hypotheses) if path]
    for path in paths:
        if not Path(path).parent.is_dir():
            raise UserError(f"cannot write {path}: there is no folder {Path(path).parent}")
        if Path(path).is_dir():
            raise UserError(f"cannot write {path}: it is a folder")
        if paths.count(path) > 1:
            raise UserError(f"cannot write {path}: two of --csv, --html, --hypotheses name it")


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
            write_atomically(Path(path), make_text().encode("utf-8", "backslashreplace"))
            paths.append(path)
    return paths
