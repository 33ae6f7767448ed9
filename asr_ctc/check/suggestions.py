"""The settings that suit a corpus, and the `train` command with them."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from asr_ctc.assembly.charmap import advice_on_rare
from asr_ctc.check.texts import Alphabet
from asr_ctc.config.load import Config, default_of, settings
from asr_ctc.config.settings.check import CheckConfig
from asr_ctc.corpus.layouts.registry import LAYOUTS
from asr_ctc.display.terminal import percent, several
from asr_ctc.loading.duration_bounds import MOST_BATCH_S, suitable_maximum_s
from asr_ctc.text.languages import OF_DEFAULT_MAP
from asr_ctc.text.rare import suitable_min_count, unknown_share
from asr_ctc.text.writing import Writing

MOST_LOST_SHARE = 0.001  # of the characters, before another map is suggested
LEAST_STEPS = 200  # optimiser steps per epoch with the suggested batch size
LEAST_BATCH, MOST_BATCH = 4, 128  # clips
FRENCH_LETTERS = frozenset("àâæçèéêëîïôùûüÿœ")  # whose accents the default map folds
SOURCE = "corpus", "datasetroot", "datasetversion", "lang"  # first in a command
OF_CHECK = {"modelpath", "out", *(f.name for f in fields(CheckConfig))}  # `train` lacks these


@dataclass(frozen=True)
class Suggestions:
    """Settings that suit the corpus; None without a usable clip. Durations in seconds.

    ``clips_within`` and ``hours_within`` count the clips of train within the suggested durations;
    ``command`` is the `train` command with the suggestions and every flag that was typed.
    """

    charset: str
    min_duration: float | None
    max_duration: float | None
    batch_size: int | None
    clips_within: int | None
    hours_within: float | None
    command: str


def make_suggestions(
    config: Config,
    durations: np.ndarray,
    alphabet: Alphabet,
    *,
    writing: Writing,
    exclude: str | None,
) -> Suggestions:
    """Suggestions from the ``durations`` (N,) of the usable clips of train, in seconds.

    The bounds of ``config`` are kept unless no clip lies between them; ``writing`` is the profile
    that was found.
    """
    suggested = suggested_charset(config, alphabet, writing)
    flags: dict[str, Any] = {"exclude": exclude}
    if config.classes.units != "phoneme":  # which have no character map
        flags |= suggested
    low = high = batch_size = clips_within = hours_within = None
    if len(durations):
        low, high = config.corpus.min_duration or 0.0, config.corpus.max_duration or math.inf
        within = durations[(durations >= low) & (durations <= high)]
        if not len(within):
            low, high = 0.0, suitable_maximum_s(durations, MOST_BATCH_S / LEAST_BATCH)
            within = durations[durations <= high]
        batch_size = suggested_batch_size(len(within), high)
        clips_within, hours_within = len(within), float(within.sum()) / 3600
        named_low = low if low or config.has("min_duration") else None
        flags |= {"min_duration": named_low, "max_duration": high, "batch_size": batch_size}
    return Suggestions(
        charset=suggested["charset"],
        min_duration=low,
        max_duration=high,
        batch_size=batch_size,
        clips_within=clips_within,
        hours_within=hours_within,
        command=_train_command(config, flags, writing),
    )


def suggested_batch_size(n_clips: int, longest_s: float) -> int:
    """The power of two in 4..128 that leaves 200 steps in an epoch and pads to 1280 s at most."""
    most = min(MOST_BATCH, n_clips / LEAST_STEPS, MOST_BATCH_S / longest_s)
    return max(LEAST_BATCH, 2 ** math.floor(math.log2(max(1, most))))


def suggested_charset(config: Config, alphabet: Alphabet, writing: Writing) -> dict[str, Any]:
    """``charset``, ``case_folding`` and ``charset_min_count`` for the transcripts of a corpus.

    The default map is for French and English. It is kept for a corpus of these languages, or of
    an unknown one, as long as it loses nothing and folds no accents but those of French.
    """
    corpus, total = config.corpus, max(1, alphabet.n_characters)
    charset, case_folding = corpus.charset or "default", writing.case_folding
    unsuited = alphabet.n_lost
    if charset == "default":
        is_known = LAYOUTS[corpus.corpus].has_languages or config.has("lang")
        if is_known and corpus.lang.partition("-")[0] not in OF_DEFAULT_MAP:
            charset = "auto"
        unsuited += sum(
            folding.count
            for letter, folding in alphabet.folded.items()
            if letter.isalpha() and letter not in FRENCH_LETTERS
        )
    if unsuited / total > MOST_LOST_SHARE:
        charset = "auto"
    if case_folding == "default" and alphabet.counts.get("ı", 0) / total > MOST_LOST_SHARE:
        case_folding = "turkish"
    min_count = corpus.charset_min_count
    if charset == "auto" and "charset_min_count" not in config.typed:
        min_count = suitable_min_count(rare_counts(alphabet), min_count, alphabet.n_in_train)
    return {"charset": charset, "case_folding": case_folding, "charset_min_count": min_count}


def rare_characters(alphabet: Alphabet, charset: str, min_count: int) -> list[str]:
    """How many characters are seen fewer than ``min_count`` times; with 'auto', what helps."""
    counts = rare_counts(alphabet)
    share = percent(unknown_share(counts, min_count, alphabet.n_in_train))
    seen = f"seen fewer than {min_count} times in train: {share} of its text"
    advice = advice_on_rare(counts, min_count, alphabet.n_in_train) if charset == "auto" else []
    return [f"{several(len(counts), 'character')} {seen}", *advice]


def rare_counts(alphabet: Alphabet) -> list[int]:
    """How often each of the rare characters is seen."""
    return [use.count for use in alphabet.rare.values()]


def _train_command(config: Config, suggested: Mapping[str, Any], writing: Writing) -> str:
    """The `train` command with all that was typed, and the suggestions.

    Suggestions of None are omitted, and those that `train` follows by itself.
    """
    words = ["python main_ctc.py train"]
    if config.file:
        words.append(f"--config {shlex.quote(config.file)}")
    table = settings()
    # What `train` takes where these are open; another map is said, though it may follow.
    of_itself = {"charset": "default", "case_folding": writing.case_folding}
    for name in [*SOURCE, *(name for name in table if name not in SOURCE)]:
        section, f, _ = table[name]
        value = getattr(getattr(config, section), f.name)
        is_typed = name in config.typed and name not in OF_CHECK
        if name in suggested:
            by_itself = value if config.has(name) else of_itself.get(name, default_of(f))
            value = suggested[name]
            is_said = value is not None and (value != by_itself or name == "batch_size")
        else:
            has_languages = LAYOUTS[config.corpus.corpus].has_languages
            is_said = name == "lang" and has_languages and not config.file
        if is_typed or is_said:
            words.append(f"--{name} {_word(value)}")
    return " ".join(words)


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else shlex.quote(str(value))
