"""How a language is written: its case, marks that may be missing, alternative forms of a letter,
invisible characters and spaces. Everything that reads text takes it from here; the languages
themselves are a table, languages.py."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from asr_ctc.display.terminal import several
from asr_ctc.text.folding import JOINER, NON_JOINER, is_invisible, without_invisible

CASE_FOLDINGS = ("default", "turkish", "german", "greek")
MOST_PASSES = 4
LONGEST_FORM = 8
# Letters and digits of the width of an ideograph, katakana of half of it, and the shapes of Arabic
# and Hebrew letters in a word: compatibility characters of Unicode.
_COMPATIBLE = re.compile(
    "[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9f\ufb1d-\ufb4f\ufb50-\ufdcf\ufdf0-\ufdfc"
    "\ufe70-\ufefc]+"
)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Writing:
    """A writing profile. ``Writing()`` reads text as maps of earlier versions do, whatever the
    language.

    ``name`` is the language or script it is for, '' if it is for none. ``case_folding`` is how case
    folds:

    default  Unicode's lower case: I → i, ẞ → ß, and İ → i with a dot of its own
    turkish  I → ı, İ → i, as in Turkish and Azerbaijani
    german   as default; in addition the folding of Latin letters keeps ä, ö, ü and ß if the
             character map has them. ß never becomes ss, because Strasse and Straße sound different
    greek    as default; scoring takes the final ς for σ, as Unicode's case folding does

    ``alternatives`` {form: letter} replace forms that stand for a letter everywhere, '' removes
    them; capitals follow. ``look_alikes`` do so only in a word that has a letter of the script of
    the replacement: Latin a in a Cyrillic word. ``optional`` {form: form} is what ordinary writing
    may omit or write otherwise, such as the Arabic harakat: it is text, with classes, but scoring
    takes both as equal. ``invisible`` are the invisible characters that have a meaning, None: those
    that have one in their script (see ``without_invisible``). ``compatible``: full-width letters
    and digits, half-width katakana and the presentation forms of Arabic and Hebrew are the letters
    that they stand for. ``spaces``: words are separated by spaces.
    """

    name: str = ""
    case_folding: str = "default"
    alternatives: Mapping[str, str] = field(default_factory=dict)
    look_alikes: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    invisible: str | None = None
    compatible: bool = False
    spaces: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or len(self.name) > 100:
            raise ValueError("name must be a text")
        if self.case_folding not in CASE_FOLDINGS:
            raise ValueError(
                f"case_folding must be one of {', '.join(CASE_FOLDINGS)}, "
                f"found {reprlib.repr(self.case_folding)}"
            )
        for name in ("alternatives", "look_alikes", "optional"):
            _check_forms(name, getattr(self, name))
        if self.invisible is not None and not (
            isinstance(self.invisible, str) and all(map(is_invisible, self.invisible))
        ):
            raise ValueError(
                f"invisible must be invisible characters, found {reprlib.repr(self.invisible)}"
            )
        for name in ("compatible", "spaces"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(
                    f"{name} must be true or false, found {reprlib.repr(getattr(self, name))}"
                )

    def __hash__(self) -> int:
        return hash((self.name, self.case_folding, self.spaces))

    def __str__(self) -> str:
        parts = [f"case {self.case_folding}"] if self.case_folding != "default" else []
        for forms, what in (
            (self.alternatives, "alternative form"),
            (self.look_alikes, "look-alike"),
            (self.optional, "optional mark"),
        ):
            if forms:
                parts.append(several(len(forms), what))
        if self.invisible is not None:
            names = {NON_JOINER: "ZWNJ", JOINER: "ZWJ"}
            kept = [names.get(c, f"U+{ord(c):04X}") for c in self.invisible]
            parts.append(f"keeps {' and '.join(kept) or 'no invisible characters'}")
        if not self.spaces:
            parts.append("no spaces between words")
        return f"{self.name or 'none'}{': ' if parts else ''}{', '.join(parts)}"

    @property
    def language(self) -> str:
        """The language that it is for, or the name of the script; '' if it is for none."""
        return self.name.partition(" ")[0]

    def to_dict(self) -> dict[str, Any]:
        """The fields that are not the defaults, as plain values."""
        default = Writing()
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
            if value != getattr(default, name)
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Writing:
        """The profile of ``to_dict``; ValueError for unknown keys and wrong values."""
        if not isinstance(content, Mapping):
            raise ValueError("a writing profile is a table")
        known = {f.name for f in fields(cls)}
        if unknown := [name for name in content if name not in known]:
            raise ValueError(
                f"keys of a writing profile: unknown {', '.join(map(reprlib.repr, unknown))}; "
                f"it has {', '.join(sorted(known))}"
            )
        return cls(**content)

    def standard(self, text: str, keep: str = "") -> str:
        """NFC text with the letters that its forms stand for, and no invisible characters but those
        that have a meaning or are in ``keep``. Idempotent."""
        for _ in range(MOST_PASSES):
            before = text
            text = _nfc(without_invisible(text, keep, self.invisible))
            if not self._has_forms:
                return text
            if self.compatible:
                text = _COMPATIBLE.sub(lambda run: unicodedata.normalize("NFKC", run[0]), text)
            text = self.replace_alternatives(text)
            if self.look_alikes:
                text = _WORD.sub(self._in_one_script, text)
            if text == before:
                break
        return text

    def lower(self, text: str, keep: str = "") -> str:
        """``standard`` text in lower case. Idempotent."""
        text = self.standard(text, keep)
        if self.case_folding == "turkish":
            text = text.replace("I", "ı").replace("İ", "i")
        text = _nfc(text.lower())
        return self.standard(text, keep) if self._has_forms else text

    @property
    def _has_forms(self) -> bool:
        return bool(self.compatible or self.alternatives or self.look_alikes)

    def without_optional(self, text: str) -> str:
        """NFC text as it is where all that is ``optional`` is omitted."""
        return _nfc(text.translate(self._optional)) if self.optional else text

    def replace_alternatives(self, text: str) -> str:
        if not self.alternatives:
            return text
        pattern, letters = self._alternatives
        return pattern.sub(lambda form: letters[form[0]], text)

    @cached_property
    def _alternatives(self) -> tuple[re.Pattern[str], dict[str, str]]:
        letters = with_capitals(self.alternatives)
        by_length = sorted(map(re.escape, letters), key=len, reverse=True)
        return re.compile("|".join(by_length)), letters

    @cached_property
    def _optional(self) -> dict[int, str]:
        return str.maketrans(with_capitals(self.optional))

    @cached_property
    def _look_alikes(self) -> tuple[dict[int, str], set[str]]:
        letters = with_capitals(self.look_alikes)
        return str.maketrans(letters), {script_of(letter) for letter in letters.values()}

    def _in_one_script(self, word: re.Match[str]) -> str:
        """A word with its look-alikes replaced, if another letter of it is of their script."""
        if word[0].isascii():
            return word[0]
        letters, scripts = self._look_alikes
        return word[0].translate(letters) if scripts & set(map(script_of, word[0])) else word[0]


def with_capitals(forms: Mapping[str, str]) -> dict[str, str]:
    """The forms, and those in capitals or, of several letters, with one."""
    capitals = {
        change(form): change(letter)
        for change in (str.capitalize, str.upper)
        for form, letter in forms.items()
        if len(change(form)) == len(form) and len(change(letter)) == len(letter)
    }
    return {**capitals, **forms}


def script_of(character: str) -> str:
    """The script of a letter by its Unicode name: LATIN, CYRILLIC, CJK; '' for all else."""
    if unicodedata.category(character)[0] not in "LM":
        return ""
    return unicodedata.name(character, "").partition(" ")[0]


def _check_forms(name: str, forms: object) -> None:
    if not isinstance(forms, Mapping) or not all(
        isinstance(text, str) and len(text) <= LONGEST_FORM
        for pair in forms.items()
        for text in pair
    ):
        raise ValueError(f"{name} must be a table of a form and the form it stands for")
    longest = LONGEST_FORM if name == "alternatives" else 1
    every = with_capitals(forms)
    for form, letter in forms.items():
        if not 1 <= len(form) <= longest:
            raise ValueError(f"{name}: {form!r} must be one character")
        if any(other in letter for other in every):
            raise ValueError(f"{name}: {form!r} stands for {letter!r}, which stands for another")


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


PLAIN = Writing()
