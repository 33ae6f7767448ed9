"""What the command lines of several commands share."""

import math
from collections.abc import Iterable

from asr_ctc.base.errors import UserError
from asr_ctc.config.load import Config

FIND_CORPUS = "datasetroot", "corpus", "datasetversion", "lang", "index_dir"
# A config file has bounds for training; what a trained model reads is not bounded by them.
EVERY_CLIP = {"min_duration": 0.0, "max_duration": math.inf}
# A model file determines these: they are taken, and ignored with a note.
OF_MODEL_FILE = "features", "model", "charset", "case_folding", "charset_min_count"
# In English, "--a needs", but "--a and --b need".
SINGULAR = {"need": "needs", "have": "has"}


def refuse_flags(config: Config, names: Iterable[str], says: str) -> None:
    """UserError when one of these was typed: "--html and --csv have no effect with --audiofile".

    ``says`` begins with a verb, for several flags. A file's settings may be of other commands, so
    they are not refused.
    """
    flags = [f"--{name}" for name in names if name in config.typed]
    if flags:
        verb, rest = says.split(" ", 1)
        listed = " and ".join(filter(None, (", ".join(flags[:-1]), flags[-1])))
        raise UserError(f"{listed} {SINGULAR[verb] if len(flags) == 1 else verb} {rest}")
