"""The character map: an immutable, ordered map between characters and classes, stored as JSON."""

import json
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import groupby, islice
from types import MappingProxyType

import numpy as np

from asr_ctc.text.folding import (
    JOINER,
    LIKE_APOSTROPHE,
    NON_JOINER,
    fold_latin,
    is_invisible,
)
from asr_ctc.text.writing import PLAIN, Writing

BLANK, UNKNOWN, START, END = "¬", "❌", "¶", "¦"
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
class CharMap:
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
    def case_folding(self) -> str:
        return self.writing.case_folding

    @property
    def vocab_size(self) -> int:
        return len(self.symbols)

    @property
    def blankid(self) -> int:
        return 0

    @property
    def eos(self) -> int | None:
        """Class of the end of sentence; None in a map without sentence marks."""
        return None if self.eoschar is None else self.char2idx[self.eoschar]

    @property
    def sos(self) -> int | None:
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


def _abbreviated(value: object) -> str:
    """A value of any size, short enough for a message."""
    return reprlib.repr(value)
