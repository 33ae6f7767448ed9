"""The form in which references and hypotheses are compared."""

import re
import unicodedata
from functools import lru_cache
from typing import TypedDict

from asr_ctc.text.charmap import END, START
from asr_ctc.text.folding import APOSTROPHES, fold_latin
from asr_ctc.text.segments import segmenter_of, why_no_words
from asr_ctc.text.units import Units
from asr_ctc.text.writing import PLAIN, Writing


class Distinctions(TypedDict, total=False):
    """Differences that count as errors, see ``normalise_text``; without a key, its default."""

    case: bool
    accents: bool
    punctuation: bool
    writing: Writing
    phonemes: bool


def distinctions_of(units: Units, *, in_letters: bool = False) -> Distinctions:
    """What a model with these units is scored by: what they can write.

    Phonemes are compared as such, unless a lexicon has read them into words, ``in_letters``.
    Accents count if the map has classes for letters with accents and does not fold them. Maps of
    earlier versions, which have no writing profile, are scored without accents, as they were.
    """
    if not units.is_ipa:
        return {"accents": _writes_accents(units), "writing": units.writing}
    if in_letters:
        return {"accents": units.writing.name != "", "writing": units.words_writing}
    return {"writing": Writing(spaces=units.writing.spaces), "phonemes": True}


def described(distinctions: Distinctions) -> str:
    """What counts as an error and what does not, in words."""
    if distinctions.get("phonemes"):
        return "in phonemes"
    counts = {
        "case": distinctions.get("case", False),
        "accents": distinctions.get("accents", False),
        "punctuation": distinctions.get("punctuation", False),
    }
    parts = [
        f"{word} {' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))}"
        for word, names in (
            ("with", [name for name, is_scored in counts.items() if is_scored]),
            ("without", [name for name, is_scored in counts.items() if not is_scored]),
        )
        if names
    ]
    writing = distinctions.get("writing", PLAIN)
    scored = ", ".join(parts) + (f"; writing {writing}" if writing.name else "")
    segmenter = segmenter_of(writing)
    return f"{scored}; words cut by {segmenter.name}" if segmenter else scored


def which_error_rate(units: Units) -> str:
    """Which error rate to read where no spaces separate words, and why; '' where they do."""
    writing, symbols = distinctions_of(units)["writing"], units.rates.of_symbols
    if writing.spaces:
        return ""
    if segmenter := segmenter_of(writing):
        return (
            f"read the {symbols} first: this writing has no spaces between words; the WER is of "
            f"word segments, cut by {segmenter.name}"
        )
    return f"read the {symbols}; there is no WER: {why_no_words(writing)}"


def _writes_accents(units: Units) -> bool:
    letters, writing = units.written_letters, units.writing
    if not writing.name:
        return False
    return normalise_text(letters, writing=writing) != normalise_text(
        letters, writing=writing, keep_accents=True
    )


def _is_sentence_mark(character: str) -> bool:
    return character in (START, END)


@lru_cache(maxsize=4096)
def _is_separator(character: str) -> bool:
    if character == "'":
        return False
    return _is_sentence_mark(character) or unicodedata.category(character).startswith("P")


def _fold_greek(text: str) -> str:
    """``text`` with Greek letters without accents, breathings and other marks."""
    if text.isascii():
        return text
    folded: list[str] = []
    after_greek = False
    for character in text:
        if after_greek and "\u0300" <= character <= "\u036f":
            continue
        base = _greek_base(character)
        after_greek = base is not None
        folded.append(base or character)
    return "".join(folded)


@lru_cache(maxsize=4096)
def _greek_base(character: str) -> str | None:
    """The letter under the marks of one Greek character; None for any other character."""
    if not unicodedata.name(character, "").startswith("GREEK "):
        return None
    return unicodedata.normalize("NFD", character)[0]


def normalise_text(
    text: str,
    *,
    keep_case: bool = False,
    keep_accents: bool = False,
    keep_punctuation: bool = False,
    writing: Writing = PLAIN,
) -> str:
    """``text`` as it is scored, normalised in the same way for references and hypotheses.

    The steps, in this order: remove invisible characters (see ``without_invisible``), replace
    alternative forms of letters and compose (NFC), as ``writing`` has it; replace all
    apostrophe-like characters by '; replace sentence marks and punctuation (Unicode category P,
    except the apostrophe) by spaces, so that "peut-être" is two words; lower case, as ``writing``
    folds it; remove what is optional in the language; remove the accents of Latin and Greek letters
    and spell out Latin ligatures ("cœur" → "coeur"), but keep the marks of other scripts, which are
    letters; collapse white space to single spaces and strip it, or remove it where the language
    writes no spaces between words.

    ``keep_case``, ``keep_accents`` and ``keep_punctuation`` skip one step each; with punctuation
    all spaces are kept. In Turkish, ı and i are different letters: their dots are not accents.
    Idempotent.
    """
    text = writing.standard(text).translate(APOSTROPHES)
    separated = _is_sentence_mark if keep_punctuation else _is_separator
    text = "".join([" " if separated(character) else character for character in text])
    if not keep_case:
        # After removing punctuation: whether Σ becomes a final ς depends on the letters after it,
        # and lower-casing looks past a full stop to find them.
        text = writing.lower(text)
        if writing.case_folding == "greek":
            text = text.replace("ς", "σ")
    text = writing.without_optional(text)
    if not keep_accents:
        apart = "[^ıİ]+" if writing.case_folding == "turkish" else "(?s).+"
        text = _fold_greek(re.sub(apart, lambda others: fold_latin(others[0]), text))
    if writing.spaces or keep_punctuation:
        return " ".join(text.split())
    return unicodedata.normalize("NFC", "".join(text.split()))
