"""Text as characters: folding of Latin letters, shared by the character map and by scoring."""

import re
import unicodedata
from functools import lru_cache

APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "‘": "'"})
LIGATURES = {"œ": "oe", "æ": "ae", "ß": "ss", "ı": "i", "ĳ": "ij"}
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
