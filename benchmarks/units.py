"""Compares letters, phonemes, both and word pieces: a recipe with each kind of units.

    python benchmarks/units.py digits
    python benchmarks/units.py french --seeds 1

Trains as ``benchmarks/recipes.py``, goes on with what was interrupted, and prints a table of error
rates: of dev and test greedy, and of test with a beam of 10 and the language model of the
transcripts' words, tuned on dev, into which a model of phonemes reads by espeak's lexicon. Symbols
are characters, of phonemes phonemes; with words they are characters always. Of both, a further row
has the phonemes of the second output layer.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import REPOSITORY
from benchmarks.recipes import corpus_flags, read_list, run, test, tune_language_model

KINDS = {"": "letters", "-phonemes": "phonemes", "-both": "both", "-pieces": "word pieces"}
HEAD = [
    "| units | seed | minutes | dev WER, symbols | test WER, symbols | test with words: WER, CER |",
    "|---|--:|--:|--:|--:|--:|",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="digits or french")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "logs/recipes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS.values()), choices=KINDS.values())
    options = parser.parse_args()
    recipes = read_list()
    rows = list(HEAD)
    for suffix, kind in KINDS.items():
        for seed in options.seeds if kind in options.kinds else []:
            recipe = recipes[options.recipe + suffix]
            minutes = run(recipe, seed, options.folder).minutes
            model = options.folder / f"{recipe.name}-{seed}" / "best_model.pt"
            corpus = corpus_flags(recipe)
            rates = [score(model, corpus, split) for split in ("dev", "test")]
            lexicon = ["--lexicon_from", "espeak"] if kind == "phonemes" else []
            tune_language_model(model, corpus, *lexicon)
            rates.append(score(model, [*corpus, "--beamsearch"], "test"))
            rows.append(f"| {kind} | {seed} | {minutes:.1f} | {' | '.join(rates)} |")
            if kind == "both":
                sounds = [*corpus, "--units", "phoneme"]
                rates = [score(model, sounds, split) for split in ("dev", "test")]
                rows.append(f"| its phonemes | {seed} | | {' | '.join(rates)} | |")
            print("\n".join(rows), flush=True)
    return 0


def score(model: Path, flags: list[str], split: str) -> str:
    """WER and the error rate of symbols, in percent."""
    rates = test(model, flags, split)
    return "{:.2f}, {:.2f} %".format(*(100 * rates[name] for name in ("wer", "cer")))


if __name__ == "__main__":
    sys.exit(main())
