"""`check`: finds problems in a corpus before training."""

from asr_ctc.commands.arguments import FIND_CORPUS, OF_UNITS
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config


def run_check(config: Config, words: list[str], command: list[str]) -> int:
    from asr_ctc.check.corpus_check import check_corpus
    from asr_ctc.check.screen import as_text

    report, files = check_corpus(config)
    print(as_text(report))
    print("\nwritten: " + ", ".join(str(file) for file in files))
    return 0 if report.verdict.can_train else 1


COMMAND = Command(
    name="check",
    summary="find problems in a corpus before training",
    run=run_check,
    common=(
        *("datasetroot", "lang", "min_duration", "max_duration", "charset", "modelpath"),
        *("check_clips", "out"),
    ),
    further=(
        *FIND_CORPUS,
        *OF_UNITS,
        *("profile", "case_folding", "charset_min_count", "nmels", "win_length", "win_step"),
        *("check", "device", "nthreads"),
    ),
    details="Writes report.html, report.json and exclude.txt, for `train --exclude`.\n"
    "Exit status 1 means that the corpus cannot be trained on.",
    examples=(
        "check --lang fr",
        "check --corpus manifest --datasetroot mine",
        "check --modelpath logs/RUN/best_model.pt",
    ),
)
