"""Phonemes in the letters of the International Phonetic Alphabet (IPA).

In a text of IPA every phoneme can be told from its neighbours: it is one letter with the marks that
follow it, or letters joined by ties, such as t͡ʃ. So texts and phonemes are made of each other
without a list of phonemes.
"""

import re
import unicodedata

TIE = "\u0361"
STRESS = "ˈˌ"
# Marks that belong to the letter before: combining ones; length, aspiration, palatalisation and
# the like; tones.
_MARK = "[\u0300-\u0360\u0362-\u036f\u02b0-\u02c7\u02c9-\u02cb\u02cd-\u02ff0-9\u2070-\u209f]"
_PHONEME = re.compile(rf"[{STRESS}]|\S(?:{TIE}\S|{_MARK})*")
_IS_MARK = re.compile(_MARK)


def phonemes_of(text: str) -> list[str]:
    """The phonemes of a text of IPA; white space separates and is none. Stress is one of its own.

    Joined again they are the text without its white space.
    """
    return _PHONEME.findall(normalise_ipa(text))


def normalise_ipa(text: str) -> str:
    """NFC, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def with_ties(phoneme: str) -> str:
    """One phoneme as ``phonemes_of`` finds it in a text: ties between its letters.

    Stress at its beginning stays outside.
    """
    phoneme = unicodedata.normalize("NFC", phoneme)
    tied = ""
    for character in phoneme:
        is_letter = character not in STRESS + TIE and not _IS_MARK.match(character)
        if is_letter and tied and tied[-1] not in STRESS + TIE:
            tied += TIE
        tied += character
    return tied
