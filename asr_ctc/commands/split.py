"""`split`: makes train, dev and test of one table."""

from asr_ctc.commands.arguments import FIND_CORPUS, refuse_flags
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config


def run_split(config: Config, words: list[str], command: list[str]) -> int:
    if config.split.keep_test:
        refuse_flags(config, ("dev", "test", "seed"), "have no effect with --keep_test")
    from asr_ctc.assembly.split_files import split_corpus

    report = split_corpus(config)
    lines = {report.source.name: report.whole, **report.splits}
    lines |= {f"excluded: {why}": size for why, size in report.excluded.items() if size.clips}
    width = max(map(len, lines))
    print(f"{'':{width}} {'clips':>9} {'hours':>9} {'speakers':>9}")
    for name, size in lines.items():
        print(f"{name:{width}} {size.clips:9,} {size.hours:9.2f} {size.speakers:9,}")
    for note in report.notes:
        print(f"note: {note}")
    print("written: " + ", ".join(str(file) for file in report.files))
    return 0


COMMAND = Command(
    name="split",
    summary="make train, dev and test of one table, sharing no speaker and no sentence",
    run=run_split,
    common=("datasetroot", "lang", "corpus", "from", "dev", "test", "keep_test", "force"),
    further=(*FIND_CORPUS, "profile", "case_folding", "seed", "nthreads"),
    examples=(
        "split --lang fr --dev 0.1 --test 2h",
        "split --lang fr --keep_test --force",
        "split --corpus manifest --datasetroot mine",
    ),
)
