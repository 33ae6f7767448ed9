"""The characters of transcripts, those that a map loses, Unicode forms, shared content."""

import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import combinations

from asr_ctc.scoring.metrics import normalised
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.folding import LIKE_APOSTROPHE, is_invisible
from asr_ctc.text.normalise import distinctions_of
from asr_ctc.text.writing import Writing

N_LISTED = 100  # entries of a list that could be as long as the corpus
VARIANTS = {  # the same mark, typed in different ways
    "apostrophe": tuple(LIKE_APOSTROPHE),
    "quotation mark": ('"', "“”„", "«»", "‹›"),
    "hyphen or dash": ("-", "\u2010", "\u2011", "–", "—", "−"),
    "space": (" ", "\u00a0", "\u202f", "\u2009", "\u3000", "\t"),
    "ellipsis": ("...", "…"),
}

Sentences = dict[str, list[str]]  # by split


@dataclass(frozen=True)
class CharacterUse:
    """A character by Unicode name: number of occurrences and sentences, the first sentence."""

    name: str
    count: int
    sentences: int
    first: str


@dataclass(frozen=True)
class Folding:
    """The number of occurrences of a character, and the text that the map writes instead."""

    count: int
    written: str


@dataclass(frozen=True)
class Alphabet:
    """The characters of all splits, in lower case as the language is written, and their treatment
    by a character map.

    Dictionaries are by character, the most frequent first. ``lost`` have no class; ``folded`` are
    written as other characters; ``rare`` occur too rarely in train; ``unseen`` occur in dev or
    test only.
    """

    n_characters: int
    n_in_train: int
    counts: dict[str, int]
    n_lost: int
    lost: dict[str, CharacterUse]
    n_folded: int
    folded: dict[str, Folding]
    rare: dict[str, CharacterUse]
    unseen: list[str]


@dataclass(frozen=True)
class UnicodeForms:
    """Composed (NFC) and other forms of letters; variants of one mark; invisible characters."""

    sentences_nfc: int  # with letters that could be decomposed, and are not
    sentences_other: int  # not in NFC
    mixed: bool  # both occur
    first_other: list[str]  # the first three that are not in NFC
    variants: dict[str, dict[str, int]]  # by mark: how often each of its forms is used
    invisible: dict[str, int]  # by code point, such as U+200B


@dataclass(frozen=True)
class Repetition:
    """The number of sentences that a split has more than once, and of the clips with them."""

    sentences: int
    clips: int
    most_read: list[tuple[str, int]]  # with the number of clips, at most 100


@dataclass(frozen=True)
class Overlap:
    """The number of speakers, or sentences, that two splits share, and at most 100 of them."""

    splits: tuple[str, str]
    n: int
    examples: list[str] = field(metadata={"json": "which"})


def alphabet(sentences: Sentences, charmap: CharMap, min_count: int) -> Alphabet:
    """The characters of all splits; ``rare`` are seen fewer than ``min_count`` times in train."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in sentences}
    for name, texts in sentences.items():
        for text in texts:
            counts[name].update(charmap.writing.lower(text))
    total = sum(counts.values(), Counter())
    train = counts.get("train", Counter())
    unknown = {c for c in total if not all(map(charmap.knows, charmap.spell(c)))}
    lost = _lost(sentences, charmap, unknown)
    encodable = [c for c in total if c not in lost and c not in unknown]
    texts_of = {c: _written(c, charmap) for c in encodable if not c.isspace()}
    folded = {c: text for c, text in texts_of.items() if text != c}
    rare = Counter({c: n for c, n in train.items() if n < min_count})
    return Alphabet(
        n_characters=total.total(),
        n_in_train=train.total(),
        counts=dict(total.most_common()),
        n_lost=sum(lost.values()),
        lost=_with_sentences(lost, sentences, charmap.writing),
        n_folded=sum(total[c] for c in folded),
        folded={c: Folding(total[c], folded[c]) for c in sorted(folded, key=lambda c: -total[c])},
        rare=_with_sentences(rare, sentences, charmap.writing),
        unseen=sorted(set(total) - set(train)) if train else [],
    )


def _written(character: str, charmap: CharMap) -> str:
    """The text that a map writes for a character in lower case."""
    return charmap.decode([charmap.label(c) for c in charmap.spell(character)])


def _lost(sentences: Sentences, charmap: CharMap, suspects: set[str]) -> Counter[str]:
    """Characters without a class, as the map itself sees them in their sentences."""
    lost: Counter[str] = Counter()
    for texts in sentences.values():
        for text in texts:
            if not suspects.isdisjoint(charmap.writing.lower(text)):
                lost.update(charmap.unknown_characters(text))
    return lost


def _with_sentences(
    counts: Counter[str], sentences: Sentences, writing: Writing
) -> dict[str, CharacterUse]:
    """{character: its use in the sentences}, the most frequent first."""
    n_sentences: Counter[str] = Counter()
    first: dict[str, str] = {}
    for texts in sentences.values():
        for text in texts:
            for character in counts.keys() & set(writing.lower(text)):
                n_sentences[character] += 1
                first.setdefault(character, text)
    return {
        c: CharacterUse(unicodedata.name(c, "unnamed"), n, n_sentences[c], first.get(c, ""))
        for c, n in counts.most_common()
    }


def unicode_forms(sentences: Sentences) -> UnicodeForms:
    texts = [text for several in sentences.values() for text in several]
    other = [text for text in texts if not unicodedata.is_normalized("NFC", text)]
    n_composed = sum(
        unicodedata.is_normalized("NFC", text) and not unicodedata.is_normalized("NFD", text)
        for text in texts
    )
    raw: Counter[str] = Counter()
    for text in texts:
        raw.update(text)
    variants = {}
    for mark, forms in VARIANTS.items():
        used = {form: _uses(form, raw, texts) for form in forms}
        used = {form: n for form, n in used.items() if n}
        if len(used) > 1:
            variants[mark] = used
    return UnicodeForms(
        sentences_nfc=n_composed,
        sentences_other=len(other),
        mixed=bool(other) and n_composed > 0,
        first_other=other[:3],
        variants=variants,
        invisible={f"U+{ord(c):04X}": n for c, n in raw.items() if is_invisible(c)},
    )


def _uses(form: str, raw: Counter[str], texts: list[str]) -> int:
    if form == "...":
        return sum(text.count(form) for text in texts)
    return sum(raw[c] for c in form)


def repeated_sentences(
    sentences: Sentences, charmap: CharMap
) -> tuple[dict[str, Repetition], list[Overlap]]:
    """({split: its sentences read more than once}, sentences that two splits share).

    Sentences are the same when a model with this map is scored the same by them.
    """
    rows: dict[str, dict[str, list[str]]] = {}
    for name, texts in sentences.items():
        rows[name] = defaultdict(list)
        keys = normalised(texts, **distinctions_of(charmap))
        for key, text in zip(keys, texts, strict=True):
            if key:
                rows[name][key].append(text)
    repeated = {}
    for name, by_key in rows.items():
        several = sorted((t for t in by_key.values() if len(t) > 1), key=len, reverse=True)
        most_read = [(texts[0], len(texts)) for texts in several[:N_LISTED]]
        repeated[name] = Repetition(len(several), sum(map(len, several)), most_read)
    shared = [
        Overlap((a, b), len(keys), [rows[a][key][0] for key in keys[:N_LISTED]])
        for a, b in combinations(rows, 2)
        if (keys := sorted(rows[a].keys() & rows[b].keys()))
    ]
    return repeated, shared


def shared_speakers(speakers: dict[str, set[str]]) -> list[Overlap]:
    """The speakers that two splits share; speakers without a name are ignored."""
    return [
        Overlap((a, b), len(both), both[:N_LISTED])
        for a, b in combinations(speakers, 2)
        if (both := sorted((speakers[a] & speakers[b]) - {""}))
    ]
