"""Text as characters, the same for the character map, scoring, alignment and language models:
folding of Latin letters, letters that look like an apostrophe, characters that show nothing."""

import re
import unicodedata
from functools import lru_cache

# The apostrophe as keyboards and books have it; Uzbek's and Hawaiian's letters; primes; accents
# without a letter; full-width forms; Armenian's; the saltillo.
LIKE_APOSTROPHE = "'’‘‛ʼʻʽʾʿʹ′`´＇｀՚ꞌꞋ"
APOSTROPHES = str.maketrans(dict.fromkeys(LIKE_APOSTROPHE[1:], "'"))
LIGATURES = {"œ": "oe", "æ": "ae", "ß": "ss", "ı": "i", "ĳ": "ij"}
NON_JOINER, JOINER = "\u200c", "\u200d"
_INVISIBLE = re.compile(  # Unicode's Default_Ignorable_Code_Point, and controls but white space
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f\u0870-\u08ff\ufb50-\ufdff\ufe70-\ufefe]")
_INDIC = re.compile("[\u0900-\u0dff\ua830-\ua83f\ua8e0-\ua8ff\U00011000-\U000114df]")
_MONGOLIAN = re.compile("[\u1810-\u18af]")
_OF_MONGOLIAN = "\u180b\u180c\u180d\u180e\u180f"
_ACCENTED = re.compile(r"LATIN (SMALL|CAPITAL) LETTER ([A-Z]{1,2}) WITH ")


@lru_cache(maxsize=4096)
def base_letter(character: str) -> str:
    """The letter under the accents of one Latin character: 'é' → 'e', 'ø' → 'o', 'œ' → 'oe'.

    Unicode names decide ("LATIN SMALL LETTER O WITH STROKE"), because strokes and hooks have no
    canonical decomposition. Anything that is not an accented Latin letter comes back unchanged.
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

    Accents that NFC leaves apart (no precomposed letter exists) are dropped after a Latin letter
    only: in other scripts a combining mark is a letter of its own.
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


def without_invisible(text: str, keep: str = "") -> str:
    """``text`` without the characters that show nothing, except those of ``keep``.

    Zero-width spaces, soft hyphens, marks of direction, byte-order marks, variation selectors and
    controls go. Those that decide how a word is written stay where they do: the zero-width
    non-joiner between letters of the Arabic script, the joiner and the non-joiner after a letter of
    an Indic script, Mongolian's vowel separator and variants after a Mongolian letter. Several in a
    row are one.
    """

    def meant(run: re.Match) -> str:
        if kept := "".join(character for character in run[0] if character in keep):
            return kept
        before = text[run.start() - 1] if run.start() else ""
        after = text[run.end()] if run.end() < len(text) else ""
        meaningful = _meaningful(before, after)
        return next((character for character in run[0] if character in meaningful), "")

    return _INVISIBLE.sub(meant, text)


def _meaningful(before: str, after: str) -> str:
    """The invisible characters that mean something between two characters."""
    if not _is_written(before):
        return ""
    if _ARABIC.match(before):
        return NON_JOINER if _is_written(after) and _ARABIC.match(after) else ""
    if _INDIC.match(before):
        return NON_JOINER + JOINER
    return _OF_MONGOLIAN if _MONGOLIAN.match(before) else ""


def _is_written(character: str) -> bool:
    """Letters, marks and digits."""
    return bool(character) and unicodedata.category(character)[0] in "LMN"


def is_invisible(character: str) -> bool:
    """Whether it is among the characters that ``without_invisible`` looks for."""
    return _INVISIBLE.fullmatch(character) is not None
