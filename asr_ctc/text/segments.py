"""The words of texts whose writing has no spaces between them, as ICU's dictionaries cut them."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from asr_ctc.text.writing import Writing

INSTALL = "pip install 'asr-ctc[segments]', or pip install icu4py"
# Languages, and scripts of texts in a language that is not known, whose words are in ICU's
# dictionaries: ICU User Guide, Boundary Analysis. They would cut Shan as Burmese, and Cantonese as
# Mandarin.
IN_DICTIONARIES = frozenset(
    "zh cmn ja th lo km my Chinese Hiragana Katakana Thai Lao Khmer Myanmar".split()
)


class Segmenter(NamedTuple):
    """``name`` has its version, on which the words depend; the words that ``cut`` returns make the
    whole text, white space and punctuation among them."""

    name: str
    cut: Callable[[str], list[str]]


@lru_cache(maxsize=1)
def icu() -> Segmenter | None:
    """ICU with its dictionaries; None where icu4py is not installed."""
    try:
        from icu4py import icu_version
        from icu4py.breakers import WordBreaker
    except ImportError:
        return None
    # The dictionary is that of the text's script, whatever the locale.
    return Segmenter(f"ICU {icu_version}", lambda text: list(WordBreaker(text, "und")))


def segmenter_of(writing: Writing) -> Segmenter | None:
    """What cuts texts into words; None where spaces do, and where nothing can."""
    return None if writing.spaces or writing.language not in IN_DICTIONARIES else icu()


def why_no_words(writing: Writing) -> str:
    """Why no words can be counted in texts of this writing; '' where they can."""
    if writing.spaces or segmenter_of(writing):
        return ""
    reason = "this writing has no spaces between words"
    if writing.language in IN_DICTIONARIES:
        return f"{reason}, and what cuts it into words is the package icu4py: {INSTALL}"
    return f"{reason}, and ICU has no dictionary of them" if writing.language else reason


def words_apart(text: str, writing: Writing) -> str:
    """A text as it is scored, with a space between two words."""
    segmenter = segmenter_of(writing)
    if segmenter is None:
        return text
    return " ".join(word for word in segmenter.cut(text) if not word.isspace())
