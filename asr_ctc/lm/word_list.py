"""Lists of words and their frequencies, for the words that no training text has."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import read_whole_text
from asr_ctc.lm.counting import Numbering
from asr_ctc.lm.ngrams import BOS, UNK, UNKNOWN_WORD
from asr_ctc.lm.spelling import words_of

OF_PACKAGE = "wordfreq"
INSTALL = "pip install '.[words]', or pip install wordfreq"


def read_word_list(source: str, lang: str) -> list[tuple[str, float]]:
    """(word, frequency) for the words of a file, or of the package wordfreq for a language.

    A line of a file is a word, or a word, white space and how frequent it is, in any measure; words
    without it are all alike. UserError for a file that is no such list, a package that is missing,
    and a language that it lacks.
    """
    words = _of_package(lang) if source == OF_PACKAGE else list(_of_file(Path(source)))
    if not words:
        raise UserError(f"--word_list {source}: it holds no word")
    return words


def _of_package(lang: str) -> list[tuple[str, float]]:
    try:
        import wordfreq
    except ImportError:
        raise UserError(f"--word_list wordfreq needs the package wordfreq: {INSTALL}") from None
    try:
        return list(wordfreq.get_frequency_dict(lang, "best").items())
    except LookupError:
        known = ", ".join(sorted(wordfreq.available_languages()))
        raise UserError(
            f"--word_list wordfreq: it has no words of {lang}, but of {known}; "
            "name a FILE with a word and its frequency on each line"
        ) from None


def _of_file(path: Path) -> Iterator[tuple[str, float]]:
    for number, line in enumerate(read_whole_text(path, "a word list").split("\n"), 1):
        word, *rest = line.split()[:3] or [""]
        if not word:
            continue
        try:
            frequency = float(rest[0]) if rest else 1.0
        except ValueError:
            frequency = math.nan
        if len(rest) > 1 or not 0 < frequency < math.inf:
            raise UserError(
                f"{path}: line {number} is not a word and a frequency above 0: {line[:60]!r}"
            )
        yield word, frequency


def shares_of(words: list[tuple[str, float]], numbering: Numbering) -> tuple[np.ndarray, int]:
    """How likely each word (W,) of a numbering is by its frequency in a list, and how many it has.

    Words of the list that the numbering lacks are added to it, if they have a letter and the units
    can spell them; those that the units write alike are one. A word that the list lacks is as
    likely as its rarest; <s> is impossible.
    """
    frequencies: dict[int, float] = {}
    for word, frequency in words:
        if any(character.isalpha() for character in word):
            spelt = words_of(word, numbering.units)
            if len(spelt) == 1 and spelt[0] != UNKNOWN_WORD:
                number = numbering.id_of(spelt[0])
                frequencies[number] = frequencies.get(number, 0.0) + frequency
    frequencies.pop(UNK, None)  # of words for which there was no number left
    shares = np.full(len(numbering.ids), min(frequencies.values(), default=1.0))
    shares[list(frequencies)] = list(frequencies.values())
    shares[BOS] = 0.0
    return shares / shares.sum(), len(frequencies)
