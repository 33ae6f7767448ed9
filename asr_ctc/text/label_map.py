"""The classes of a published model by their own labels: letters of one case, letters with marks
that are several code points, and tokens that are never written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from asr_ctc.text.charmap import BLANK, CharMap
from asr_ctc.text.folding import LIKE_APOSTROPHE
from asr_ctc.text.languages import writing_of_script

TOKEN = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")  # <s>, [UNK]: no text, whatever a file says of it


@dataclass(frozen=True)
class LabelMap(CharMap):
    """A CharMap whose symbols may be several code points, in the letter case that they have.

    ``uppercase``: the model writes capitals only, and texts are raised to them.
    """

    uppercase: bool = False

    @classmethod
    def from_labels(
        cls,
        labels: Mapping[int, str],
        blank: int,
        separator: str = "|",
        silent: Collection[str] = (),
    ) -> tuple[LabelMap, list[int]]:
        """The map of a model's ``labels`` by class, and the classes that it keeps, in its order.

        The ``blank`` comes first; ``separator`` is the space between words. ``silent`` labels and
        tokens such as <s> are never written: like torchaudio, which removes them from the models of
        fairseq, the map has no class for them. ValueError for labels that contradict each other.
        """
        symbol_of = {
            number: " " if label == separator else label
            for number, label in sorted(labels.items())
            if number != blank and label not in silent and not TOKEN.fullmatch(label)
        }
        if not symbol_of:
            raise ValueError("there are no labels but the blank")
        letters = "".join(symbol_of.values())
        symbols = (BLANK, *symbol_of.values())
        apostrophe = next((c for c in LIKE_APOSTROPHE if c in symbols), "'")
        charmap = cls(
            symbols,
            unknown=None,
            soschar=None,
            eoschar=None,
            lowercase=letters == letters.lower(),
            fold=False,
            apostrophe=apostrophe,
            writing=writing_of_script(dict.fromkeys(letters, 1)),
            uppercase=letters == letters.upper() != letters.lower(),
        )
        return charmap, [blank, *symbol_of]

    @staticmethod
    def is_symbol(value: object) -> bool:
        return (
            isinstance(value, str)
            and value != ""
            and not any(unicodedata.category(c) in ("Cc", "Cs") for c in value)
        )

    def lower(self, text: str) -> str:
        """NFC text without invisible characters, in the letter case of the labels."""
        text = super().lower(text)
        return unicodedata.normalize("NFC", text.upper()) if self.uppercase else text

    def split(self, text: str) -> list[str]:
        """The symbols of a normalised text, the longest ones first; unknown characters alone.

        A letter with a mark that has no symbol is spelt by the symbols of letter and mark.
        """
        symbols: list[str] = []
        for part in self._symbol.findall(text):
            apart = unicodedata.normalize("NFD", part)
            if part not in self.char2idx and all(c in self.char2idx for c in apart):
                symbols += apart
            else:
                symbols.append(part)
        return symbols

    @cached_property
    def _symbol(self) -> re.Pattern[str]:
        by_length = sorted(self.symbols[1:], key=len, reverse=True)
        return re.compile("|".join([*map(re.escape, by_length), "."]), re.DOTALL)
