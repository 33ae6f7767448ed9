"""The form in which references and hypotheses are compared."""

import re
import unicodedata
from functools import lru_cache

from asr_ctc.text.charmap import CASE_FOLDINGS, END, START, lower_case
from asr_ctc.text.folding import APOSTROPHES, fold_latin, without_invisible


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
    case_folding: str = "default",
) -> str:
    """``text`` as it is scored, normalised in the same way for references and hypotheses.

    The steps, in this order: remove invisible characters (see ``without_invisible``); compose
    (NFC); replace all apostrophe-like characters by '; replace sentence marks and punctuation
    (Unicode category P, except the apostrophe) by spaces, so that "peut-être" is two words; lower
    case, as set by ``case_folding`` (see CharMap); remove the accents of Latin and Greek letters
    and spell out Latin ligatures ("cœur" → "coeur"), but keep the marks of other scripts, which are
    letters; collapse white space to single spaces and strip it.

    ``keep_case``, ``keep_accents`` and ``keep_punctuation`` skip one step each. In Turkish, ı and i
    are different letters: their dots are not accents. Idempotent. ValueError for an unknown case
    folding.
    """
    if case_folding not in CASE_FOLDINGS:
        raise ValueError(f"case_folding must be one of {', '.join(CASE_FOLDINGS)}")
    text = unicodedata.normalize("NFC", without_invisible(text)).translate(APOSTROPHES)
    separated = _is_sentence_mark if keep_punctuation else _is_separator
    text = "".join([" " if separated(character) else character for character in text])
    if not keep_case:
        # After removing punctuation: whether Σ becomes a final ς depends on the letters after it,
        # and lower-casing looks past a full stop to find them.
        text = lower_case(text, case_folding)
    if not keep_accents:
        apart = "[^ıİ]+" if case_folding == "turkish" else "(?s).+"
        text = _fold_greek(re.sub(apart, lambda others: fold_latin(others[0]), text))
    return " ".join(text.split())
