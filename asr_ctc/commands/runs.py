"""`runs`: lists the runs of a folder."""

from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config


def run_runs(config: Config, words: list[str], command: list[str]) -> int:
    from asr_ctc.training.run_list import as_json, as_table, list_runs

    runs = list_runs(config.logs.baselogdir)
    print(as_json(runs) if config.output.json else as_table(runs))
    return 0


COMMAND = Command(
    name="runs",
    summary="list the runs below --baselogdir: their best scores, and the settings that differ",
    run=run_runs,
    common=("baselogdir", "json"),
    examples=("runs", "runs --baselogdir experiments --json"),
)
