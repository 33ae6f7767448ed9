"""Going on: with a run exactly where it stood, or with a model's weights in a new run.

``last.pt`` is a model file with one part more, ``training``: the run's settings, its ``State`` and
the place in the epoch. A model file without that part starts a new run from its weights.
"""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from asr_ctc.acoustic.model_file import ModelFile, load_model, save_model
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import UNFINISHED, write_atomically
from asr_ctc.config.load import Config, default_of, make_config, nearest, parse_yaml, settings
from asr_ctc.display.terminal import several
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.training.distributed import World
from asr_ctc.training.early_stopping import should_stop
from asr_ctc.training.state import EpochSums, State, check_state

log = logging.getLogger(__name__)

LAST, PREVIOUS = "last.pt", "last.previous.pt"
# What changes no step but, by the number of them, the learning rate of some schedules.
CHANGEABLE = {
    "num_epochs", "early_stopping", "save_every_s",
    "datasetroot", "nthreads", "index_dir", "cache_dir", "cache_gb", "device",
}  # fmt: skip
DAMAGED = float("inf")
REMOVED = {"momentum", "histograms"}  # settings of earlier versions, likewise
EARLIER_DEFAULTS = {
    "clip_norm": "none",
    "clip_range_db": None,
}  # what runs had that are older than the setting
ELSEWHERE = {"resume_from", "baselogdir", "logname"}  # the run has its folder


class Start(NamedTuple):
    """What a run starts with: a ``file`` unless all is new; if resumed, its ``folder`` too.

    ``saved_at``: when last.pt was written, as the file system says.
    """

    config: Config
    file: ModelFile | None = None
    folder: Path | None = None
    saved_at: int | None = None

    @property
    def saved(self) -> dict:
        """What a resumed run saved beside its model: its settings, state and place."""
        assert self.file is not None and self.file.training is not None
        return self.file.training


def find_start(config: Config) -> Start:
    """What ``--resume_from`` names, and the settings that hold then.

    UserError for a folder without a usable last.pt and for settings that contradict the run's, by
    name.
    """
    resume_from = config.training.resume_from
    if resume_from is None:
        return Start(config)
    path = Path(resume_from)
    if not path.exists():
        raise UserError(_no_such_start(resume_from, Path(config.logs.baselogdir)))
    saved_at = _saved_at(path if path.is_dir() else path.parent)  # before it is read
    file, path = _load_from_folder(path) if path.is_dir() else (load_model(path), path)
    if file.training is None:
        return Start(config, file)
    if not (path.parent / "config.yaml").exists():
        raise UserError(
            f"--resume_from {path}: its run is elsewhere (no config.yaml beside it), and a run "
            "goes on in its own folder: name that, or start a new run from its best_model.pt"
        )
    try:
        _check_training(file)
    except Exception as error:  # there are as many kinds as there are wrong contents
        raise UserError(f"--resume_from {path}: cannot go on: {_why(error)}") from None
    resumed = _resumed_config(config, file.training["config"], path)
    n_done, n_epochs = file.training["state"].get("epoch", 1) - 1, resumed.training.num_epochs
    if n_epochs < n_done:
        raise UserError(
            f"--num_epochs {n_epochs}: {path.parent} has finished {several(n_done, 'epoch')} "
            "already"
        )
    return Start(resumed, file, path.parent, saved_at)


def refuse_if_gone_on(start: Start) -> None:
    """UserError when another process has saved the run since it was read; its folder is locked."""
    if start.folder is not None and _saved_at(start.folder) != start.saved_at:
        raise UserError(
            f"--resume_from {start.folder}: another process has gone on with this run meanwhile; "
            "give the command again"
        )


def _saved_at(folder: Path) -> int | None:
    path = folder / LAST
    return path.stat().st_mtime_ns if path.exists() else None


def _no_such_start(where: str, base: Path) -> str:
    """What to say of a name that is neither a run nor a model file; runs lie below ``base``."""
    runs = sorted({str(path.parent) for path in base.glob(f"**/{LAST}")})
    by_name = {Path(run).name: run for run in runs}  # closer than with the folder that holds it
    near = nearest(Path(where).name, by_name)
    hint = f" (did you mean {by_name[near]}?)" if near else ""
    return (
        f"--resume_from {where}: there is no run and no model file of that name{hint}; "
        f"`main_ctc.py runs` lists the runs below {base} (--baselogdir)"
    )


def _check_training(file: ModelFile) -> None:
    """An exception of any kind unless ``file.training`` is of the kind that `save_last` writes."""
    training = file.training or {}
    if type(training["config"]) is not str or type(training["sampler"]["world_size"]) is not int:
        raise ValueError("its settings or its place in the epoch are damaged")
    if type(file.origin["corpus"]["train_tsv_sha256"]) is not str:
        raise ValueError("its origin names no corpus")
    check_state(training["state"])


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"its state has no {error}"
    return str(error).partition("\n")[0] or type(error).__name__


def _load_from_folder(folder: Path) -> tuple[ModelFile, Path]:
    """The newest state of a run; the one before when that is damaged."""
    if not any((folder / name).exists() for name in (LAST, PREVIOUS)):
        if is_unsaved_run(folder):
            settings_file = folder / "config.yaml"
            flags = f"--config {settings_file}" if settings_file.exists() else "ITS FLAGS"
            raise UserError(
                f"--resume_from {folder}: this run ended before its first save: begin it again "
                f"with `train {flags} --baselogdir {folder.parent} --logname {folder.name}`"
            )
        raise UserError(
            f"--resume_from {folder}: holds no {LAST}, so it is not the folder of a run; "
            "`main_ctc.py runs` lists them"
        )
    try:
        return load_model(folder / LAST), folder / LAST
    except UserError as error:
        if not (folder / PREVIOUS).exists():
            raise
        log.warning("%s; going on from %s", error, folder / PREVIOUS)
        return load_model(folder / PREVIOUS), folder / PREVIOUS


def is_unsaved_run(folder: Path) -> bool:
    """True when all that a folder holds is what a run writes before its first save."""
    names = {path.name for path in folder.iterdir()}
    rest = {n for n in names if not n.startswith("events.out.") and not n.endswith(UNFINISHED)}
    return "train.log" in rest and rest <= {"train.log", "config.yaml", "summary.txt"}


def as_recorded(text: str) -> str:
    """The settings (YAML) that a run wrote, as they were meant: ``scheduler: true`` was step."""
    return re.sub(r"(?m)^scheduler: (?i:true|yes|on)$", "scheduler: step", text)


def _resumed_config(config: Config, text: str, path: Path) -> Config:
    """The run's settings, with what may change as given now."""
    try:
        values = EARLIER_DEFAULTS | parse_yaml(as_recorded(text), str(path), ignored=REMOVED)
    except UserError as error:
        raise UserError(
            f"--resume_from {error}; the run cannot go on here, but a new one can start from its "
            "best_model.pt"
        ) from None
    changes, problems = {}, []
    for name in sorted(config.given - ELSEWHERE):
        section, f, _ = settings()[name]
        value = getattr(getattr(config, section), f.name)
        began_with = values.get(name, default_of(f))  # the run may be older than the setting
        # A cache rounds: with one or without, a run sees other numbers.
        rounds_alike = name != "cache_dir" or (value is None) == (began_with is None)
        if name in CHANGEABLE and rounds_alike:
            changes[name] = value
        elif value != began_with:
            problems.append(f"--{name} {value} (the run has {began_with})")
    if problems:
        raise UserError(
            f"--resume_from {path.parent}: the run goes on as it began, which contradicts "
            f"{', '.join(problems)}; leave these out, or start a new run from best_model.pt"
        )
    return make_config({**values, **changes}, {}, names=config.names)


def restore(start: Start, state: State, sampler: DurationBatchSampler, world: World) -> None:
    """Sets state and sampler to where the run stood; UserError when the corpus has changed."""
    if start.folder is None:
        return
    training = start.saved
    now = {
        "world_size": world.size,
        "n_clips": len(sampler.durations),
        "has_stretches": sampler.has_stretches,
    }
    try:
        saved_sampler = {"has_stretches": False, **training["sampler"]}
        state.load_state_dict(training["state"])
        for change in _other_batches(saved_sampler, now):
            log.warning("%s: epoch %d is begun again", change, state.epoch)
            state.n_batches, state.sums = 0, EpochSums()
            state.schedule.begin_epoch()
        place = {"epoch": state.epoch - 1, "start": state.n_batches}
        sampler.load_state_dict({**saved_sampler, **now, **place})
    except Exception as error:  # there are as many kinds as there are wrong contents
        raise UserError(f"--resume_from {start.folder}: cannot go on: {_why(error)}") from None
    if world.is_main:
        _drop_later_metrics(start.folder / "metrics.jsonl", state.epoch)
    log.info("%s", _where_it_goes_on(start, state))


def _other_batches(saved: dict, now: dict) -> Iterator[str]:
    """Why the batches of the epoch are others than they were: clips may have vanished."""
    for name, what in ("world_size", "processes"), ("n_clips", "clips"):
        if saved[name] != now[name]:
            yield f"the run had {saved[name]:d} {what} and has {now[name]:d} now"
    if saved["has_stretches"] != now["has_stretches"]:
        yield "an earlier version sorted the clips otherwise"


def _where_it_goes_on(start: Start, state: State) -> str:
    n_done, n_epochs = state.epoch - 1, start.config.training.num_epochs
    if should_stop(state.best, start.config.training.early_stopping):
        return (
            f"{start.folder}: the run is finished: it stopped early after epoch {n_done}; "
            "a larger --early_stopping extends it"
        )
    if n_done >= n_epochs:
        return (
            f"{start.folder}: the run is finished: {n_done} of {several(n_epochs, 'epoch')} "
            "done; a larger --num_epochs extends it"
        )
    return f"going on in epoch {state.epoch}, after {state.n_batches} of its batches"


def _drop_later_metrics(path: Path, epoch: int) -> None:
    """Epochs that are repeated are written again."""
    if path.exists():
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}): move it away") from None
        earlier_lines = [line for line in lines if _epoch_of(line) < epoch]
        n_damaged = sum(_epoch_of(line) == DAMAGED for line in lines if line)
        if n_damaged:
            log.warning("%s: %d damaged lines are removed", path, n_damaged)
        write_atomically(path, b"".join(line + b"\n" for line in earlier_lines))


def _epoch_of(line: bytes) -> float:
    """DAMAGED for a line that a crash left half written, and for any other that is no epoch's."""
    try:
        epoch = json.loads(line)["epoch"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return DAMAGED
    return epoch if type(epoch) is int else DAMAGED


def save_last(
    folder: Path,
    file: ModelFile,
    *,
    config: Config,
    state: State,
    sampler: DurationBatchSampler,
) -> None:
    """Writes last.pt; the one before it is kept beside it, until the next time."""
    place = {"epoch": state.epoch - 1, "start": state.n_batches}
    file.training = {
        "config": config.to_yaml(),
        "sampler": {**sampler.state_dict(), **place},
        "state": state.state_dict(),
    }
    save_model(folder / LAST, file, previous=folder / PREVIOUS)
