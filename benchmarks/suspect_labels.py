"""Do wrong transcripts rise to the top of what `check --modelpath` doubts?

    python benchmarks/suspect_labels.py --modelpath MODEL.pt --datasetroot ROOT --lang en

Swaps the transcripts of 3 % of the test split among each other, five times over, and counts how
many of them are among the 6 % that the model doubts most.
"""

import argparse
import random
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asr_ctc.check.scan import scan
from asr_ctc.check.suspects import judge, rank
from asr_ctc.corpus.columns import Strings
from asr_ctc.corpus.corpus import find_corpus, load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.recognition.recognizer import Recognizer
from benchmarks.machine import CORPORA

SWAPPED_SHARE, LOOKED_AT_SHARE, LIMIT_SHARE, N_DRAWS = 0.03, 0.06, 0.9, 5


def swap(sentences: list[str], rng: random.Random) -> tuple[list[str], set[int]]:
    """The sentences, 3 % of them in each other's places, and which rows are wrong now."""
    rows = rng.sample(range(len(sentences)), round(SWAPPED_SHARE * len(sentences)))
    swapped = list(sentences)
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        swapped[row] = sentences[other]
    return swapped, {row for row in rows if swapped[row] != sentences[row]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--modelpath", required=True)
    parser.add_argument("--datasetroot", default=CORPORA, help="default: %(default)s")
    parser.add_argument("--lang", default="fr")
    args = parser.parse_args()
    recognizer = Recognizer.load(args.modelpath, "cpu")
    corpus = with_durations(load_split(find_corpus(args.datasetroot, None, args.lang), "test"), 0)
    right = scan(corpus, 1)
    n_wrong = n_found = 0
    for draw in range(N_DRAWS):
        sentences, rows = swap(right.sentences, random.Random(draw))
        wrong = {corpus.path(row) for row in rows}
        split = replace(right, corpus=replace(corpus, sentences=Strings(sentences)))
        ranked = rank(judge(recognizer, split, n_threads=0))
        top = {suspect.clip for suspect in ranked[: round(LOOKED_AT_SHARE * len(corpus))]}
        print(f"draw {draw}: {len(top & wrong)} of {len(wrong)} wrong transcripts in the top 6 %")
        n_wrong, n_found = n_wrong + len(wrong), n_found + len(top & wrong)
    passed = n_found >= LIMIT_SHARE * n_wrong
    print(
        f"{n_found} of {n_wrong} among {len(corpus)} clips. "
        f"The limit is {100 * LIMIT_SHARE:g} %: {'kept' if passed else 'MISSED'}."
    )
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
