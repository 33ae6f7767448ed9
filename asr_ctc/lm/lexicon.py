"""A lexicon: how the words of a language model sound, in the form of CMUdict."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.base.files import read_whole_text, write_atomically
from asr_ctc.text.ipa import normalise_ipa
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.units import Units

ENDING = ".dict"
_VARIANT = re.compile(r"\(\d+\)$")  # of a word: WORD(2) is another pronunciation


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Pairs of word and phonemes; a word may have several, and several words may sound alike."""

    pairs: tuple[tuple[str, tuple[str, ...]], ...]

    def spellings(self, units: Units) -> Iterator[tuple[str, list[int]]]:
        """(word, labels) of the pairs whose phonemes all have classes; UserError for other units
        than phonemes with a class for word boundaries."""
        if not isinstance(units, Phonemes) or not units.boundaries:
            raise UserError(
                "a lexicon needs a model of phonemes with word boundaries: train with "
                "--units phoneme --word_boundaries"
            )
        for word, phonemes in self.pairs:
            labels = units.labels_of_phonemes(phonemes)
            if labels is not None:
                yield word, labels

    def of_words(self, words: Iterable[str]) -> "tuple[Lexicon, list[str]]":
        """(the pairs of these words, the words without one)."""
        vocabulary = dict.fromkeys(words)
        pairs = tuple(pair for pair in self.pairs if pair[0] in vocabulary)
        known = {word for word, _ in pairs}
        return Lexicon(pairs), [word for word in vocabulary if word not in known]

    def to_text(self) -> str:
        """A line for each pair: WORD  PHONEME PHONEME, further ones of a word as WORD(2)."""
        numbers: dict[str, int] = {}
        lines = []
        for word, phonemes in self.pairs:
            number = numbers[word] = numbers.get(word, 0) + 1
            name = word if number == 1 else f"{word}({number})"
            lines.append(f"{name}  {' '.join(phonemes)}\n")
        return "".join(lines)

    @classmethod
    def from_text(cls, text: str) -> "Lexicon":
        """ValueError names the line that is not WORD PHONEME...; lines of ;;; are comments."""
        pairs: dict[tuple[str, tuple[str, ...]], None] = {}
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip() or line.startswith(";;;"):
                continue
            word, *phonemes = normalise_ipa(line.partition(" #")[0]).split(" ")
            if not phonemes:
                raise ValueError(f"line {number} is not a word and its phonemes: {line[:60]!r}")
            pairs[_VARIANT.sub("", word), tuple(phonemes)] = None
        if not pairs:
            raise ValueError("it holds no word")
        return cls(tuple(pairs))


def read_lexicon(path: Path) -> Lexicon:
    """UserError for a file that is none."""
    text = read_whole_text(path, "a lexicon")
    try:
        return Lexicon.from_text(text)
    except ValueError as error:
        raise UserError(f"{path}: not a lexicon: {error}") from None


def lexicon_beside(model: str | PathLike[str]) -> Path:
    """Where the lexicon of a language model is: fr.dict for fr.arpa or fr.arpa.gz."""
    path = Path(model)
    name = path.name.removesuffix(".gz").removesuffix(".arpa")
    return path.with_name(name + ENDING)


def read_lexicon_beside(model: str | PathLike[str]) -> Lexicon:
    """The lexicon of a language model's file; UserError where there is none."""
    path = lexicon_beside(model)
    if not path.exists():
        raise UserError(
            f"{model}: a model of phonemes needs a lexicon of its words, {path}: "
            "`lm --lexicon_from espeak` writes it"
        )
    return read_lexicon(path)


def write_lexicon(path: Path, lexicon: Lexicon) -> None:
    write_atomically(path, lexicon.to_text().encode())
