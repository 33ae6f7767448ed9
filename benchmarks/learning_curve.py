"""Test error rates of a recipe that is trained with a share of the clips: a table and a plot.

    python benchmarks/learning_curve.py french
    python benchmarks/learning_curve.py french-frozen --flags "--encoder FOLDER"
    python benchmarks/learning_curve.py --write     # the table and the plot of docs/experiments.md

The clips are drawn once, so that a smaller share is part of a larger one; dev and test are whole.
With fewer clips the epochs grow by the fourth root: a tenth of the clips is trained for 1.8 times
as many epochs, with warm-up over as large a share of the steps, and halvings as much later. Trains
and goes on with what was interrupted as ``benchmarks/recipes.py`` does: other flags need another
--folder.
"""

import argparse
import json
import os
import random
import shlex
import shutil
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asr_ctc.base.files import write_atomically
from benchmarks.machine import CORPORA, REPOSITORY
from benchmarks.recipes import (
    PAGE,
    Recipe,
    corpus_flags,
    measure_missing,
    read_list,
    read_result,
    refuse_unknown,
    replace_measured,
    run,
    run_path,
    schedule_flags,
    test,
    write_result,
)

PERCENTS = (10, 25, 50, 100)
PLOT = REPOSITORY / "docs/images/learning_curve.png"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "logs/learning_curve")
    parser.add_argument("--percents", type=int, nargs="+", choices=PERCENTS, default=PERCENTS)
    parser.add_argument("--flags", default="", help="of train")
    parser.add_argument("--write", action="store_true", help=f"write the table of {PAGE.name}")
    options = parser.parse_args()
    recipes = read_list()
    refuse_unknown(parser, options.names, recipes)
    for name in options.names:
        if recipes[name].starts_from:
            parser.error(f"{name} starts from another model, which has heard all clips")
    folder = options.folder.resolve()  # commands run elsewhere
    for name in options.names:
        for percent in options.percents:
            part = part_of(recipes[name], percent, folder, options.flags)
            result = run(part, part.seeds[0], folder)
            model = run_path(folder, part.name, part.seeds[0]) / "best_model.pt"
            greedy = {"greedy": partial(test, model, corpus_flags(recipes[name]))}
            measure_missing(greedy, result.test, partial(write_result, folder, result))
            print(json.dumps(asdict(result)), flush=True)
    if options.write:
        curves = read_curves(folder)
        replace_measured("learning curve", table(curves))
        draw(curves, PLOT)
    return 0


def part_of(recipe: Recipe, percent: int, folder: Path, flags: str = "") -> Recipe:
    """The recipe with ``percent`` of the clips, which are laid out below ``folder``."""
    share = percent / 100
    schedule = schedule_flags(recipe, share**-0.25, share)
    version, lang = recipe.corpus.split("/")
    part = f"{version}-{percent}-percent"
    root = shlex.quote(str(folder / "corpora"))
    lay_out(Path(CORPORA, recipe.corpus), share, folder / "corpora" / part / lang)
    return replace(
        recipe,
        name=f"{recipe.name}-{percent}-percent",
        corpus=f"{part}/{lang}",
        flags=f"{recipe.flags} --datasetroot {root} {schedule} {flags}".strip(),
        of=recipe.name,
    )


def lay_out(corpus: Path, share: float, target: Path) -> None:
    """A corpus with a share of the rows of train.tsv; its clips are a link."""
    target.mkdir(parents=True, exist_ok=True)
    for table in corpus.glob("*.tsv"):
        if table.name != "train.tsv":
            shutil.copyfile(table, target / table.name)
    header, *rows = (corpus / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    random.Random(0).shuffle(rows)
    drawn = "".join([header, *rows[: round(share * len(rows))]])
    write_atomically(target / "train.tsv", drawn.encode())
    if not (target / "clips").exists():
        os.symlink((corpus / "clips").resolve(), target / "clips", target_is_directory=True)


# --- What was measured ---------------------------------------------------------------------------


def read_curves(folder: Path) -> dict[str, dict[int, dict[str, float]]]:
    """{recipe: {percent: {wer, cer}}} of what was scored."""
    curves: dict[str, dict[int, dict[str, float]]] = {}
    for name, recipe in read_list().items():
        for percent in PERCENTS:
            result = read_result(folder, f"{name}-{percent}-percent", recipe.seeds[0])
            if result.test:
                curves.setdefault(name, {})[percent] = result.test["greedy"]
    return curves


def table(curves: dict[str, dict[int, dict[str, float]]]) -> str:
    """Markdown: a row for each share that was scored, WER and CER of each recipe."""
    names = list(curves)
    lines = ["| clips | " + " | ".join(f"{name}: WER, CER" for name in names) + " |"]
    lines.append("|--:|" + "--:|" * len(names))
    for percent in PERCENTS:
        row = [curves[name].get(percent) for name in names]
        cells = [f"{100 * r['wer']:.1f}, {100 * r['cer']:.1f} %" if r else "" for r in row]
        if any(cells):
            lines.append(f"| {percent} % | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(curves: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    """CER over the share of the clips, a line for each recipe."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        cers = [100 * rates["cer"] for rates in points.values()]
        axes.plot(list(points), cers, marker="o", label=name)
        for point in zip(points, cers, strict=True):
            above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"{point[1]:.1f}", point, **above)
    axes.set_xscale("log")
    axes.set_xticks(PERCENTS, [f"{percent} %" for percent in PERCENTS], minor=False)
    axes.minorticks_off()
    axes.set(xlabel="clips of train", ylabel="test CER, greedy, %")
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
