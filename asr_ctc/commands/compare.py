"""`compare`: decides whether one model is better than another."""

from pathlib import Path

from asr_ctc.commands.arguments import distinctions_of
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config


def run_compare(config: Config, words: list[str], command: list[str]) -> int:
    from asr_ctc.scoring.clips import read_hypotheses
    from asr_ctc.scoring.compare import compare
    from asr_ctc.scoring.screen import comparison_as_text
    from asr_ctc.text.writing import PLAIN

    a, b = words
    of_a, of_b = read_hypotheses(Path(a)), read_hypotheses(Path(b))
    known = (clip.scored["writing"] for clip in of_a if clip.scored is not None)
    report = compare((a, b), of_a, of_b, **distinctions_of(config, next(known, PLAIN)))
    print(report.to_json() if config.output.json else comparison_as_text(report))
    return 0


COMMAND = Command(
    name="compare",
    summary="decide whether model B is better than model A, by a paired bootstrap",
    run=run_compare,
    words="A.jsonl B.jsonl",
    takes_words="two files of hypotheses",
    min_words=2,
    max_words=2,
    common=("json", "case", "accents", "punctuation", "profile"),
    details="A.jsonl and B.jsonl are the files of `test --hypotheses` for the same split.",
    examples=("compare a.jsonl b.jsonl", "compare a.jsonl b.jsonl --punctuation --json"),
)
