"""Characters of text, treated alike by the character map, scoring, alignment and language models:
folding of Latin letters, characters that look like an apostrophe, invisible characters."""

import re
import unicodedata
from functools import lru_cache

# The apostrophes of keyboards and books; letters of Uzbek and Hawaiian; primes; accents without a
# letter; full-width forms; the Armenian apostrophe; the saltillo.
LIKE_APOSTROPHE = "'’‘‛ʼʻʽʾʿʹ′`´＇｀՚ꞌꞋ"
APOSTROPHES = str.maketrans(dict.fromkeys(LIKE_APOSTROPHE[1:], "'"))
LIGATURES = {"œ": "oe", "æ": "ae", "ß": "ss", "ı": "i", "ĳ": "ij"}
NON_JOINER, JOINER = "\u200c", "\u200d"
_INVISIBLE = re.compile(  # Unicode's Default_Ignorable_Code_Point, and controls except white space
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f\u0870-\u08ff\ufb50-\ufdff\ufe70-\ufefe]")
_INDIC = re.compile("[\u0900-\u0dff\ua830-\ua83f\ua8e0-\ua8ff\U00011000-\U000114df]")
_MONGOLIAN = re.compile("[\u1810-\u18af]")
_MONGOLIAN_SELECTORS = "\u180b\u180c\u180d\u180e\u180f"
_ACCENTED = re.compile(r"LATIN (SMALL|CAPITAL) LETTER ([A-Z]{1,2}) WITH ")


@lru_cache(maxsize=4096)
def base_letter(character: str) -> str:
    """The letter under the accents of one Latin character: 'é' → 'e', 'ø' → 'o', 'œ' → 'oe'.

    It is taken from the Unicode name ("LATIN SMALL LETTER O WITH STROKE"), because strokes and
    hooks have no canonical decomposition. Other characters are returned unchanged.
    """
    lower = character.lower()
    if lower in LIGATURES:
        letters = LIGATURES[lower]
        return letters if character == lower else letters.upper()
    match = _ACCENTED.match(unicodedata.name(character, ""))
    if not match:
        return character
    return match[2].lower() if match[1] == "SMALL" else match[2]


def fold_latin(text: str) -> str:
    """NFC text with accented Latin letters replaced by base letters and ligatures spelt out.

    Combining accents without a precomposed letter are dropped after Latin letters only: in other
    scripts a combining mark is a letter of its own.
    """
    if text.isascii():
        return text
    folded: list[str] = []
    for character in unicodedata.normalize("NFC", text):
        before = folded[-1][-1:] if folded else ""
        if "\u0300" <= character <= "\u036f" and before.isascii() and before.isalpha():
            continue
        folded.append(base_letter(character))
    return "".join(folded)


def without_invisible(text: str, keep: str = "", meaningful: str | None = None) -> str:
    """``text`` without invisible characters, except those of ``keep``.

    Zero-width spaces, soft hyphens, direction marks, byte-order marks, variation selectors and
    controls are removed. Characters that are part of the spelling stay: the zero-width non-joiner
    between Arabic letters, the joiner and the non-joiner after an Indic letter, and the Mongolian
    vowel separator and variation selectors after a Mongolian letter; of these only those that are
    ``meaningful``, where a language's are known. Of several in a row, one stays.
    """

    def replacement(run: re.Match) -> str:
        if allowed := "".join(character for character in run[0] if character in keep):
            return allowed
        before = text[run.start() - 1] if run.start() else ""
        after = text[run.end()] if run.end() < len(text) else ""
        allowed = _meaningful(before, after)
        if meaningful is not None:
            allowed = "".join(character for character in allowed if character in meaningful)
        return next((character for character in run[0] if character in allowed), "")

    return _INVISIBLE.sub(replacement, text)


def _meaningful(before: str, after: str) -> str:
    """The invisible characters that have a meaning between two characters."""
    if not _is_written(before):
        return ""
    if _ARABIC.match(before):
        return NON_JOINER if _is_written(after) and _ARABIC.match(after) else ""
    if _INDIC.match(before):
        return NON_JOINER + JOINER
    return _MONGOLIAN_SELECTORS if _MONGOLIAN.match(before) else ""


def _is_written(character: str) -> bool:
    """Whether it is a letter, a mark or a digit."""
    return bool(character) and unicodedata.category(character)[0] in "LMN"


def is_invisible(character: str) -> bool:
    """Whether the character is one that ``without_invisible`` removes or keeps by context."""
    return _INVISIBLE.fullmatch(character) is not None
