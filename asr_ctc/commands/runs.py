"""`runs`: the runs of a folder."""


def run_runs(config, words, command) -> int:
    from asr_ctc.training.run_list import as_json, as_table, list_runs

    runs = list_runs(config.training.baselogdir)
    print(as_json(runs) if config.runs.json else as_table(runs))
    return 0
