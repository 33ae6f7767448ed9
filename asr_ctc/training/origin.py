"""Where a model comes from: command, versions, corpus and sound, for its file."""

import platform
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone

import torch

from asr_ctc.assembly.model import Blueprint
from asr_ctc.base.errors import UserError
from asr_ctc.base.version import VERSION
from asr_ctc.config.load import Config
from asr_ctc.corpus.corpus import Corpus, corpus_name
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.trained_sound import measure_trained_sound
from asr_ctc.training.distributed import World
from asr_ctc.training.resume import Start
from asr_ctc.training.run import seed_of


def find_origin(
    start: Start,
    *,
    config: Config,
    command: Sequence[str],
    dataset: ClipDataset,
    world: World,
    blueprint: Blueprint,
) -> dict:
    """A new run's origin, or that of the resumed one; UserError when its corpus has changed."""
    train = dataset.corpus
    if start.file is None or start.folder is None:
        origin = describe_origin(config, command, train)
        if blueprint.pretrained:
            origin["encoder"] = blueprint.pretrained.source
        elif start.file and "encoder" in start.file.origin:
            origin["encoder"] = start.file.origin["encoder"]
        if config.training.debug:  # nothing is kept
            return origin
        origin["sound"] = world.broadcast_from_main(
            lambda: measure_trained_sound(dataset, config.runtime.nthreads, seed_of(config))
        )
        return origin
    origin = start.file.origin
    if origin["corpus"]["train_tsv_sha256"] != train.fingerprint:
        raise UserError(
            f"--resume_from {start.folder}: {train.name} has changed since the run began: start a "
            "new run from best_model.pt"
        )
    return origin


def describe_origin(config: Config, command: Sequence[str], train: Corpus) -> dict:
    """Where a model comes from, for its file."""
    corpus_config = config.corpus
    return {
        "command": shlex.join(["python", *command]) if command else "",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "asr_ctc": VERSION,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
        "corpus": {
            "layout": corpus_config.corpus,
            "version": corpus_name(train.folder, corpus_config.corpus).split("/")[0],
            "lang": corpus_config.lang,
            "clips": len(train),
            "hours": round(train.hours, 3),
            "train_tsv_sha256": train.fingerprint,
        },
        "resumed_from": config.training.resume_from or "",
    }
