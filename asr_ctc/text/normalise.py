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
    """``text`` without the accents, breathings and other marks of its Greek letters."""
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
    """``text`` as it is scored: the same for references and hypotheses, and for every charset.

    In this order: characters that show nothing go (see ``without_invisible``); canonical
    composition (NFC); all that looks like an apostrophe becomes '; sentence marks and punctuation
    (Unicode category P, the apostrophe excepted) become spaces, so that "peut-être" is two words;
    lowercase, as ``case_folding`` has it (see CharMap); Latin and Greek letters lose their accents
    and Latin ligatures are spelt out ("cœur" → "coeur"), while the marks of other scripts are
    letters and stay; white space is collapsed to single spaces and stripped.

    ``keep_case``, ``keep_accents`` and ``keep_punctuation`` each leave one of these steps out;
    the rest is treated alike in every case. In Turkish ı and i are two letters, whose dots are no
    accents. Idempotent. ValueError for a case folding that there is not.
    """
    if case_folding not in CASE_FOLDINGS:
        raise ValueError(f"case_folding must be one of {', '.join(CASE_FOLDINGS)}")
    text = unicodedata.normalize("NFC", without_invisible(text)).translate(APOSTROPHES)
    separated = _is_sentence_mark if keep_punctuation else _is_separator
    text = "".join([" " if separated(character) else character for character in text])
    if not keep_case:
        # After the punctuation: Σ lowers to a final ς or not by the letters that follow it, and
        # lowering looks past a full stop to find them.
        text = lower_case(text, case_folding)
    if not keep_accents:
        apart = "[^ıİ]+" if case_folding == "turkish" else "(?s).+"
        text = _fold_greek(re.sub(apart, lambda others: fold_latin(others[0]), text))
    return " ".join(text.split())
