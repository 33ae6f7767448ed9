"""Lists of words and their frequencies, for the words that no training text has."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import read_whole_text
from asr_ctc.lm.counting import Numbering
from asr_ctc.lm.ngrams import BOS, UNK, UNKNOWN_WORD
from asr_ctc.lm.spelling import words_of
from asr_ctc.text.folding import LIKE_APOSTROPHE

OF_PACKAGE = "wordfreq"
INSTALL = "pip install '.[words]', or pip install wordfreq"

ELIDED = re.compile(f"([^{LIKE_APOSTROPHE}]+[{LIKE_APOSTROPHE}])(.+)")
# Languages without elision have apostrophes too: in rare names (d'Arcy), and before endings, of
# which there are few (Turkish url'nin, url'den).
WORDS_PER_PROCLITIC = 10_000
FEWEST_WORDS = 20


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


class WordList(NamedTuple):
    """A list of words as ``prepare_word_list`` numbers them; W words of its list and of texts."""

    shares: np.ndarray  # (W,) float64: how likely each word is out of context; their sum is 1
    n_words: int  # of the list
    n_elided: int  # words made of those and of proclitics
    proclitics: list[str]


def prepare_word_list(
    words: list[tuple[str, float]], numbering: Numbering, counts: np.ndarray
) -> WordList:
    """How likely the words of a numbering are by their frequency in a list.

    Words of the list that the numbering lacks are added to it, if they have a letter and the units
    can spell them; those that the units write alike are one. Elided forms are added too, if the
    texts have some: ``counts`` (W,) say how often they have each word. A word that the list lacks
    is as likely as its rarest; <s> is impossible.
    """
    frequencies: dict[str, float] = {}
    for word, frequency in words:
        if any(character.isalpha() for character in word):
            spelt = words_of(word, numbering.units)
            if len(spelt) == 1 and spelt[0] != UNKNOWN_WORD:
                frequencies[spelt[0]] = frequencies.get(spelt[0], 0.0) + frequency
    of_texts = dict(zip(numbering.ids, counts.tolist(), strict=True))
    elision = find_elision(of_texts, frequencies)
    elided = dict(elided_forms(frequencies, elision))
    of_number = {numbering.id_of(w): f for w, f in (frequencies | elided).items()}
    of_number.pop(UNK, None)  # of words for which there was no number left
    shares = np.full(len(numbering.ids), min(frequencies.values(), default=1.0))
    shares[list(of_number)] = list(of_number.values())
    shares[BOS] = 0.0
    proclitics = list(dict.fromkeys(p for found in elision.values() for p in found))
    return WordList(shares / shares.sum(), len(frequencies), len(elided), proclitics)


def find_elision(
    of_texts: Mapping[str, int], frequencies: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """{initial: {proclitic: its share of the different words with that initial}} in texts.

    A proclitic is what stands up to the apostrophe in words of which the list has the rest alone:
    l'école, but école in the list. It is one of every ``WORDS_PER_PROCLITIC`` words of the texts
    at least, and before ``FEWEST_WORDS`` different ones. ``of_texts`` {word: how often}.
    """
    n_words_with: Counter[str] = Counter()  # by initial
    found: dict[str, Counter[str]] = {}  # how many different words stand behind, by initial
    n_times: Counter[str] = Counter()
    for word, count in of_texts.items():
        match = ELIDED.fullmatch(word)
        rest = word
        if match and match[2] in frequencies and word not in frequencies:
            proclitic, rest = match.groups()
            found.setdefault(proclitic, Counter())[rest[0]] += 1
            n_times[proclitic] += count
        n_words_with[rest[0]] += 1
    n_words = sum(of_texts.values())
    elision: dict[str, dict[str, float]] = {}
    for proclitic, initials in found.items():
        is_rare = n_times[proclitic] * WORDS_PER_PROCLITIC < n_words
        if is_rare or initials.total() < FEWEST_WORDS:
            continue
        for initial, n in initials.items():
            elision.setdefault(initial, {})[proclitic] = n / n_words_with[initial]
    return elision


def elided_forms(
    frequencies: Mapping[str, float], elision: Mapping[str, Mapping[str, float]]
) -> Iterator[tuple[str, float]]:
    """(word with a proclitic, frequency) of those that a list lacks, as frequent as its words."""
    # Where all are alike the list says nothing of frequencies, and none is too rare.
    rarest, most = min(frequencies.values(), default=0.0), max(frequencies.values(), default=0.0)
    least = rarest if rarest < most else 0.0
    for word, frequency in frequencies.items():
        for proclitic, share in elision.get(word[0], {}).items():
            if frequency * share >= least and proclitic + word not in frequencies:
                yield proclitic + word, frequency * share
