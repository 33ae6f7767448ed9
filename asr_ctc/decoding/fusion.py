"""A language model prepared for the beam search: its contribution to the score of a prefix."""

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.lm.lexicon import Lexicon
from asr_ctc.lm.ngrams import EOS, SPECIAL_WORDS, UNK, GrowingModel, LanguageModel, Ngrams
from asr_ctc.lm.spelling import (
    NO_WORD,
    Trie,
    best_below,
    labels_of,
    level_of,
    make_trie,
    refuse_if_mostly_unspelt,
    separators,
    unit_words,
)
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.units import Units

log = logging.getLogger(__name__)
PLAIN, WORDS, CHARACTERS = range(3)  # no language model; one of words; one of characters


class Fusion(NamedTuple):
    """A language model as the compiled search needs it. V classes, E entries of the vocabulary.

    An entry is a word of the model or a hotword. A word adds lm_weight · log probability + its
    bonus to the score of its prefix, an unknown word adds ``unknown``.
    """

    kind: int
    ngrams: Ngrams
    start: int  # state at the beginning of a sentence
    lm_weight: float
    word_bonus: float
    unknown: float
    ends_word: np.ndarray  # (V,) bool: classes that end a word
    begins_word: np.ndarray  # (V,) bool: those of them that begin the next one
    choice: np.ndarray  # (V,) int32: which of the words of one spelling such a class ends
    class_word: np.ndarray  # (V,) int32: the word of each class, in a model of characters
    trie: Trie  # the spellings of the entries
    best_completion: np.ndarray  # (M,) float64: upper bound of what a word below a trie node adds
    next_entry: np.ndarray  # (E,) int32: the next entry with the same spelling, NO_WORD if none
    entry_word: np.ndarray  # (E,) int32: the word of the model, UNK for a hotword not in it
    entry_bonus: np.ndarray  # (E,) float64
    entry_value: np.ndarray  # (E,) float64: contribution of the entry without context
    most_of_new_word: float  # upper bound on what the first letter of a word adds
    most_of_ended_word: float  # upper bound on what a word adds when it ends
    has_choices: bool  # words may share a spelling
    most_after_end: float  # upper bound on what the class that ends a word adds of the next one

    # Compared by identity, because settings that hold a fusion are compared, and arrays have no
    # truth value.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return object.__hash__(self)


@lru_cache
def no_fusion(n_classes: int) -> Fusion:
    """A fusion that adds nothing, for ``n_classes``."""
    return _fusion(PLAIN, _empty_model(), n_classes)


def fuse(
    model: LanguageModel | None,
    units: Units,
    *,
    lm_weight: float = 0.5,
    word_bonus: float = 0.0,
    unk_logp: float = -10.0,
    lexicon: bool = False,
    hotwords: Mapping[str, float] | None = None,
    pronunciations: Lexicon | None = None,
) -> Fusion:
    """Shallow fusion of a word or character model; without a model, of hotwords only.

    The score of labels is their log probability + ``lm_weight`` · that of their words and of the
    sentence's end + ``word_bonus`` for each word. A word that the model does not know has the
    log probability ``unk_logp``; with ``lexicon`` such words are impossible. ``hotwords`` maps
    words, known or unknown, to the bonus for each occurrence. With ``pronunciations`` words are
    spelt in phonemes, and a spelling may be that of several words: the fusion has further classes
    then, see ``reading.py``. The words of a character model are
    characters. Logarithms are natural.

    A word that is not complete yet scores as the likeliest word with that beginning, without
    context.

    Raises UserError for a model or hotwords that the character map cannot spell, weights out of
    range, and a lexicon or hotwords with a character model.
    """
    if lm_weight < 0:
        raise UserError(f"--lm_weight is {lm_weight}; needed 0 or more")
    hotwords = hotwords or {}
    if model is not None and level_of(model, units) == "char":
        if lexicon or hotwords:
            raise UserError("--lexicon and --hotwords need a language model of words")
        return _fusion(
            CHARACTERS,
            model,
            units.vocab_size,
            lm_weight=lm_weight,
            word_bonus=word_bonus,
            unknown=lm_weight * unk_logp + word_bonus,
            class_word=unit_words(model, units),
            most_of_new_word=max(0.0, word_bonus, lm_weight * unk_logp + word_bonus),
        )
    if model is not None and isinstance(units, Phonemes) and pronunciations is None:
        raise UserError(
            "the language model is of words, the model of phonemes: a lexicon is needed, as "
            "`lm --lexicon_from espeak` writes it"
        )
    if lexicon and model is None:
        raise UserError("--lexicon needs a language model: --lm FILE")
    model, lm_weight = model or _empty_model(), lm_weight if model else 0.0
    return _fuse_words(
        model,
        units,
        lm_weight=lm_weight,
        word_bonus=word_bonus,
        unk_logp=unk_logp,
        lexicon=lexicon,
        hotwords=hotwords,
        pronunciations=pronunciations,
    )


def _fuse_words(
    model: LanguageModel,
    units: Units,
    *,
    lm_weight: float,
    word_bonus: float,
    unk_logp: float,
    lexicon: bool,
    hotwords: Mapping[str, float],
    pronunciations: Lexicon | None,
) -> Fusion:
    vocabulary = vocabulary_of(model, units, tuple(hotwords), pronunciations)
    words = vocabulary.words
    n_choices = 1 if pronunciations is None else vocabulary.n_choices
    entry_word = np.array([model.ids.get(word, UNK) for word in words], dtype=np.int32)
    entry_bonus = np.array([word_bonus + hotwords.get(word, 0.0) for word in words])
    logp = np.where(entry_word == UNK, unk_logp, model.unigrams[entry_word])
    entry_value = lm_weight * logp.astype(float) + entry_bonus
    unknown = -np.inf if lexicon else lm_weight * unk_logp + word_bonus
    best_of_words = best_below(vocabulary.trie, vocabulary.best_of(entry_value))
    best_completion = np.maximum(best_of_words, unknown)
    choices = np.repeat(np.arange(1, n_choices, dtype=np.int32), sum(units.ends_word))
    most_of_new_word = max(0.0, best_completion[0])
    return _fusion(
        WORDS,
        model,
        units.vocab_size + len(choices),
        lm_weight=lm_weight,
        word_bonus=word_bonus,
        unknown=unknown,
        ends_word=np.concatenate([separators(units), choices > 0]),
        begins_word=np.concatenate([np.array(units.begins_word), choices < 0]),
        choice=np.concatenate([np.zeros(units.vocab_size, np.int32), choices]),
        trie=vocabulary.trie,
        best_completion=best_completion,
        next_entry=vocabulary.next_entry,
        entry_word=entry_word,
        entry_bonus=entry_bonus,
        entry_value=entry_value,
        most_of_new_word=most_of_new_word,
        most_of_ended_word=max(0.0, unknown, entry_bonus.max(initial=0.0)),
        has_choices=pronunciations is not None,
        most_after_end=most_of_new_word if any(units.begins_word) else 0.0,
    )


class Vocabulary(NamedTuple):
    """The E words of a language model and hotwords, and their spellings in the units.

    Of several words with one spelling, as a lexicon has them, the trie knows the first only;
    ``next_entry`` leads from it to the others. ``n_choices`` is the most that share one.
    """

    words: tuple[str, ...]
    trie: Trie
    next_entry: np.ndarray  # (E,) int32
    n_choices: int

    @classmethod
    def of(cls, words: Sequence[str], spellings: Sequence[Sequence[int]]) -> "Vocabulary":
        entries: dict[tuple[int, ...], list[int]] = {}
        for entry, spelling in enumerate(spellings):
            entries.setdefault(tuple(spelling), []).append(entry)
        next_entry = np.full(len(words), NO_WORD, np.int32)
        for same in entries.values():
            next_entry[same[:-1]] = same[1:]
        firsts = np.array([same[0] for same in entries.values()], np.int32)
        trie = make_trie([list(spelling) for spelling in entries])
        word = np.append(firsts, NO_WORD)[trie.word].astype(np.int32)  # the last one for NO_WORD
        n_choices = max(map(len, entries.values()), default=1)
        return cls(tuple(words), trie._replace(word=word), next_entry, n_choices)

    def best_of(self, values: np.ndarray) -> np.ndarray:
        """The highest (E,) of the ``values`` (E,) of an entry and those that follow it."""
        best = values.copy()
        for entry in np.flatnonzero(self.next_entry != NO_WORD)[::-1].tolist():
            best[entry] = max(best[entry], best[self.next_entry[entry]])
        return best


@lru_cache(maxsize=2)  # tuning fuses one model with many weights, one after the other
def vocabulary_of(
    model: LanguageModel, units: Units, hotwords: tuple[str, ...], lexicon: Lexicon | None
) -> Vocabulary:
    """It does not depend on the weights."""
    if lexicon is not None:
        return _pronounced_vocabulary(model, units, hotwords, lexicon)
    words = model.words[EOS + 1 :]
    spellings, unspelt = {}, []
    for word in words:
        labels = labels_of(word, units)
        if labels is None:
            unspelt.append(word)
        else:
            spellings[word] = labels
    refuse_if_mostly_unspelt(unspelt, len(words))
    for word in hotwords:
        spellings[word] = _labels_of_hotword(word, units)
    return Vocabulary.of([*spellings], [*spellings.values()])


def _pronounced_vocabulary(
    model: LanguageModel, units: Units, hotwords: tuple[str, ...], lexicon: Lexicon
) -> Vocabulary:
    pairs = [(word, labels) for word, labels in lexicon.spellings(units) if word in model.ids]
    pronounced = {word for word, _ in pairs}
    unspelt = [word for word in model.words[EOS + 1 :] if word not in pronounced]
    refuse_if_mostly_unspelt(unspelt, len(model.words) - EOS - 1)
    for word in hotwords:
        if word not in pronounced:
            pairs.append((word, _labels_of_hotword(word, units)))
    return Vocabulary.of([word for word, _ in pairs], [labels for _, labels in pairs])


def _labels_of_hotword(word: str, units: Units) -> list[int]:
    labels = labels_of(word, units)
    if labels is None:
        raise UserError(f"--hotwords: {word!r} cannot be spelt in the {units.noun}s of the model")
    return labels


def _empty_model() -> LanguageModel:
    n_special = len(SPECIAL_WORDS)
    return GrowingModel(list(SPECIAL_WORDS), np.zeros(n_special), np.zeros(n_special)).finish()


def _fusion(kind: int, model: LanguageModel, n_classes: int, **fields: Any) -> Fusion:
    """A Fusion of the types that the compiled search needs; fields not given are empty or zero."""
    defaults: dict[str, Any] = dict(
        lm_weight=0.0,
        word_bonus=0.0,
        unknown=0.0,
        ends_word=np.zeros(n_classes, bool),
        begins_word=np.zeros(n_classes, bool),
        choice=np.zeros(n_classes, np.int32),
        class_word=np.full(n_classes, NO_WORD, np.int32),
        trie=make_trie([]),
        best_completion=np.zeros(1),
        next_entry=np.zeros(0, np.int32),
        entry_word=np.zeros(0, np.int32),
        entry_bonus=np.zeros(0),
        entry_value=np.zeros(0),
        most_of_new_word=0.0,
        most_of_ended_word=0.0,
        most_after_end=0.0,
        has_choices=False,
    )
    values = {**defaults, **fields}
    numbers = {
        name: float(v) for name, v in values.items() if not isinstance(v, (np.ndarray, Trie, bool))
    }
    return Fusion(
        kind=kind,
        ngrams=model.ngrams,
        start=model.start,
        **{**values, **numbers},
    )
