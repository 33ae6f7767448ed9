"""The folder of a run and what describes the run in it."""

import contextlib
import logging
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import torchinfo

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import is_locked, why_no_folder, write_atomically
from asr_ctc.config.load import Config, settings
from asr_ctc.display.terminal import several
from asr_ctc.training.resume import is_unsaved_run
from asr_ctc.training.run import Run

log = logging.getLogger(__name__)

BEST, DESCRIPTION, SUMMARY = "best_model.pt", "config.yaml", "summary.txt"


def check_run_folder(config: Config) -> None:
    """UserError, before any work, when the folder of the run is in use or cannot be made."""
    base, name = Path(config.logs.baselogdir), config.logs.logname
    if name is not None and (base / name).is_file():
        raise UserError(f"{base / name} is a file: choose another --logname")
    if name is not None and (base / name).is_dir() and any((base / name).iterdir()):
        if not is_unsaved_run(base / name):
            raise UserError(f"{base / name} holds a run already: choose another --logname")
        refuse_if_in_use(base / name)
    try:
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=base):
            pass
    except OSError as error:
        why = why_no_folder(base, error)
        raise UserError(f"--baselogdir {base}: cannot be written ({why})") from None


def refuse_if_in_use(folder: Path) -> None:
    """UserError when another process trains in the folder."""
    if is_locked(folder / "train.log"):
        raise in_use(folder)


def in_use(folder: Path) -> UserError:
    return UserError(f"{folder}: another process trains in this folder; wait, or stop it")


def make_run_folder(config: Config) -> Path:
    """A new folder for the run: the one asked for, else one with a name of its own."""
    base = Path(config.logs.baselogdir)
    shape, name = config.model, config.logs.logname
    try:
        if name is not None:
            (base / name).mkdir(parents=True, exist_ok=True)
            check_run_folder(config)  # again: another run may have taken it meanwhile
            if any((base / name).iterdir()):
                log.info("%s: its run ended before its first save and begins again", base / name)
            return base / name
        stem = f"{config.corpus.lang}_{shape.cell_type}_{shape.nlayers_rnn}x{shape.nhidden_rnn}"
        if shape.encoder:
            stem = f"{stem}_{re.sub(r'[^A-Za-z0-9.-]+', '-', Path(shape.encoder).name)}"
        for number in range(10**6):
            with contextlib.suppress(FileExistsError):
                folder = base / f"{stem}_{number}"
                folder.mkdir(parents=True)
                return folder
    except OSError as error:
        why = why_no_folder(base, error)
        raise UserError(f"--baselogdir {base}: cannot be written ({why})") from None
    raise UserError(f"--baselogdir {base}: no free name left for {stem}")


def repeatable(run: Run) -> Config:
    """The run's settings with the corpus it found, and without its name, which is taken now.

    A language that nobody gave is none, where the folders do not name it: the writing of the
    transcripts counts then, and would not if the language were written down.
    """
    config, corpus = run.config, run.config.corpus
    if corpus.corpus == "commonvoice":
        folder = run.train_corpus.folder
        root, version = str(folder.parent.parent), folder.parent.name
        corpus = replace(corpus, datasetroot=root, datasetversion=version)
    elif corpus.corpus == "spontaneous":
        corpus = replace(corpus, datasetroot=str(run.train_corpus.folder), datasetversion=None)
    if corpus.corpus != "commonvoice" and not config.has("lang"):
        names = settings() if config.names is None else config.names
        config = replace(config, names=tuple(name for name in names if name != "lang"))
    return replace(config, corpus=corpus, logs=replace(config.logs, logname=None))


def write_settings(run: Run, folder: Path) -> None:
    """config.yaml, which repeats the run; a resumed one may have other settings than before."""
    path, text = folder / "config.yaml", repeatable(run).to_yaml().encode()
    if not path.exists() or path.read_bytes() != text:
        write_atomically(path, text)


def write_description(run: Run, folder: Path) -> None:
    """summary.txt, and the model's summary in the log."""
    summary = str(torchinfo.summary(run.model, verbose=0, depth=2))
    n_params = sum(p.numel() for p in run.model.parameters())
    text = (
        f"{run.origin['command']}\n\n{summary}\n\n"
        f"{run.train_corpus.name}: {several(len(run.train), 'clip')}, "
        f"{run.train_corpus.hours:.2f} h\n"
        f"{run.dev.corpus.name}: {several(len(run.dev), 'clip')}, {run.dev.corpus.hours:.2f} h\n"
        f"{run.charmap.noun}s: {run.charmap.listing}\n\n{run.config.to_yaml()}"
    )
    write_atomically(folder / SUMMARY, text.encode("utf-8", "backslashreplace"))
    for line in summary.splitlines():
        log.info(line)
    log.info("%s parameters; the run is in %s", f"{n_params:,}", folder)
