"""`compare`: whether one model is better than another."""


def run_compare(config, words, command) -> int:
    from asr_ctc.commands.score import as_json, what_to_keep
    from asr_ctc.scoring.clips import read_hypotheses
    from asr_ctc.scoring.compare import compare
    from asr_ctc.scoring.screen import comparison_as_text

    a, b = map(read_hypotheses, words)
    report = compare(words, a, b, **what_to_keep(config.scoring))
    print(as_json(report) if config.runs.json else comparison_as_text(report))
    return 0
