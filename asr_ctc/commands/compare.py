"""`compare`: whether one model is better than another."""


def run_compare(config, words, command) -> int:
    from asr_ctc.commands.score import distinctions_of
    from asr_ctc.scoring.clips import read_hypotheses
    from asr_ctc.scoring.compare import compare
    from asr_ctc.scoring.screen import comparison_as_text

    a, b = map(read_hypotheses, words)
    report = compare(words, a, b, **distinctions_of(config.scoring))
    print(report.to_json() if config.runs.json else comparison_as_text(report))
    return 0
