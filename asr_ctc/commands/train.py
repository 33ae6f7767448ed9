"""`train`: trains a model on a corpus."""

import os.path

from asr_ctc.base.errors import UserError
from asr_ctc.commands.arguments import FIND_CORPUS
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config


def run_train(config: Config, words: list[str], command: list[str]) -> int:
    """Trains; exit status 1 if --debug fails, 130 after Ctrl-C, 143 after SIGTERM, else 0."""
    refuse_logname_outside(config.logs.logname)
    if config.training.debug:
        from asr_ctc.training.overfit import overfit_one_batch

        overfit = overfit_one_batch(config)
        return _status(overfit.signal, otherwise=0 if overfit.passed else 1)
    from asr_ctc.training.loop import train

    return _status(train(config, command=command).signal, otherwise=0)


def _status(signal: int | None, *, otherwise: int) -> int:
    """The exit status of a run that ``signal`` has interrupted, if any."""
    return otherwise if signal is None else 128 + signal


def refuse_logname_outside(name: str | None) -> None:
    """UserError unless the run's folder lies below --baselogdir."""
    path = os.path.normpath(name or "run")
    if os.path.isabs(path) or path.split(os.sep)[0] in (os.curdir, os.pardir):
        raise UserError(
            f"--logname {name}: must name a folder below --baselogdir; --baselogdir may be anywhere"
        )


COMMAND = Command(
    name="train",
    summary="train a model on a corpus (--debug: see that one batch can be overfitted)",
    run=run_train,
    common=(
        *("datasetroot", "lang", "num_epochs", "batch_size", "base_lr", "scheduler"),
        *("train_augment", "debug", "resume_from"),
    ),
    further=(
        *FIND_CORPUS,
        *("min_duration", "max_duration", "charset", "profile", "case_folding"),
        *("charset_min_count", "classes", "exclude", "cache_dir", "cache_gb"),
        *("encoder_weights", "adapter"),
        *("features", "model", "training", "logs", "runtime"),
    ),
    examples=(
        "train --scheduler --train_augment",
        "train --config configs/commonvoice_fr_small.yaml --lang fr",
        "train --debug --batch_size 16",
        "train --resume_from logs/RUN",
    ),
)
