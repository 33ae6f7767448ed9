"""Phonemes: what texts sound like, in IPA, as espeak reads them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from asr_ctc.text.charmap import BLANK, SPACE, UNKNOWN
from asr_ctc.text.ipa import STRESS, normalise_ipa, phonemes_of
from asr_ctc.text.normalise import normalise_text
from asr_ctc.text.units import SPACE_NAME, UNKNOWN_NAME, Rates, Units, Word
from asr_ctc.text.writing import PLAIN, Writing


class Spoken(NamedTuple):
    """Texts that were read aloud before: N of them, found by their digests."""

    keys: np.ndarray  # (N,) uint64: sorted digests of the texts
    ends: np.ndarray  # (N,) int64: where the IPA of each ends in ``ipa``
    ipa: np.ndarray  # (M,) uint8: UTF-8

    @classmethod
    def of(cls, readings: Iterable[tuple[str, str]]) -> "Spoken":
        """From pairs of text and IPA."""
        by_key = {digest(text): ipa.encode() for text, ipa in readings}
        keys = sorted(by_key)
        contents = [by_key[key] for key in keys]
        return cls(
            np.array(keys, np.uint64),
            np.cumsum([len(content) for content in contents], dtype=np.int64),
            np.frombuffer(b"".join(contents), np.uint8),
        )

    def find(self, text: str) -> str | None:
        key = np.uint64(digest(text))
        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            return None
        start = int(self.ends[place - 1]) if place else 0
        return self.ipa[start : int(self.ends[place])].tobytes().decode()


def digest(text: str) -> int:
    content = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Phonemes(Units):
    """A class for each phoneme of a language; see ipa.py for how they are written.

    ``language`` is espeak's name for it. ``stress``: its marks are symbols too. A space among the
    symbols is the boundary between two words. Phonemes without a class have that of UNKNOWN, the
    second. ``texts`` is how the transcripts are
    written, ``spoken`` are texts that need not be read again.
    """

    kind: ClassVar[str] = "phoneme"
    noun: ClassVar[str] = "phoneme"
    rates: ClassVar[Rates] = Rates("WER (IPA)", "PER", "phonemes")
    is_ipa: ClassVar[bool] = True

    symbols: tuple[str, ...]
    language: str
    stress: bool = False
    texts: Writing = PLAIN
    spoken: list[Spoken] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.symbols[:2] != (BLANK, UNKNOWN):
            raise ValueError(f"the first phonemes must be {BLANK} and {UNKNOWN}")
        wrong = [s for s in self.symbols if s != SPACE and phonemes_of(s) != [s]]
        if wrong:
            raise ValueError(f"not one phoneme: {wrong[0]!r}")
        if len(set(self.symbols)) < len(self.symbols):
            raise ValueError("phonemes must differ")
        if not isinstance(self.language, str) or not isinstance(self.stress, bool):
            raise ValueError("language must be a name, stress true or false")
        if not isinstance(self.texts, Writing):
            raise ValueError("texts must be a writing profile")

    @classmethod
    def from_readings(
        cls,
        readings: Iterable[str],
        language: str,
        *,
        stress: bool = False,
        boundaries: bool = True,
        min_count: int = 1,
        texts: Writing = PLAIN,
    ) -> "tuple[Phonemes, dict[str, int]]":
        """(units, {rare phoneme: count}) of the IPA of a training split.

        Phonemes seen fewer than ``min_count`` times have no class. With ``boundaries`` a space
        is one of the classes.
        """
        counts: Counter[str] = Counter()
        for reading in readings:
            counts.update(phonemes_of(reading))
        rare = {p: n for p, n in counts.items() if n < min_count or p in (BLANK, UNKNOWN)}
        symbols = sorted(p for p in counts if p not in rare)
        space = [SPACE] if boundaries else []
        units = cls((BLANK, UNKNOWN, *space, *symbols), language, stress, texts)
        return units, rare

    @property
    def writing(self) -> Writing:  # type: ignore[override]
        """That of the texts, but words are apart only with boundaries."""
        return replace(self.texts, spaces=self.boundaries)

    @property
    def words_writing(self) -> Writing:
        return self.texts

    @property
    def apostrophe(self) -> None:  # type: ignore[override]
        return None

    @property
    def boundaries(self) -> bool:
        """Whether a class stands for the boundary between two words."""
        return SPACE in self.symbols

    @cached_property
    def _labels(self) -> dict[str, int]:
        return {symbol: i for i, symbol in enumerate(self.symbols)}

    def remember(self, spoken: Spoken) -> None:
        """Takes the phonemes of texts from there, instead of from espeak."""
        if not any(np.array_equal(spoken.keys, known.keys) for known in self.spoken):
            self.spoken.append(spoken)

    def ipa(self, text: str) -> str:
        """The phonemes of a text, a space between two words; UserError without espeak."""
        for spoken in self.spoken:
            if (ipa := spoken.find(text)) is not None:
                return ipa
        return self.read([text])[0]

    def read(self, texts: Sequence[str]) -> list[str]:
        """``ipa`` of texts that are not remembered."""
        from asr_ctc.text.espeak import read_aloud  # loads espeak

        return [r.ipa for r in read_aloud(texts, self.language, stress=self.stress)]

    def reference(self, text: str) -> str:
        ipa = self.ipa(text)
        return ipa if self.boundaries else ipa.replace(" ", "")

    def encode(self, text: str) -> list[int]:
        return self.encode_ipa(self.ipa(text))

    def encode_ipa(self, ipa: str) -> list[int]:
        """Labels of a text of IPA."""
        words = [[self.label(p) for p in phonemes_of(word)] for word in ipa.split()]
        labels: list[int] = []
        for word in words:
            labels += [self._labels[SPACE], *word] if labels and self.boundaries else word
        return labels

    def label(self, phoneme: str) -> int:
        """The class of a phoneme, or of unknown ones."""
        return self._labels[phoneme if phoneme in self._labels and phoneme != BLANK else UNKNOWN]

    def text(self, labels: Sequence[int]) -> str:
        return " ".join("".join(self.symbols[k] for k in labels if k != self.blankid).split())

    def normalise(self, text: str) -> str:
        """In lower case and without punctuation: the words of language models and lexicons."""
        return normalise_text(text, keep_accents=True, writing=self.texts)

    def unknown_characters(self, text: str) -> list[str]:
        """Phonemes without a class."""
        return [p for p in phonemes_of(self.ipa(text)) if self.label(p) == self._labels[UNKNOWN]]

    def labels_and_words(self, text: str) -> tuple[list[int], list[Word]]:
        """The words of the text are read together where espeak reads as many, else one by one."""
        written = [word for word in text.split() if any(map(str.isalnum, word))]
        words = self.ipa(text).split()
        if len(words) != len(written):
            words = [ipa.replace(" ", "") for ipa in self.read(written)] if written else []
        labels: list[int] = []
        spans: list[Word] = []
        for word, ipa in zip(written, words, strict=True):
            spelling = [self.label(p) for p in phonemes_of(ipa)]
            if not spelling:
                continue
            labels += [self._labels[SPACE]] if labels and self.boundaries else []
            spans.append(Word(word, range(len(labels), len(labels) + len(spelling))))
            labels += spelling
        return labels, spans

    def is_shown(self, label: int) -> bool:
        return self.symbols[label] != SPACE

    def is_sounding(self, label: int) -> bool:
        return self.symbols[label] not in (SPACE, *STRESS)

    @cached_property
    def ends_word(self) -> list[bool]:
        return [symbol == SPACE for symbol in self.symbols]

    def vocabulary_of(self, text: str) -> list[str | None]:
        """Words in letters: a lexicon has their phonemes."""
        return [*self.normalise(text).split()]

    def spelling(self, word: str) -> list[int] | None:
        """As espeak reads the word by itself; None where a phoneme of it has no class."""
        return self.labels_of_phonemes(phonemes_of(self.ipa(word).replace(" ", "")))

    def labels_of_phonemes(self, phonemes: Sequence[str]) -> list[int] | None:
        """Their classes; None where one has none, and for none at all."""
        labels = list(map(self.label, phonemes))
        return None if not labels or self._labels[UNKNOWN] in labels else labels

    def names_of(self, text: str) -> list[str | None]:
        """Phonemes, and SPACE_NAME for the boundary between two words."""
        names = self.names
        return [None if names[k] == UNKNOWN_NAME else names[k] for k in self.encode(text)]

    @cached_property
    def names(self) -> list[str | None]:
        special = {BLANK: None, UNKNOWN: UNKNOWN_NAME, SPACE: SPACE_NAME}
        return [special.get(symbol, symbol) for symbol in self.symbols]

    def to_dict(self) -> dict:
        return {
            "kind": self.kind,
            "symbols": list(self.symbols),
            "language": self.language,
            "stress": self.stress,
            "texts": self.texts.to_dict(),
        }

    @classmethod
    def from_dict(cls, content: dict) -> "Phonemes":
        """ValueError or TypeError for what ``to_dict`` did not write."""
        symbols = content["symbols"]
        if not isinstance(symbols, (list, tuple)) or not all(
            isinstance(symbol, str) for symbol in symbols
        ):
            raise ValueError("symbols must be a list of phonemes")
        texts = Writing.from_dict(content["texts"])
        return cls(**{**content, "symbols": tuple(map(_as_symbol, symbols)), "texts": texts})


def _as_symbol(symbol: str) -> str:
    return symbol if symbol == SPACE else normalise_ipa(symbol)
