"""`asr_ctc.train(...)`: a run from Python."""

from os import PathLike
from typing import Any

import yaml

from asr_ctc.acoustic import compute
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config, parse_yaml, read_yaml
from asr_ctc.config.load import settings as list_settings
from asr_ctc.training.loop import train as train_from_config
from asr_ctc.training.result import RunResult

SECTIONS = ("corpus", "classes", "features", "model", "published", "training", "logs", "runtime")
OF_OTHERS = {"pretrained"}  # in these sections, but of other commands


def train(config: str | PathLike[str] | None = None, **settings: Any) -> RunResult:
    """Trains as `main_ctc.py train` does; ``settings`` are its flags, ``config`` its YAML file.

        run = asr_ctc.train("digits.yaml", datasetroot="corpora", num_epochs=10)
        asr = run.recognizer()

    Ctrl-C and SIGTERM interrupt it, after which ``resume_from=run.folder`` resumes it. Their
    handlers, torch's random states and its number of threads are at the end what they were before.
    UserError names what is wrong with settings, corpus or folder.
    """
    file_values = read_yaml(config) if config is not None else {}
    try:
        text = yaml.safe_dump({name: _plain(value) for name, value in settings.items()})
    except yaml.YAMLError as error:
        raise UserError(f"train(): a setting is no number, text or list: {error}") from None
    flags = parse_yaml(text, "train()")
    names = names_of_training()
    if others := [name for name in flags if name not in names]:
        raise UserError(f"train(): no settings of training: {', '.join(others)}")
    with compute.host_settings_restored():
        return train_from_config(make_config(file_values, flags, names=names))


def names_of_training() -> list[str]:
    """The settings that `main_ctc.py train` has too."""
    table = list_settings().items()
    return [n for n, (section, _, _) in table if section in SECTIONS and n not in OF_OTHERS]


def _plain(value: Any) -> Any:
    """A value as YAML writes it: paths as text, arrays of numpy and torch as lists."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, PathLike):
        return str(value)
    if isinstance(value, bytes):
        raise yaml.YAMLError(f"found {value!r}")
    return value.tolist() if hasattr(value, "tolist") else value
