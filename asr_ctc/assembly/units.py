"""Makes the units of a model from the settings: what its classes are."""

import logging
from typing import Any, NamedTuple

from asr_ctc.assembly.charmap import make_charmap
from asr_ctc.assembly.writing import find_writing, with_charset
from asr_ctc.base.errors import UserError
from asr_ctc.base.printable import visible_text
from asr_ctc.config.load import Config
from asr_ctc.config.settings.units import UnitsConfig
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.corpus.spoken import speak_corpus
from asr_ctc.display.terminal import several
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.espeak import language_of
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.units import Units
from asr_ctc.text.word_pieces import N_FIXED, WordPieces
from asr_ctc.text.writing import Writing

log = logging.getLogger(__name__)

OF_UNITS = (
    *("charset", "profile", "case_folding", "charset_min_count"),
    *("units", "vocab_size", "phoneme_language", "phoneme_stress", "word_boundaries"),
)


class ModelUnits(NamedTuple):
    """The units of a model, and those of its second head, if it has one."""

    main: Units
    aux: Units | None = None


def settings_of(units: ModelUnits) -> dict[str, Any]:
    """The settings by which such units are made."""
    kinds = [each.kind for each in units if each is not None]
    values: dict[str, Any] = {"units": "+".join(kinds)}
    for each in units:
        if isinstance(each, WordPieces):
            values["vocab_size"] = each.vocab_size - N_FIXED
        if isinstance(each, Phonemes):
            values["phoneme_language"] = each.language
            values["phoneme_stress"] = each.stress
            values["word_boundaries"] = each.boundaries
    return values


def asks_for_others(config: Config, units: ModelUnits) -> bool:
    """Whether a flag or a file asks for other units than those of a model file."""
    default, of_file = vars(UnitsConfig()), settings_of(units)
    return config.corpus.charset is not None or any(
        name in config.typed or value not in (default[name], of_file.get(name, default[name]))
        for name, value in vars(config.classes).items()
        if not name.startswith("aux_")
    )


def make_units(config: Config, train: Corpus | None) -> tuple[Config, ModelUnits]:
    """What ``--units`` names, learned from a training split; the settings with the --charset taken.

    UserError for settings that contradict each other, for missing packages and languages, and where
    the split has too little text.
    """
    kind = config.classes.units
    _refuse_unused(config, kind)
    writing = find_writing(config, train)
    if kind == "phoneme":
        return config, ModelUnits(_make_phonemes(config, train, writing))
    config = with_charset(config, writing)
    letters = make_charmap(config.corpus, train, writing)
    if kind == "char+phoneme":
        return config, ModelUnits(letters, _make_phonemes(config, train, writing))
    return config, ModelUnits(_make_pieces(config, train, letters) if kind == "bpe" else letters)


def _refuse_unused(config: Config, kind: str) -> None:
    uses = {
        "vocab_size": kind == "bpe",
        "phoneme_language": "phoneme" in kind,
        "phoneme_stress": "phoneme" in kind,
        "word_boundaries": "phoneme" in kind,
        "aux_weight": kind == "char+phoneme",
        "aux_layer": kind == "char+phoneme",
        "charset": kind != "phoneme",
    }
    if unused := [name for name, is_used in uses.items() if name in config.typed and not is_used]:
        raise UserError(f"--{', --'.join(unused)}: not used by --units {kind}; omit it")


def _make_pieces(config: Config, train: Corpus | None, letters: CharMap) -> WordPieces:
    if train is None:
        raise UserError("--units bpe needs a training split to learn from")
    try:
        units = WordPieces.from_transcripts(
            train.all_sentences(), config.classes.vocab_size, letters
        )
    except ValueError as error:
        raise UserError(f"--vocab_size {config.classes.vocab_size}: {error}") from None
    log.info(
        "word pieces from %s: %d classes, of which 256 are bytes",
        several(len(train), "transcript"),
        units.vocab_size,
    )
    return units


def _make_phonemes(config: Config, train: Corpus | None, writing: Writing) -> Phonemes:
    if train is None:
        raise UserError(f"--units {config.classes.units} needs a training split to learn from")
    settings, corpus = config.classes, config.corpus
    language = language_of(settings.phoneme_language or corpus.lang)
    spoken = speak_corpus(train, language, stress=settings.phoneme_stress)
    units, rare = Phonemes.from_readings(
        (spoken.find(sentence) or "" for sentence in train.all_sentences()),
        language,
        stress=settings.phoneme_stress,
        boundaries=settings.word_boundaries,
        min_count=corpus.charset_min_count,
        texts=writing,
    )
    units.remember(spoken)
    log.info(
        "phonemes of %s as espeak reads %s: %d classes: %s",
        several(len(train), "transcript"),
        language,
        units.vocab_size,
        visible_text(" ".join(symbol for symbol in units.symbols[2:] if symbol.strip())),
    )
    if rare:
        ordered = sorted(rare.items(), key=lambda item: -item[1])
        log.info(
            "seen fewer than %d times, mapped to the unknown class: %s",
            corpus.charset_min_count,
            " ".join(f"{visible_text(p)}×{n}" for p, n in ordered),
        )
    return units
