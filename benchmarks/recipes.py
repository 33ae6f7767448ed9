"""Trains a recipe, scores it on the test split once, and writes down what it reached.

    python benchmarks/recipes.py digits                  # a recipe of benchmarks/recipes.yaml
    python benchmarks/recipes.py french french-letters   # several, one after another
    python benchmarks/recipes.py french --share 0.25     # in a quarter of its epochs, dev only
    python benchmarks/recipes.py --write                 # the tables of docs/experiments.md

Each recipe is trained by the command line, with each of its seeds; the checkpoint is chosen on dev.
An experiment (``of: RECIPE``) is a recipe with other ``flags``; it is not scored on test, so that
nothing is chosen there. What a recipe ``starts_from`` is trained first, if it has not been; its
time is counted separately, and ``--share`` leaves it whole. What was interrupted goes on where it
stood when the same command is given again; what is finished is not done again. Times are wall
clock, of the whole ``train`` command: give the machine nothing else to do. Corpora lie in
$ASR_CTC_CORPORA (default: ../shared/corpora).

FOLDER/curves.tsv has dev CER over optimiser steps, seconds of audio and minutes of training steps,
of all runs there, those with ``--share`` included.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from asr_ctc.base.files import write_atomically
from asr_ctc.commands.main import COMMANDS
from asr_ctc.config import flags as command_line
from asr_ctc.config.load import make_config, read_yaml
from benchmarks.machine import CORPORA, REPOSITORY, processor_name

LIST = REPOSITORY / "benchmarks/recipes.yaml"
PAGE = REPOSITORY / "docs/experiments.md"
BEGIN, END = "<!-- measured: {} -->", "<!-- end of measured -->"
LEVELS_DB = (-20, 10)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained, on which corpus, within which time."""

    name: str
    config: str
    corpus: str  # version/lang below the corpora
    budget_min: float  # minutes of wall clock of `train`, on two cores
    seeds: tuple[int, ...] = (1,)
    flags: str = ""
    lm_flags: str = ""  # of `lm`
    beam: int = 10  # width, with the language model
    lexicon: bool = False  # read the phonemes of the second output layer into words too
    starts_from: str = ""  # the one whose best model, of the same seed, it goes on from
    of: str = ""  # the recipe that this is an experiment with

    @property
    def is_experiment(self) -> bool:
        return bool(self.of)


@dataclass(kw_only=True)
class Result:
    """What a recipe came to with one seed; rates are fractions."""

    name: str
    seed: int
    minutes: float = 0.0  # wall clock of `train`
    ended: bool = False
    test: dict = field(default_factory=dict)  # {greedy, lm, phonemes, -20 dB, ...: {wer, cer}}
    machine: str = ""
    day: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {LIST.name}")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "logs/recipes")
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of the recipe's own")
    parser.add_argument("--share", type=fraction, metavar="X", help="of the recipe's epochs")
    parser.add_argument("--write", action="store_true", help=f"write the tables of {PAGE.name}")
    options = parser.parse_args()
    recipes = read_list()
    refuse_unknown(parser, options.names, recipes)
    folder = options.folder.resolve()  # commands run elsewhere
    for name in options.names:
        for seed in options.seeds or recipes[name].seeds:
            recipe = recipes[name]
            if options.share:
                recipe = shortened(recipe, options.share)
            print(json.dumps(asdict(run(recipe, seed, folder))), flush=True)
            write_curves(folder)
    if options.write:
        write_tables(recipes, folder)
    return 0


def fraction(text: str) -> float:
    """An argument between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


def refuse_unknown(
    parser: argparse.ArgumentParser, names: list[str], recipes: dict[str, Recipe]
) -> None:
    """Ends the program if a name is not a recipe's."""
    unknown = [name for name in names if name not in recipes]
    if unknown:
        parser.error(f"no recipe {', '.join(unknown)}; there are {', '.join(recipes)}")


def read_list(path: Path = LIST) -> dict[str, Recipe]:
    """{name: recipe}; an experiment has what its recipe has, but for what it says itself."""
    recipes: dict[str, Recipe] = {}
    for name, values in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        base = asdict(recipes[values["of"]]) if "of" in values else {}
        merged = {**base, **values, "name": name}
        merged["seeds"] = tuple(merged.get("seeds", (1,)))
        recipes[name] = Recipe(**merged)
    return recipes


def shortened(recipe: Recipe, share: float) -> Recipe:
    """An experiment: the recipe in a share of its epochs, its schedule as much shorter."""
    flags = f"{recipe.flags} {schedule_flags(recipe, share)}".strip()
    return replace(recipe, name=f"{recipe.name}-share-{share:g}", flags=flags, of=recipe.name)


def schedule_flags(recipe: Recipe, epoch_factor: float, clip_share: float = 1) -> str:
    """Flags for so many times the epochs, of a share of the clips: the schedule is scaled."""
    _, _, flags = command_line.parse(["train", *shlex.split(recipe.flags)], COMMANDS)
    training = make_config(read_yaml(str(REPOSITORY / recipe.config)), flags).training
    n_epochs = max(1, round(training.num_epochs * epoch_factor))
    factor = n_epochs / training.num_epochs
    scaled = {"num_epochs": n_epochs}
    if training.warmup_steps:
        scaled["warmup_steps"] = max(1, round(training.warmup_steps * clip_share * factor))
    if training.scheduler == "step":
        scaled["scheduler_step"] = max(1, round(training.scheduler_step * factor))
    return " ".join(f"--{name} {value}" for name, value in scaled.items())


# --- Runs ----------------------------------------------------------------------------------------


def run(recipe: Recipe, seed: int, folder: Path) -> Result:
    """Trains, and scores on test unless it is an experiment; goes on with what was interrupted."""
    run_folder = run_path(folder, recipe.name, seed)
    result = read_result(folder, recipe.name, seed)
    if not result.ended:
        train(recipe, seed, run_folder, result)
    if not recipe.is_experiment:
        measured = scorings(recipe, run_folder / "best_model.pt")
        measure_missing(measured, result.test, partial(write_result, folder, result))
    return result


def train(recipe: Recipe, seed: int, run_folder: Path, result: Result) -> None:
    folder = run_folder.parent
    words = ["train", "--config", recipe.config, *corpus_flags(recipe), *shlex.split(recipe.flags)]
    words += ["--seed", str(seed), "--baselogdir", str(folder), "--logname", run_folder.name]
    if (run_folder / "last.pt").exists():
        words = ["train", "--resume_from", str(run_folder)]
    elif recipe.starts_from:
        run(read_list()[recipe.starts_from], seed, folder)
        first = run_path(folder, recipe.starts_from, seed)
        words += ["--resume_from", str(first / "best_model.pt")]
    result.machine, result.day = processor_name(), f"{date.today()}"
    started_s = time.perf_counter()
    try:
        asr_ctc(*words)
        result.ended = True
    finally:
        result.minutes += (time.perf_counter() - started_s) / 60
        write_result(folder, result)


def scorings(recipe: Recipe, model: Path) -> dict[str, Callable[[], dict[str, float]]]:
    """{kind: what measures its error rates of test}: greedy, with language models, other levels."""
    corpus, lm_flags = corpus_flags(recipe), shlex.split(recipe.lm_flags)
    kinds = {
        "greedy": partial(test, model, corpus),
        "lm": partial(test_with_words, model, corpus, lm_flags, beam=recipe.beam),
    }
    if recipe.lexicon:
        kinds["phonemes"] = partial(
            test_with_words,
            model,
            [*corpus, "--units", "phoneme"],
            [*lm_flags, "--lexicon_from", "espeak"],
            beam=recipe.beam,
            name="sounds.arpa",
            accents=False,
        )
    clips = Path(CORPORA, recipe.corpus)
    levels = {f"{db:+d} dB": partial(score_at_level, model, clips, db) for db in LEVELS_DB}
    return kinds | levels


def measure_missing(
    scorings: dict[str, Callable[[], dict[str, float]]], rates: dict, save: Callable[[], None]
) -> None:
    """Measures what ``rates`` lack; saves after each, so that an interruption loses none."""
    for kind, score in scorings.items():
        if kind not in rates:
            rates[kind] = score()
            save()


def corpus_flags(recipe: Recipe) -> list[str]:
    version, lang = recipe.corpus.split("/")
    return ["--datasetroot", CORPORA, "--datasetversion", version, "--lang", lang]


def test(model: Path, flags: list[str], split: str = "test") -> dict[str, float]:
    report = asr_ctc("test", "--split", split, "--modelpath", str(model), *flags, "--json")
    content = json.loads(report)
    return {name: content[name]["rate"] for name in ("wer", "cer")}


def test_with_words(
    model: Path,
    flags: list[str],
    lm_flags: Sequence[str] = (),
    *,
    beam: int = 10,
    name: str = "train.arpa",
    accents: bool = True,
) -> dict[str, float]:
    """Error rates of the test split with a language model, which the model file then has.

    It is of the transcripts, its weights are tuned on dev. ``flags`` name the corpus, and the
    output layer; ``lm_flags`` are of `lm` alone.
    """
    lm, where = str(model.parent / name), [*flags, "--modelpath", str(model)]
    width = ["--beamwidth", str(beam)]
    asr_ctc("lm", *where, *lm_flags, "--out", lm)
    asr_ctc("lm", *where, "--tune", "--lm", lm, *width)
    return test(model, [*flags, "--beamsearch", *width, *([] if accents else ["--no-accents"])])


def score_at_level(model: Path, corpus: Path, level_db: float) -> dict[str, float]:
    """Error rates of the test split, greedy, its samples amplified by ``level_db``."""
    import torch

    from asr_ctc.audio.augment import parse_augmentation
    from asr_ctc.loading.dataset import ClipDataset
    from asr_ctc.loading.loader import make_loader
    from asr_ctc.loading.sampling import DurationBatchSampler
    from asr_ctc.loading.selection import prepare_split
    from asr_ctc.recognition.recognizer import Recognizer
    from asr_ctc.scoring.evaluation import evaluate

    recognizer = Recognizer.load(model)
    clips = prepare_split(corpus, "test", keep_broken=True)
    gain = parse_augmentation([f"gain {level_db} {level_db}"])
    dataset = ClipDataset(clips, recognizer.charmap, recognizer.processor, augmentation=gain)
    loader = make_loader(dataset, DurationBatchSampler(clips.durations, 16, shuffle=False), 0)
    scores = evaluate(recognizer.model, loader, torch.device("cpu")).score()
    return {"wer": scores.wer, "cer": scores.cer}


def asr_ctc(*words: str) -> str:
    """What a command of the command line prints; its failure ends this program with its status."""
    command = [sys.executable, str(REPOSITORY / "main_ctc.py"), *words]
    print("$", shlex.join(["python", "main_ctc.py", *words]), file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout.decode()


# --- What was measured ---------------------------------------------------------------------------


def run_path(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name}-{seed}"


def result_path(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name}-{seed}.json"


def read_result(folder: Path, name: str, seed: int) -> Result:
    path = result_path(folder, name, seed)
    if not path.exists():
        return Result(name=name, seed=seed)
    return Result(**json.loads(path.read_text(encoding="utf-8")))


def write_result(folder: Path, result: Result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(result), indent=1)
    write_atomically(result_path(folder, result.name, result.seed), text.encode())


def curve(run_folder: Path) -> list[dict]:
    """The metrics of each epoch of a run."""
    path = run_folder / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def write_curves(folder: Path) -> None:
    """curves.tsv: dev CER, a fraction, of each epoch of the runs in the folder."""
    rows = ["run\tepoch\tsteps\taudio_s\ttrain_min\tdev_cer"]
    for path in sorted(folder.glob("*/metrics.jsonl")):
        audio_s = train_min = 0.0
        for epoch in curve(path.parent):
            audio_s += epoch["audio_s_per_s"] * epoch["epoch_s"]
            train_min += epoch["epoch_s"] / 60
            rows.append(
                f"{path.parent.name}\t{epoch['epoch']}\t{epoch.get('step', '')}\t{audio_s:.0f}"
                f"\t{train_min:.1f}\t{epoch['dev_cer']:.4f}"
            )
    write_atomically(folder / "curves.tsv", "\n".join([*rows, ""]).encode())


def write_tables(recipes: dict[str, Recipe], folder: Path) -> None:
    """The two tables of docs/experiments.md, of what is in the folder, which must not be empty."""
    if not results_of(recipes, folder):
        raise SystemExit(f"{folder}: no result of a recipe to write, so the tables stay")
    replace_measured("recipes", recipes_table(recipes, folder))
    replace_measured("experiments", experiments_table(recipes, folder))


def replace_measured(kind: str, table: str) -> None:
    """Replaces what stands between a pair of marks in docs/experiments.md, which must be there."""
    begin = BEGIN.format(kind)
    pattern = re.escape(begin) + ".*?" + re.escape(END)
    text = PAGE.read_text(encoding="utf-8")
    text, n_marks = re.subn(pattern, lambda _: f"{begin}\n{table}\n{END}", text, flags=re.S)
    if n_marks != 1:
        raise SystemExit(f"{PAGE}: needs one line {begin} and after it one line {END}")
    write_atomically(PAGE, text.encode())


def recipes_table(recipes: dict[str, Recipe], folder: Path) -> str:
    """Markdown: what each recipe reached on the test split, a row for each seed."""
    lines = [
        "| recipe | seed | budget | `train` | WER, CER greedy | with LM | phonemes "
        "| -20 dB | +10 dB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    kinds = ("greedy", "lm", "phonemes", *(f"{level:+d} dB" for level in LEVELS_DB))
    for result in results_of(recipes, folder):
        if result.test:
            rates = [
                "{:.2f}, {:.2f} %".format(*(100 * result.test[kind][r] for r in ("wer", "cer")))
                if kind in result.test
                else ""
                for kind in kinds
            ]
            budget_min = recipes[result.name].budget_min
            took = f"{budget_min:g} min | {result.minutes:.1f} min"
            lines.append(f"| {result.name} | {result.seed} | {took} | {' | '.join(rates)} |")
    return "\n".join(lines)


def experiments_table(recipes: dict[str, Recipe], folder: Path) -> str:
    """Markdown: dev CER over the epochs of all that was run."""
    lines = [
        "| run | seed | flags | minutes | epochs | best dev CER | dev CER after each quarter |",
        "|---|--:|---|--:|--:|--:|---|",
    ]
    for result in results_of(recipes, folder):
        epochs = curve(run_path(folder, result.name, result.seed))
        if not epochs:
            continue
        cers = [100 * epoch["dev_cer"] for epoch in epochs]
        quarters = [cers[max(0, round(len(cers) * q / 4) - 1)] for q in range(1, 5)]
        flags = f"`{recipes[result.name].flags}`" if recipes[result.name].flags else ""
        lines.append(
            f"| {result.name} | {result.seed} | {flags} | {result.minutes:.1f} | {len(epochs)} "
            f"| {min(cers):.2f} % | {', '.join(f'{cer:.1f}' for cer in quarters)} % |"
        )
    return "\n".join(lines)


def results_of(recipes: dict[str, Recipe], folder: Path) -> list[Result]:
    """All results in the folder, in the order of the list."""
    found = []
    for name in recipes:
        for path in sorted(folder.glob(f"{name}-*.json")):
            seed = path.stem.removeprefix(f"{name}-")
            if seed.isdigit():
                found.append(read_result(folder, name, int(seed)))
    return found


if __name__ == "__main__":
    sys.exit(main())
