"""How far wrong words are from right ones, and what knowing all words would mend.

    python main_ctc.py test --split test --hypotheses test.jsonl
    python benchmarks/word_errors.py test.jsonl

Words are aligned as for the WER. A substituted word is one, two or more letters from its reference
(Levenshtein distance). A lexicon mends it when the reference is the only nearest of all words in
the references: more than any lexicon of a user could know.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rapidfuzz.distance import Levenshtein  # jiwer brings it
from rapidfuzz.process import cdist

from asr_ctc.scoring.clips import count_errors, read_hypotheses


class WordErrors(NamedTuple):
    """Counts of reference words, and of the errors by kind."""

    n_words: int
    n_deleted: int
    n_inserted: int
    by_distance: dict[int, int]  # {letters: substituted words}
    n_mended: int

    @property
    def n_errors(self) -> int:
        return self.n_deleted + self.n_inserted + sum(self.by_distance.values())


def count_word_errors(alignments: Iterable[list[tuple[str | None, str | None]]]) -> WordErrors:
    """Of alignments, each of pairs (reference, hypothesis); None where there is no word."""
    pairs = [pair for alignment in alignments for pair in alignment]
    words = [reference for reference, _ in pairs if reference is not None]
    wrong = [(r, h) for r, h in pairs if r is not None and h is not None and r != h]
    lexicon = sorted(set(words))
    n_mended = 0
    if wrong:
        distances = cdist([h for _, h in wrong], lexicon, scorer=Levenshtein.distance)
        nearest = distances.min(axis=1)
        is_only = (distances == nearest[:, None]).sum(axis=1) == 1
        n_mended = sum(
            bool(only) and lexicon[row.argmin()] == reference
            for (reference, _), row, only in zip(wrong, distances, is_only, strict=True)
        )
    return WordErrors(
        n_words=len(words),
        n_deleted=sum(hypothesis is None for _, hypothesis in pairs),
        n_inserted=sum(reference is None for reference, _ in pairs),
        by_distance=dict(Counter(Levenshtein.distance(r, h) for r, h in wrong)),
        n_mended=n_mended,
    )


def table(errors: WordErrors) -> str:
    """Markdown: shares of all reference words, so that they add up to the WER."""
    distances = errors.by_distance
    rows = [(f"{n} letter{'s' * (n > 1)}", distances.get(n, 0)) for n in (1, 2, 3)]
    rows.append(("more letters", sum(count for n, count in distances.items() if n > 3)))
    rows += [("deleted", errors.n_deleted), ("inserted", errors.n_inserted)]
    rows += [("all errors", errors.n_errors), ("mended by a perfect lexicon", errors.n_mended)]
    lines = ["| wrong by | words | of all words |", "|---|--:|--:|"]
    n_words = max(1, errors.n_words)
    lines += [f"| {name} | {count} | {100 * count / n_words:.1f} % |" for name, count in rows]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hypotheses", type=Path, help="as `test --hypotheses` writes it")
    clips = read_hypotheses(parser.parse_args().hypotheses)
    print(table(count_word_errors(count_errors(clips).words)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
