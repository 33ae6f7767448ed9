"""`main_ctc.py runs`: the runs below a folder, what sets them apart, and how good they are."""

import contextlib
import json
import math
import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import is_taken
from asr_ctc.config import load as settings_of
from asr_ctc.training.best_epochs import Best

WIDTH, NAME_WIDTH = 100, 40  # columns of the table, and of its names
UNCOMPARED = ("logname", "baselogdir")
FIGURES = ("epoch", "dev_cer", "dev_wer", "dev_loss")


@dataclass
class ListedRun:
    """A run as its folder tells it. ``best`` are the figures of its best epoch.

    ``state``: running, finished (all epochs, or stopped early as it was told to), stopped, or
    broken (its settings cannot be read). ``notes`` say what is wrong with the folder.
    """

    name: str
    started: float
    state: str = "broken"
    epochs: int = 0
    num_epochs: int | None = None
    best: dict | None = None
    settings: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def list_runs(base) -> list[ListedRun]:
    """The runs below a folder, the last started one last; UserError when there are none."""
    base = Path(base)
    found = []
    for path, folders, files in os.walk(base):
        folders[:] = [name for name in folders if not name.startswith(".")]
        is_run = "config.yaml" in files or "metrics.jsonl" in files
        if is_run:
            folders.clear()  # what a run keeps in folders of its own is no run
        if is_run or (not folders and Path(path) != base):
            found.append(read_run(base, Path(path)))
    if not found:
        raise UserError(
            f"no runs below {base}: start one with `python main_ctc.py train`, or name the folder "
            "that holds them with --baselogdir"
        )
    return sorted(found, key=lambda run: (run.started, run.name))


def read_run(base: Path, folder: Path) -> ListedRun:
    """A run from its config.yaml and metrics.jsonl; what cannot be read becomes a note."""
    settings_file = folder / "config.yaml"
    dated = settings_file if settings_file.exists() else folder
    run = ListedRun(str(folder.relative_to(base)), dated.stat().st_mtime)
    best = Best()
    try:
        run.settings = _read_settings(settings_file)
        best = Best(run.settings["best_by"], run.settings["early_stopping"])
        run.num_epochs = run.settings["num_epochs"]
    except UserError as error:
        run.notes.append(str(error))
    for figures in _read_figures(folder / "metrics.jsonl", run.notes):
        run.epochs = figures["epoch"]
        if best.update(figures):
            run.best = figures
    if run.num_epochs is not None:
        is_finished = run.epochs >= run.num_epochs or best.should_stop
        run.state = "finished" if is_finished else "stopped"
    if is_taken(folder / "train.log"):
        run.state = "running"
    return run


def _read_settings(path: Path) -> dict:
    """{name: value} of all settings; those the file lacks have their defaults.

    A name or value that this version does not know, as another may have written, stays a text.
    UserError when the file is missing, or is no such file.
    """
    import yaml

    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except FileNotFoundError:
        raise UserError("no config.yaml: not a run, or one that ended before it began") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        content = None
    if not isinstance(content, dict):
        raise UserError("config.yaml cannot be read, or is cut off")
    table = settings_of.settings()
    values = {name: settings_of.default_of(f) for name, (_, f, _) in table.items()}
    for name, raw in content.items():
        values[name] = raw
        if name in table:
            _, f, hint = table[name]
            with contextlib.suppress(UserError):
                values[name] = settings_of.parse_value(name, raw, hint, f.metadata["bare"])
    for name in ("num_epochs", "early_stopping"):
        if isinstance(values[name], str):
            raise UserError(f"config.yaml: {name} is {values[name]!r}")
    if values["best_by"] not in table["best_by"][1].metadata["choices"]:
        raise UserError(f"config.yaml: best_by is {values['best_by']!r}")
    return values


def _read_figures(path: Path, notes: list[str]) -> list[dict]:
    """The figures of each epoch, in order; lines that are none are counted in ``notes``.

    A figure that was not finite is null in the file and NaN here. The last line may be cut off: its
    process was killed while it wrote. An epoch that a resumed run did again counts as it was done
    last.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        notes.append(f"metrics.jsonl cannot be read ({error.strerror})")
        return []
    epochs, n_broken = {}, 0
    for line in lines:
        try:
            read = json.loads(line).items()
            figures = {name: math.nan if value is None else value for name, value in read}
            epoch, *_ = [figures[name] + 0.0 for name in FIGURES]  # TypeError where one is a text
            epochs[int(epoch)] = figures
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError):
            n_broken += 1
    if n_broken:
        notes.append(f"metrics.jsonl: {n_broken} of {len(lines)} lines are no figures of an epoch")
    return [epochs[epoch] for epoch in sorted(epochs)]


def differing(runs: list[ListedRun]) -> list[str]:
    """The settings that are not the same in all runs whose settings are known."""
    known = [run.settings for run in runs if run.settings]
    names = dict.fromkeys(name for settings in known for name in settings)
    return [
        name
        for name in names
        if name not in UNCOMPARED
        and any(settings.get(name) != known[0].get(name) for settings in known)
    ]


def as_table(runs: list[ListedRun]) -> str:
    """A line of figures for each run, and below it the settings that set it apart."""
    width = min(NAME_WIDTH, max(len("run"), *(len(run.name) for run in runs)))
    names = differing(runs)
    lines = [_row(width, "run", "state", "epochs", "best", "CER %", "WER %", "loss")]
    for run in runs:
        best = ["-"] * 4
        if run.best:
            epoch, cer, wer, loss = (run.best[name] for name in FIGURES)
            best = [str(epoch), f"{100 * cer:.2f}", f"{100 * wer:.2f}", f"{loss:.4f}"]
        epochs = f"{run.epochs}/{run.num_epochs or '?'}"
        name = run.name
        if len(name) > width:
            lines.append(name)
            name = ""
        lines.append(_row(width, name, run.state, epochs, *best))
        if run.settings:
            told = ", ".join(f"{name} {_shown(run.settings.get(name))}" for name in names)
            lines += _indented(told)
        for note in run.notes:
            lines += _indented(f"note: {note}")
    return "\n".join(lines)


def _row(width: int, name, state, epochs, best, cer, wer, loss) -> str:
    return (
        f"{name:{width}}  {state:8}  {epochs:>9}  {best:>5}  {cer:>7}  {wer:>7}  {loss:>8}"
    ).rstrip()


def _indented(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )


def _shown(value) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def as_json(runs: list[ListedRun]) -> str:
    """The same for scripts; a figure that is not a number is null."""
    names = differing(runs)
    told = [
        {
            "run": run.name,
            "state": run.state,
            "epochs": run.epochs,
            "num_epochs": run.num_epochs,
            "best": run.best and {name: _finite(value) for name, value in run.best.items()},
            "settings": {name: run.settings.get(name) for name in names if run.settings},
            "notes": run.notes,
        }
        for run in runs
    ]
    return json.dumps(told, indent=2, ensure_ascii=False)


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value
