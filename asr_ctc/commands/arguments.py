"""Groups of flags and refusals that several commands share."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from asr_ctc.base.errors import UserError
from asr_ctc.config.load import Config

if TYPE_CHECKING:
    from asr_ctc.text.normalise import Distinctions
    from asr_ctc.text.writing import Writing

FIND_CORPUS = "datasetroot", "corpus", "datasetversion", "lang", "index_dir"
OF_UNITS = "units", "vocab_size", "phoneme_language", "phoneme_stress", "word_boundaries"
# The duration bounds of a config file are for training; a trained model takes every clip.
EVERY_CLIP = {"min_duration": 0.0, "max_duration": math.inf}
# A model file determines these: commands accept them, and ignore them with a note.
OF_MODEL_FILE = "features", "model", "charset", "case_folding", "charset_min_count"
# "--a needs", but "--a and --b need".
SINGULAR = {"need": "needs", "have": "has"}


def refuse_model_formats(config: Config) -> None:
    """UserError for a --format of models where one of transcripts is needed."""
    if config.output.format == "huggingface":
        raise UserError("--format huggingface: a form of models, for `export`")


def refuse_flags(config: Config, names: Iterable[str], says: str) -> None:
    """UserError if one of the flags was typed: "--html and --csv have no effect with --audiofile".

    ``says`` begins with a verb in the plural. The settings of a --config file are not refused,
    because other commands may need them.
    """
    flags = [f"--{name}" for name in names if name in config.typed]
    if flags:
        verb, rest = says.split(" ", 1)
        listed = " and ".join(filter(None, (", ".join(flags[:-1]), flags[-1])))
        raise UserError(f"{listed} {SINGULAR[verb] if len(flags) == 1 else verb} {rest}")


def distinctions_of(config: Config, writing: "Writing") -> "Distinctions":
    """The settings as arguments of ``metrics.error_rates``, without accents and profile where they
    follow from the model; ``writing`` is its profile."""
    scoring = config.scoring
    distinctions: Distinctions = {"case": scoring.case, "punctuation": scoring.punctuation}
    if config.has("accents"):
        distinctions["accents"] = scoring.accents
    if config.corpus.profile:
        from asr_ctc.assembly.writing import extend_writing

        distinctions["writing"] = extend_writing(config.corpus.profile, writing)
    return distinctions
