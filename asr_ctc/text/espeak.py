"""Text to phonemes by espeak-ng, through the packages phonemizer and espeakng-loader."""

import difflib
import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from asr_ctc.base.errors import UserError
from asr_ctc.text.folding import APOSTROPHES, without_invisible
from asr_ctc.text.ipa import phonemes_of, with_ties

INSTALL = "pip install 'asr-ctc[phonemes]', or pip install phonemizer espeakng-loader"
# Names of corpora that differ from espeak's.
OTHER_NAMES = {
    "en": "en-us", "fr": "fr-fr", "zh": "cmn", "zh-cn": "cmn", "zh-tw": "cmn", "zh-hk": "yue",
    "no": "nb", "nn-no": "nb", "sv-se": "sv", "iw": "he",
}  # fmt: skip
_SWITCH = re.compile(r"\(([a-z][a-z-]*)\)")  # espeak's mark of words read in another language
_PHONE = "_"


class Reading(NamedTuple):
    """A text's phonemes in IPA, a space between two words, and the languages of other words."""

    ipa: str
    switched: bool


@lru_cache(maxsize=1)
def languages() -> dict[str, str]:
    """{name: English name} of espeak's languages; UserError where the packages are missing."""
    return dict(_backend_class().supported_languages())


def language_of(name: str) -> str:
    """espeak's name of a language, such as fr-fr for fr; UserError with near ones for others."""
    known, lower = languages(), name.lower().replace("_", "-")
    candidates = [lower, OTHER_NAMES.get(lower, "")]
    if base := lower.partition("-")[0]:
        candidates += [OTHER_NAMES.get(base, ""), base]
    for candidate in candidates:
        if candidate in known:
            return OTHER_NAMES.get(candidate, candidate)
    by_name = {english.lower(): code for code, english in known.items()}
    near = difflib.get_close_matches(lower, [*known, *by_name], n=3, cutoff=0.5)
    near += [code for code in known if code.partition("-")[0] == base]
    listed = [f"{code} ({known[code]})" for code in dict.fromkeys(by_name.get(n, n) for n in near)]
    hint = f"; near ones: {', '.join(listed[:5])}" if listed else ""
    raise UserError(f"espeak has no language {name!r}{hint} (--phoneme_language NAME)")


def version() -> str:
    """That of espeak, on which phonemes depend."""
    return ".".join(map(str, _backend_class().version()))


def read_aloud(texts: Sequence[str], language: str, *, stress: bool = False) -> list[Reading]:
    """The phonemes of each text as espeak reads it, punctuation aside."""
    from phonemizer.separator import Separator

    prepared = [prepare(text) for text in texts]
    backend = _backend(language, stress)
    separator = Separator(phone=_PHONE, word=" ")
    spoken = [i for i, text in enumerate(prepared) if any(map(str.isalnum, text))]
    lines = backend.phonemize([prepared[i] for i in spoken], separator=separator, strip=True)
    if len(lines) != len(spoken):
        raise RuntimeError(f"espeak read {len(spoken)} texts as {len(lines)}")
    readings = [Reading("", False)] * len(texts)
    for i, line in zip(spoken, lines, strict=True):
        readings[i] = Reading(_as_ipa(line), _SWITCH.search(line) is not None)
    return readings


def prepare(text: str) -> str:
    """A text as espeak gets it; one in capitals only would be spelt out, and is lowered."""
    text = unicodedata.normalize("NFC", without_invisible(text)).translate(APOSTROPHES)
    text = " ".join(text.replace(_PHONE, " ").split())
    return text.lower() if text == text.upper() else text


def _as_ipa(line: str) -> str:
    words = (
        "".join(with_ties(phone.replace("-", "")) for phone in word.split(_PHONE))
        for word in _SWITCH.sub(" ", line).split()
    )
    return " ".join(filter(None, words))


class OddWords(NamedTuple):
    """Words that espeak does not read as words of the language, in order."""

    spelt_out: list[str]  # letter by letter
    numbers: list[str]
    foreign: list[str]  # in another language, such as letters of another script
    skipped: list[str]  # not at all


def odd_words(words: Iterable[str], language: str) -> OddWords:
    """Which of these words espeak spells out, skips or reads in another way than by its letters."""
    words = list(dict.fromkeys(filter(lambda w: any(map(str.isalnum, w)), words)))
    readings = read_aloud(words, language)
    letters = sorted({letter for word in words for letter in word.lower() if letter.isalpha()})
    spoken = read_aloud(letters, language)
    name_of = {letter: r.ipa.replace(" ", "") for letter, r in zip(letters, spoken, strict=True)}
    odd = OddWords([], [], [], [])
    for word, (ipa, switched) in zip(words, readings, strict=True):
        of_letters = "".join(name_of.get(letter, "") for letter in word.lower())
        plain = ipa.replace(" ", "")
        if any(map(str.isdigit, word)):
            odd.numbers.append(word)
        elif not plain:
            odd.skipped.append(word)
        elif switched:
            odd.foreign.append(word)
        elif plain == of_letters and len(phonemes_of(plain)) > len(word) > 1:
            odd.spelt_out.append(word)
    return odd


@lru_cache(maxsize=8)
def _backend(language: str, stress: bool) -> Any:
    quiet = logging.getLogger(f"{__name__}.phonemizer")
    quiet.setLevel(logging.CRITICAL)
    return _backend_class()(
        language, with_stress=stress, language_switch="keep-flags", logger=quiet
    )


@lru_cache(maxsize=1)
def _backend_class() -> Any:
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
    except ImportError as error:
        raise UserError(f"phonemes need the package {error.name}: {INSTALL}") from None
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    return EspeakBackend
