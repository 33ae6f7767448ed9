"""Compares letters, phonemes, both and word pieces: a recipe with each kind of units.

    python benchmarks/units.py digits
    python benchmarks/units.py french --seeds 1 --kinds letters both
    python benchmarks/units.py french --flags "--num_epochs 4"    # in a folder of their own

Trains as ``benchmarks/recipes.py`` and goes on with what was interrupted; what was trained or
scored is not done again. Prints a table of error rates: of dev and test greedy, and of test with a
beam of 10 and the language model of the transcripts' words, tuned on dev, into which a model of
phonemes reads by espeak's lexicon. Symbols are characters, of phonemes phonemes; with words they
are characters always, and accents do not count, which the letters of the recipes lack. Of both, a
further row has the phonemes of the second output layer.
"""

import argparse
import json
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asr_ctc.base.files import write_atomically
from benchmarks.machine import REPOSITORY
from benchmarks.recipes import (
    corpus_flags,
    measure_missing,
    read_list,
    run,
    run_path,
    test,
    test_with_words,
)

KINDS = ("letters", "phonemes", "both", "pieces")
HEAD = [
    "| units | seed | minutes | dev WER, symbols | test WER, symbols | test with words: WER, CER |",
    "|---|--:|--:|--:|--:|--:|",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=("digits", "french"))
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "logs/recipes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, metavar="KIND")
    parser.add_argument("--flags", default="", help="of train, for all kinds")
    options = parser.parse_args()
    folder = options.folder
    if options.flags:
        folder /= re.sub(r"[^\w.]+", "-", options.flags).strip("-")
    recipes = read_list()
    is_first = True
    for kind in options.kinds:
        for seed in options.seeds:
            recipe = recipes[f"{options.recipe}-{kind}"]
            # An experiment: recipes.py scores no more than dev of it.
            flags = f"{recipe.flags} {options.flags}".strip()
            recipe = replace(recipe, flags=flags, of=options.recipe)
            result = run(recipe, seed, folder)
            if is_first:
                of = " ".join(filter(None, (options.recipe, options.flags)))
                print(f"{of}, {result.machine}, {result.day}\n", *HEAD, sep="\n")
                is_first = False
            model = run_path(folder, recipe.name, seed) / "best_model.pt"
            rates = score(model, corpus_flags(recipe), kind)
            columns = [percent(rates[name]) for name in ("dev", "test", "words")]
            print(f"| {kind} | {seed} | {result.minutes:.1f} | {' | '.join(columns)} |", flush=True)
            if kind == "both":
                columns = [percent(rates[f"phonemes of {split}"]) for split in ("dev", "test")]
                print(f"| its phonemes | {seed} | | {' | '.join(columns)} | |", flush=True)
    return 0


def score(model: Path, corpus: list[str], kind: str) -> dict[str, dict[str, float]]:
    """{name: error rates}, kept beside the model file, where those of an earlier call are."""
    path = model.parent / "rates.json"
    rates = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    scorings = {split: partial(test, model, corpus, split) for split in ("dev", "test")}
    if kind == "both":
        sounds = [*corpus, "--units", "phoneme"]
        scorings |= {
            f"phonemes of {split}": partial(test, model, sounds, split) for split in scorings
        }
    lexicon = ["--lexicon_from", "espeak"] if kind == "phonemes" else []
    scorings["words"] = partial(test_with_words, model, corpus, lexicon, accents=False)
    measure_missing(scorings, rates, lambda: write_atomically(path, json.dumps(rates).encode()))
    return rates


def percent(rates: dict[str, float]) -> str:
    """WER and the error rate of symbols."""
    return "{:.2f}, {:.2f} %".format(*(100 * rates[name] for name in ("wer", "cer")))


if __name__ == "__main__":
    sys.exit(main())
