"""Units: what the classes of a model are, such as characters, phonemes or word pieces."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar, NamedTuple

from asr_ctc.text.writing import Writing

# In language models of units: the boundary between two words, and units without a class.
SPACE_NAME, UNKNOWN_NAME = "▁", "<unk>"


class Word(NamedTuple):
    """A word as written, and the indices of the labels that spell it."""

    text: str
    labels: range


class Rates(NamedTuple):
    """What error rates are called where hypotheses are written in these units."""

    of_words: str = "WER"
    of_symbols: str = "CER"
    symbols: str = "characters"


class Units(ABC):
    """What the V classes of a model are. Class 0 is the CTC blank.

    ``symbols`` (V,) are what the classes write: one code point each, or several. ``writing``
    is how the texts are written. A text is what a person writes, and ``written`` what the
    units make of it: the letters in lower case, or the phonemes.
    """

    kind: ClassVar[str]  # as in --units
    noun: ClassVar[str] = "character"
    rates: ClassVar[Rates] = Rates()
    is_ipa: ClassVar[bool] = False  # what they write is no writing, but IPA
    is_spelt_by_word: ClassVar[bool] = False  # the words of a text are spelt one by one
    symbols: tuple[str, ...]
    writing: Writing
    apostrophe: str | None  # the one that stands for all characters like it, if any

    @property
    def case_folding(self) -> str:
        return self.writing.case_folding

    @property
    def words_writing(self) -> Writing:
        """How the words of a lexicon are written."""
        return self.writing

    @property
    def written_letters(self) -> str:
        """The letters that are written as they are, not folded to others."""
        return ""

    @property
    def described(self) -> str:
        """What they are, in words."""
        return f"{self.noun}s"

    def has_classes_of(self, other: "Units") -> bool:
        """Whether labels of both mean the same."""
        return self == other

    def unspellable(self, text: str) -> list[str]:
        """What keeps a text from having labels."""
        return []

    @property
    def vocab_size(self) -> int:
        return len(self.symbols)

    @property
    def blankid(self) -> int:
        return 0

    @property
    def listing(self) -> str:
        """The classes, for a person to read."""
        return " ".join(symbol for symbol in self.symbols if symbol.strip())

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Labels (U,) of a transcript; ValueError for what has no class and no unknown class."""

    @abstractmethod
    def text(self, labels: Sequence[int]) -> str:
        """What labels write, as plain text."""

    @abstractmethod
    def normalise(self, text: str) -> str:
        """A text in the form in which these units write it."""

    @abstractmethod
    def unknown_characters(self, text: str) -> list[str]:
        """What of a text these units have no class for."""

    @abstractmethod
    def labels_and_words(self, text: str) -> tuple[list[int], list[Word]]:
        """The labels of a text, normalised as in training, and its words, spelt as they are."""

    def words_of(self, labels: Sequence[int]) -> list[Word]:
        """The words that labels of a hypothesis write: between those that are not shown."""
        words = []
        for is_word, run in groupby(range(len(labels)), lambda i: self.is_shown(labels[i])):
            indices = list(run)
            if is_word and any(self.is_sounding(labels[i]) for i in indices):
                text = self.text([labels[i] for i in indices])
                words.append(Word(text, range(indices[0], indices[-1] + 1)))
        return words

    @abstractmethod
    def is_shown(self, label: int) -> bool:
        """Whether a label is shown with its time; boundaries and marks of sentences are not."""

    @abstractmethod
    def is_sounding(self, label: int) -> bool:
        """Whether a label stands for sound; punctuation and boundaries do not."""

    @property
    @abstractmethod
    def ends_word(self) -> list[bool]:
        """Which classes (V,) end the word before them."""

    @property
    def begins_word(self) -> list[bool]:
        """Which classes (V,) of those that end a word begin the next one."""
        return [False] * self.vocab_size

    @abstractmethod
    def vocabulary_of(self, text: str) -> list[str | None]:
        """The words of a text for a language model; None for a word that cannot be spelt."""

    @abstractmethod
    def spelling(self, word: str) -> list[int] | None:
        """The labels of a language model's word; None where the units do not write it so."""

    @abstractmethod
    def names_of(self, text: str) -> list[str | None]:
        """The names of a text's labels in a language model of units; None for unknown ones."""

    @property
    @abstractmethod
    def names(self) -> list[str | None]:
        """Each class's (V,) name in a language model of units.

        None for classes that such a model does not score: blank and marks of sentences.
        """

    def with_one_apostrophe(self, text: str) -> str:
        """``text`` with the units' apostrophe in place of those like it."""
        return text

    @abstractmethod
    def to_dict(self) -> dict:
        """Plain values for the model file."""

    def reference(self, text: str) -> str:
        """A transcript in the form in which hypotheses of these units are scored against it."""
        return text

    def to_json(self) -> str:
        """What tells these units from others."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)
