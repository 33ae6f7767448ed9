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
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import CORPORA, REPOSITORY
from benchmarks.recipes import Recipe, asr_ctc, read_list, run

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
            rates = [score(model, recipe, split) for split in ("dev", "test")]
            rates.append(score_words(model, recipe, with_lexicon=kind == "phonemes"))
            rows.append(f"| {kind} | {seed} | {minutes:.1f} | {' | '.join(rates)} |")
            if kind == "both":
                rates = [score(model, recipe, s, "--units", "phoneme") for s in ("dev", "test")]
                rows.append(f"| its phonemes | {seed} | | {' | '.join(rates)} | |")
            print("\n".join(rows), flush=True)
    return 0


def corpus_flags(recipe: Recipe) -> list[str]:
    version, lang = recipe.corpus.split("/")
    return ["--datasetroot", CORPORA, "--datasetversion", version, "--lang", lang]


def score(model: Path, recipe: Recipe, split: str, *flags: str) -> str:
    """WER and the error rate of symbols, in percent."""
    words = ["test", "--split", split, "--modelpath", str(model), *corpus_flags(recipe), *flags]
    content = json.loads(asr_ctc(*words, "--json"))
    return "{:.2f}, {:.2f} %".format(*(100 * content[name]["rate"] for name in ("wer", "cer")))


def score_words(model: Path, recipe: Recipe, *, with_lexicon: bool) -> str:
    corpus, lm = corpus_flags(recipe), model.parent / "words.arpa"
    lexicon = ["--lexicon_from", "espeak"] if with_lexicon else []
    asr_ctc("lm", *corpus, "--modelpath", str(model), *lexicon, "--out", str(lm))
    asr_ctc("lm", *corpus, "--tune", "--lm", str(lm), "--modelpath", str(model))
    return score(model, recipe, "test", "--beamsearch")


if __name__ == "__main__":
    sys.exit(main())
