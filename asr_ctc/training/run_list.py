"""`main_ctc.py runs`: the runs below a folder, what sets them apart, and how good they are."""

import contextlib
import json
import math
import os
import textwrap
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import is_locked
from asr_ctc.base.report import Report
from asr_ctc.config import load as settings_of
from asr_ctc.display.terminal import several
from asr_ctc.training.best_epochs import Best
from asr_ctc.training.early_stopping import should_stop
from asr_ctc.training.resume import EARLIER_DEFAULTS, as_recorded

WIDTH, NAME_WIDTH = 100, 40  # columns of the table, and of its names
UNCOMPARED = ("logname", "baselogdir")
METRICS = ("epoch", "dev_cer", "dev_wer", "dev_loss")


@dataclass(frozen=True)
class RunSummary(Report):
    """A run as its folder tells it.

    ``state``: running, finished (all epochs, or stopped early as it was told to), stopped, or
    broken (its settings cannot be read). ``best`` are the metrics of its best epoch, as
    metrics.jsonl has them, nan where they were not finite.
    """

    name: str = field(metadata={"json": "run"})
    state: str
    epochs: int  # finished
    num_epochs: int | None  # of the settings
    best: dict[str, float] | None
    settings: dict[str, object]
    notes: list[str]  # what is wrong with the folder


def list_runs(base: str | PathLike[str]) -> list[RunSummary]:
    """The runs below a folder, the last started one last; UserError when there are none."""
    base = Path(base)
    run_folders = []
    for path, folders, files in os.walk(base):
        folders[:] = [name for name in folders if not name.startswith(".")]
        is_run = "config.yaml" in files or "metrics.jsonl" in files
        if is_run:
            folders.clear()  # what a run keeps in folders of its own is no run
        if is_run or (not folders and Path(path) != base):
            run_folders.append(Path(path))
    if not run_folders:
        why = "" if base.is_dir() else " (a file)" if base.exists() else " (no such folder)"
        raise UserError(
            f"no runs below {base}{why}: start one with `python main_ctc.py train`, or name the "
            "folder that holds them with --baselogdir"
        )
    run_folders.sort(key=lambda folder: (_start_time(folder), str(folder.relative_to(base))))
    return [read_run(base, folder) for folder in run_folders]


def _start_time(folder: Path) -> float:
    # config.yaml is written again when a resumed run has other settings.
    files = (folder / name for name in ("summary.txt", "config.yaml"))
    return next((file for file in files if file.exists()), folder).stat().st_mtime


def read_run(base: Path, folder: Path) -> RunSummary:
    """A run from its config.yaml and metrics.jsonl; what cannot be read becomes a note."""
    settings, notes = {}, []
    best, num_epochs, patience = Best(), None, None
    try:
        settings = _read_settings(folder / "config.yaml")
        best = Best(settings["best_by"])
        num_epochs, patience = settings["num_epochs"], settings["early_stopping"]
    except UserError as error:
        notes.append(str(error))
    epochs, best_metrics = 0, None
    for metrics in _read_metrics(folder / "metrics.jsonl", notes):
        epochs = metrics["epoch"]
        if best.update(metrics):
            best_metrics = metrics
    state = "broken"
    if num_epochs is not None:
        is_finished = epochs >= num_epochs or should_stop(best, patience)
        state = "finished" if is_finished else "stopped"
    if is_locked(folder / "train.log"):
        state = "running"
    return RunSummary(
        name=str(folder.relative_to(base)),
        state=state,
        epochs=epochs,
        num_epochs=num_epochs,
        best=best_metrics,
        settings=settings,
        notes=notes,
    )


def _read_settings(path: Path) -> dict:
    """{name: value} of all settings; those the file lacks have their defaults.

    A name or value that this version does not know, as another may have written, stays a text.
    UserError when the file is missing, or is no such file.
    """
    try:
        content = settings_of.load_yaml(as_recorded(path.read_text(encoding="utf-8")), path.name)
    except FileNotFoundError:
        raise UserError("no config.yaml: not a run, or one that ended before it began") from None
    except (OSError, UnicodeDecodeError, UserError):
        content = None
    if not content:
        raise UserError("config.yaml cannot be read, or is cut off")
    table = settings_of.settings()
    values = {name: settings_of.default_of(f) for name, (_, f, _) in table.items()}
    values |= EARLIER_DEFAULTS
    for name, raw in content.items():
        if settings_of.is_left_over(name, raw):
            continue
        values[name] = raw if isinstance(raw, str) else settings_of.shortened(raw)
        if name in table:
            _, f, hint = table[name]
            with contextlib.suppress(UserError):
                values[name] = settings_of.parse_value(name, raw, hint, f.metadata["bare"])
    for name in ("num_epochs", "early_stopping"):
        if isinstance(values[name], str):
            raise UserError(f"config.yaml: {name} is {values[name]!r:.100}")
    if values["best_by"] not in table["best_by"][1].metadata["choices"]:
        raise UserError(f"config.yaml: best_by is {settings_of.shortened(values['best_by'])}")
    return values


def _read_metrics(path: Path, notes: list[str]) -> list[dict]:
    """The metrics of each epoch, in order; lines that are none are counted in ``notes``.

    A metric that was not finite is null in the file and NaN here. The last line may be cut off: its
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
            content = json.loads(line).items()
            metrics = {name: math.nan if value is None else value for name, value in content}
            if not all(type(value) in (int, float) for value in metrics.values()):
                raise ValueError
            epoch, *_ = [float(metrics[name]) for name in METRICS]  # KeyError where one is missing
            if epoch != metrics["epoch"] or not 1 <= int(epoch) == epoch:
                raise ValueError
            epochs[int(epoch)] = metrics
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError, RecursionError):
            n_broken += 1
    if n_broken:
        n_lines = several(len(lines), "line")
        notes.append(f"metrics.jsonl: no metrics of an epoch in {n_broken} of {n_lines}")
    return [epochs[epoch] for epoch in sorted(epochs)]


def differing(runs: list[RunSummary]) -> list[str]:
    """The settings that are not the same in all runs whose settings are known."""
    all_settings = [run.settings for run in runs if run.settings]
    names = dict.fromkeys(name for settings in all_settings for name in settings)
    return [
        name
        for name in names
        if name not in UNCOMPARED
        and any(settings.get(name) != all_settings[0].get(name) for settings in all_settings)
    ]


def as_table(runs: list[RunSummary]) -> str:
    """A line of metrics for each run, and below it the settings that set it apart."""
    width = min(NAME_WIDTH, max(len("run"), *(len(run.name) for run in runs)))
    names = differing(runs)
    lines = [_row(width, "run", "state", "epochs", "best", "CER %", "WER %", "loss")]
    for run in runs:
        best = ["-"] * 4
        if run.best:
            epoch, cer, wer, loss = (run.best[name] for name in METRICS)
            of_phonemes = run.settings.get("units") == "phoneme"
            cer_text = f"{100 * cer:.2f}" + (" PER" if of_phonemes else "")
            wer_text = "-" if math.isnan(wer) else f"{100 * wer:.2f}"
            best = [str(epoch), cer_text, wer_text, f"{loss:.4f}"]
        epochs = f"{run.epochs}/{run.num_epochs or '?'}"
        name = run.name
        if len(name) > width:
            lines.append(name)
            name = ""
        lines.append(_row(width, name, run.state, epochs, *best))
        if run.settings:
            values = ", ".join(f"{name} {_words(run.settings.get(name))}" for name in names)
            lines += _indented(values)
        for note in run.notes:
            lines += _indented(f"note: {note}")
    return "\n".join(lines)


def _row(width: int, *cells: object) -> str:
    name, state, epochs, best, cer, wer, loss = cells
    return (
        f"{name:{width}}  {state:8}  {epochs:>9}  {best:>5}  {cer:>7}  {wer:>7}  {loss:>8}"
    ).rstrip()


def _indented(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )


def _words(value: object) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def as_json(runs: list[RunSummary]) -> str:
    """A list of the runs, each with the settings that set it apart."""
    names = differing(runs)
    reports = [
        replace(run, settings={name: run.settings.get(name) for name in names if run.settings})
        for run in runs
    ]
    return json.dumps([report.to_dict() for report in reports], indent=2, ensure_ascii=False)
