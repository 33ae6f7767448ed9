"""The character map: an immutable, ordered map between characters and classes, stored as JSON."""

import json
import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import groupby, islice
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from asr_ctc.text.folding import (
    JOINER,
    LIKE_APOSTROPHE,
    NON_JOINER,
    fold_latin,
    is_invisible,
)
from asr_ctc.text.units import SPACE_NAME, UNKNOWN_NAME, Units, Word
from asr_ctc.text.words import separates_words
from asr_ctc.text.writing import PLAIN, Writing

BLANK, UNKNOWN, START, END = "¬", "❌", "¶", "¦"
SPACE = " "
DEFAULT_SYMBOLS = tuple(f"{BLANK} {END}',.0123456789{START}{UNKNOWN}abcdefghijklmnopqrstuvwxyz")
GERMAN_LETTERS = "äöüßÄÖÜẞ"
SENTENCES_AT_A_TIME = 1 << 15
BETWEEN = "\ufdd0"  # between sentences: a Unicode noncharacter, which no text contains
PUNCTUATION = str.maketrans(
    {
        "!": ".",
        "?": ".",
        ";": ".",
        "-": " ",
        "…": " ",
        ":": " ",
        "’": "'",
        "—": "",
    }
)


@dataclass(frozen=True)
class CharMap(Units):
    """An immutable map between characters and the classes of the model. Class 0 is the CTC blank.

    ``CharMap()`` is the map of the published model: 44 classes, Latin letters without accents,
    start and end of sentence as characters. ``from_transcripts`` and ``from_symbols`` make others.

    ``symbols`` are all classes in order; ``unknown`` is the class of characters without a class of
    their own (None: they are rejected); ``soschar`` and ``eoschar`` are the sentence marks (None:
    no marks); ``fold`` reduces Latin letters and punctuation to those of the default map.
    ``writing`` is how the language is written: case, alternative forms of letters, and what scoring
    takes as equal.

    ``apostrophe`` replaces all characters that look like an apostrophe, unless they are symbols
    too. It is None in maps of earlier versions, which replace nothing. Invisible characters are
    removed (see ``without_invisible``), unless they are symbols.
    """

    kind: ClassVar[str] = "char"
    is_spelt_by_word: ClassVar[bool] = True

    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    unknown: str | None = UNKNOWN
    soschar: str | None = START
    eoschar: str | None = END
    lowercase: bool = True
    fold: bool = True
    apostrophe: str | None = "'"
    writing: Writing = PLAIN
    idx2char: tuple[str, ...] = field(init=False, repr=False, compare=False)
    char2idx: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        symbols = tuple(self.symbols)
        object.__setattr__(self, "symbols", symbols)
        if not all(map(self.is_symbol, symbols)):
            raise ValueError("every symbol must be one character")
        if not symbols or symbols[0] != BLANK:
            raise ValueError(
                f"the first symbol must be the blank {BLANK!r}, found {_abbreviated(symbols[:1])}"
            )
        if len(set(symbols)) != len(symbols):
            twice = [s for s, n in Counter(symbols).items() if n > 1]
            raise ValueError(f"symbols must differ, found twice: {' '.join(twice)}")
        for name in ("unknown", "soschar", "eoschar"):
            mark = getattr(self, name)
            if mark is not None and mark not in symbols[1:]:
                raise ValueError(
                    f"{name} {_abbreviated(mark)} is not one of the symbols after the blank"
                )
        for name in ("lowercase", "fold"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(
                    f"{name} must be true or false, found {_abbreviated(getattr(self, name))}"
                )
        if not isinstance(self.writing, Writing):
            raise ValueError(f"writing must be a Writing, found {_abbreviated(self.writing)}")
        if self.apostrophe is not None and self.apostrophe not in tuple(LIKE_APOSTROPHE):
            raise ValueError(
                f"apostrophe must be one of {' '.join(LIKE_APOSTROPHE)} or none, "
                f"found {_abbreviated(self.apostrophe)}"
            )
        object.__setattr__(self, "idx2char", symbols)
        object.__setattr__(
            self, "char2idx", MappingProxyType({s: i for i, s in enumerate(symbols)})
        )

    def __reduce__(self) -> tuple:  # mapping proxies cannot be pickled, and are derived
        return type(self).from_dict, (self.to_dict(),)

    @staticmethod
    def is_symbol(value: object) -> bool:
        return isinstance(value, str) and len(value) == 1 and not "\ud800" <= value < "\ue000"

    @classmethod
    def from_symbols(cls, symbols: Iterable[str], lowercase: bool = True) -> "CharMap":
        """A map with exactly these classes after the blank, and no sentence marks.

        '❌' among the symbols becomes the class of unknown characters; without it ``encode``
        refuses them.
        """
        symbols = tuple(symbols)
        if symbols[:1] != (BLANK,):
            symbols = (BLANK, *symbols)
        unknown = UNKNOWN if UNKNOWN in symbols else None
        apostrophe = next((c for c in LIKE_APOSTROPHE if c in symbols), "'")
        return cls(symbols, unknown, None, None, lowercase, fold=False, apostrophe=apostrophe)

    @classmethod
    def from_transcripts(
        cls, sentences: Iterable[str], min_count: int = 1, writing: Writing = PLAIN
    ) -> "tuple[CharMap, dict[str, int]]":
        """(map, {rare character: count}) for the characters of a training split, in any script.

        The characters are NFC, in lower case, with accents. The most frequent of the characters
        that look like an apostrophe replaces the others. Characters seen fewer than ``min_count``
        times become the unknown class, and are returned so that they can be reported.
        """
        return cls.from_counts(count_characters(sentences, writing), min_count, writing)

    @classmethod
    def from_counts(
        cls, counts: Mapping[str, int], min_count: int = 1, writing: Writing = PLAIN
    ) -> "tuple[CharMap, dict[str, int]]":
        """As ``from_transcripts``, from the counts that ``count_characters`` returns."""
        counts, apostrophe = Counter(counts), "'"
        if forms := [c for c in LIKE_APOSTROPHE if counts[c]]:
            apostrophe = max(forms, key=counts.__getitem__)  # the first on ties
            counts[apostrophe] = sum(counts.pop(form) for form in forms)
        rare = {c: n for c, n in counts.items() if n < min_count or c in (BLANK, UNKNOWN)}
        symbols = (BLANK, UNKNOWN, *sorted(c for c in counts if c not in rare))
        charmap = cls(
            symbols, UNKNOWN, None, None, fold=False, apostrophe=apostrophe, writing=writing
        )
        return charmap, rare

    @property
    def written_letters(self) -> str:
        return "" if self.fold else "".join(filter(self.knows, self.symbols))

    @property
    def described(self) -> str:
        return "character map"

    def has_classes_of(self, other: Units) -> bool:
        return isinstance(other, CharMap) and replace(self, writing=other.writing) == other

    @property
    def listing(self) -> str:
        return "".join(self.symbols)

    @property
    def eos(self) -> int | None:
        """Class of the end of sentence; None in a map without sentence marks."""
        return None if self.eoschar is None else self.char2idx[self.eoschar]

    @property
    def sos(self) -> int | None:
        """The class of the mark at the start of a sentence; None without one."""
        return None if self.soschar is None else self.char2idx[self.soschar]

    def encode(self, text: str) -> list[int]:
        """Classes of a transcript, sentence marks included; never the blank.

        ValueError for a character without a class if the map has no unknown class.
        """
        labels = [self.label(symbol) for symbol in self.split(self.normalise(text))]
        start = [] if self.sos is None else [self.sos]
        return start + labels + ([] if self.eos is None else [self.eos])

    def decode(self, labels: Sequence[int]) -> str:
        """The characters of the classes, sentence marks included."""
        labels = [int(label) for label in labels]
        if any(not 0 <= label < self.vocab_size for label in labels):
            raise ValueError(f"labels must be in 0..{self.vocab_size - 1}, found {labels}")
        return "".join(self.idx2char[label] for label in labels)

    def text(self, labels: Sequence[int]) -> str:
        """The characters of the classes as plain text: without sentence marks, with a space between
        two sentences."""
        marks = {self.sos, self.eos, self.blankid}
        runs = groupby(labels, lambda label: int(label) in marks)
        sentences = [self.decode(list(run)).strip() for is_mark, run in runs if not is_mark]
        return " ".join(filter(None, sentences))

    def unknown_characters(self, text: str) -> list[str]:
        """The characters of a transcript that this map has no class for."""
        return [symbol for symbol in self.split(self.normalise(text)) if not self.knows(symbol)]

    def unspellable(self, text: str) -> list[str]:
        """Characters without a class in a map without an unknown class, punctuation aside."""
        if self.unknown is not None:
            return []
        unknown = self.unknown_characters("".join(text.split()))
        return list(dict.fromkeys(c for c in unknown if not self._is_silent(c)))

    def labels_and_words(self, text: str) -> tuple[list[int], list[Word]]:
        """The labels of a text, normalised as in training, and the words between its spaces.

        Words keep their spelling. Punctuation that stands alone has labels, but is no word.
        Punctuation and optional marks without a class are skipped; other characters without one
        have the unknown class, as in training. ValueError where there is no unknown class.
        """
        labels = [] if self.sos is None else [self.sos]
        words: list[Word] = []
        space = SPACE if SPACE in self.char2idx else ""  # some scripts have no spaces
        spelt = ((word, self._symbols_to_align(word, space)) for word in text.split())
        spelt_words = ((word, symbols) for word, symbols in spelt if symbols)
        for number, (word, symbols) in enumerate(spelt_words):
            labels += map(self.label, space if number else "")
            start = len(labels)
            labels += map(self.label, symbols)
            if any(map(is_sounding_character, symbols)):
                words.append(Word(word, range(start, len(labels))))
        return labels + ([] if self.eos is None else [self.eos]), words

    def _symbols_to_align(self, word: str, space: str) -> list[str]:
        """The symbols that spell a word, ``space`` between its parts, without what is skipped."""
        parts = [
            [s for s in self.split(part) if self.knows(s) or not self._is_silent(s)]
            for part in self.normalise(word).split()
        ]
        symbols: list[str] = []
        for part in filter(None, parts):
            symbols += [*(space if symbols else ""), *part]
        return symbols

    def _is_silent(self, symbol: str) -> bool:
        """Punctuation, and marks that ordinary writing omits."""
        return not is_sounding_character(symbol) or not self.writing.without_optional(symbol)

    def is_shown(self, label: int) -> bool:
        return label not in (self.sos, self.eos, self.char2idx.get(SPACE))

    def is_sounding(self, label: int) -> bool:
        return is_sounding_character(self.symbols[label])

    @cached_property
    def ends_word(self) -> list[bool]:
        """Separating characters and sentence marks, not the blank."""
        marks = (self.soschar, self.eoschar)
        return [False, *(self.separates(s) or s in marks for s in self.symbols[1:])]

    def separates(self, character: str) -> bool:
        """Whether a character stands between words: white space, punctuation."""
        is_one = len(character) == 1 and character != self.apostrophe
        return is_one and separates_words(character)

    def vocabulary_of(self, text: str) -> list[str | None]:
        text = self.normalise(text)
        text = "".join(SPACE if self.separates(character) else character for character in text)
        return [w if all(map(self.knows, self.split(w))) else None for w in text.split()]

    def spelling(self, word: str) -> list[int] | None:
        """As the map writes it, whatever the word's apostrophes."""
        word = self.with_one_apostrophe(self.writing.replace_alternatives(word))
        if self.vocabulary_of(word) != [word]:
            return None
        return [self.char2idx[symbol] for symbol in self.split(word)]

    def names_of(self, text: str) -> list[str | None]:
        """Characters, punctuation too; SPACE_NAME stands for the space between two words."""
        symbols = self.split(SPACE.join(self.normalise(text).split()))
        names = (SPACE_NAME if symbol == SPACE else symbol for symbol in symbols)
        return [name if name == SPACE_NAME or self.knows(name) else None for name in names]

    @cached_property
    def names(self) -> list[str | None]:
        silent = (BLANK, self.soschar, self.eoschar)
        special = {SPACE: SPACE_NAME, self.unknown: UNKNOWN_NAME}
        return [None if s in silent else special.get(s, s) for s in self.symbols]

    def to_dict(self) -> dict:
        """The fields that define the map, as plain values."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return {**values, "symbols": list(self.symbols), "writing": self.writing.to_dict()}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "CharMap":
        """The map that ``to_json`` wrote; ValueError for wrong keys or values."""
        try:
            content = json.loads(text)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(content, dict):
            raise ValueError("a character map is a JSON object")
        return cls.from_dict(content)

    @classmethod
    def from_dict(cls, content: dict) -> "CharMap":
        """The map that ``to_dict`` wrote; ValueError for wrong keys or values."""
        content = {"apostrophe": None, **content}  # which maps of earlier versions lack
        if "writing" not in content:
            content["writing"] = {"case_folding": content.pop("case_folding", "default")}
        expected = {f.name for f in fields(cls) if f.init}
        if set(content) != expected:
            wrong = sorted(set(content) ^ expected)
            raise ValueError(f"keys of a character map: unknown or missing {', '.join(wrong)}")
        if not isinstance(content["symbols"], (list, tuple)):
            raise ValueError("symbols must be a list of characters")
        return cls(**{**content, "writing": Writing.from_dict(content["writing"])})

    def lower(self, text: str) -> str:
        """``Writing.standard`` text, in lower case unless the map has capitals."""
        read = self.writing.lower if self.lowercase else self.writing.standard
        return read(text, self._invisible)

    @cached_property
    def _invisible(self) -> str:
        """The invisible symbols, which stay in a text. Joiners stay only where they have a meaning,
        except in maps of earlier versions."""
        joiners = () if self.apostrophe is None else (JOINER, NON_JOINER)
        return "".join(c for c in self.symbols if is_invisible(c) and c not in joiners)

    def normalise(self, text: str) -> str:
        """The characters that ``encode`` looks up."""
        return self.spell(self.lower(text))

    def spell(self, lowered: str) -> str:
        """The second half of ``normalise``, for text that ``lower`` returned. It works character by
        character, except for combining accents."""
        text = "".join(" " if c.isspace() else c for c in lowered)
        if self.fold:
            text = text.translate(PUNCTUATION)
        text = self.with_one_apostrophe(text)
        if not self.fold:
            return text
        german = "".join(letter for letter in GERMAN_LETTERS if letter in self.char2idx)
        if self.case_folding != "german" or not german:
            return fold_latin(text)
        return re.sub(f"[^{german}]+", lambda others: fold_latin(others[0]), text)

    def split(self, text: str) -> list[str]:
        """The symbols that spell a normalised text, one for each of its characters."""
        return list(text)

    def with_one_apostrophe(self, text: str) -> str:
        """``text`` with the map's apostrophe in place of similar characters without a class."""
        return text.translate(self._apostrophes)

    @cached_property
    def _apostrophes(self) -> dict[int, str]:
        if self.apostrophe is None or self.apostrophe not in self.char2idx:
            return {}
        others = [c for c in LIKE_APOSTROPHE if c not in self.char2idx]
        return str.maketrans(dict.fromkeys(others, self.apostrophe))

    def knows(self, character: str) -> bool:
        """Whether a character has a class of its own."""
        return character in self.char2idx and character not in (
            BLANK,
            self.unknown,
            self.soschar,
            self.eoschar,
        )

    def label(self, character: str) -> int:
        """The class of one normalised character; ValueError as in ``encode``."""
        if self.knows(character):
            return self.char2idx[character]
        if self.unknown is None:
            raise ValueError(f"no class for the character {character!r}, and no unknown class")
        return self.char2idx[self.unknown]


def count_characters(sentences: Iterable[str], writing: Writing = PLAIN) -> Counter[str]:
    """Counts the characters of the sentences in lower case; all white space counts as a space."""
    sentences = iter(sentences)
    counts: Counter[str] = Counter()
    while chunk := list(islice(sentences, SENTENCES_AT_A_TIME)):
        text = writing.lower(BETWEEN.join(chunk))
        count_of_code = np.bincount(code_points(text))
        for code in np.flatnonzero(count_of_code).tolist():
            counts[" " if chr(code).isspace() else chr(code)] += int(count_of_code[code])
        counts[BETWEEN] -= len(chunk) - 1
    return +counts


def code_points(text: str) -> np.ndarray:
    """The Unicode code points (N,) uint32 of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def present_in(codes: np.ndarray) -> list[str]:
    """The distinct characters of an array of code points."""
    return [chr(code) for code in np.flatnonzero(np.bincount(codes)).tolist()]


def is_sounding_character(symbol: str) -> bool:
    """True for letters, digits, marks and symbols; False for punctuation and spaces."""
    return any(unicodedata.category(character)[0] not in "PZC" for character in symbol)


def _abbreviated(value: object) -> str:
    """A value of any size, short enough for a message."""
    return reprlib.repr(value)
