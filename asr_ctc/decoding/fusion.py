"""A language model prepared for the beam search: its contribution to the score of a prefix."""

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.lm.ngrams import EOS, SPECIAL_WORDS, UNK, GrowingModel, LanguageModel, Ngrams
from asr_ctc.lm.spelling import (
    NO_WORD,
    Trie,
    best_below,
    character_words,
    labels_of,
    make_trie,
    refuse_if_mostly_unspelt,
    separators,
)
from asr_ctc.text.charmap import CharMap

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
    class_word: np.ndarray  # (V,) int32: the word of each class, in a model of characters
    trie: Trie  # the spellings of the entries
    best_completion: np.ndarray  # (M,) float64: upper bound of what a word below a trie node adds
    entry_word: np.ndarray  # (E,) int32: the word of the model, UNK for a hotword not in it
    entry_bonus: np.ndarray  # (E,) float64
    entry_value: np.ndarray  # (E,) float64: contribution of the entry without context
    most_of_new_word: float  # upper bound on what the first letter of a word adds
    most_of_ended_word: float  # upper bound on what a word adds when it ends

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
    charmap: CharMap,
    *,
    lm_weight: float = 0.5,
    word_bonus: float = 0.0,
    unk_logp: float = -10.0,
    lexicon: bool = False,
    hotwords: Mapping[str, float] | None = None,
) -> Fusion:
    """Shallow fusion of a word or character model; without a model, of hotwords only.

    The score of labels is their log probability + ``lm_weight`` · that of their words and of the
    sentence's end + ``word_bonus`` for each word. A word that the model does not know has the
    log probability ``unk_logp``; with ``lexicon`` such words are impossible. ``hotwords`` maps
    words, known or unknown, to the bonus for each occurrence. The words of a character model are
    characters. Logarithms are natural.

    A word that is not complete yet scores as the likeliest word with that beginning, without
    context.

    Raises UserError for a model or hotwords that the character map cannot spell, weights out of
    range, and a lexicon or hotwords with a character model.
    """
    if lm_weight < 0:
        raise UserError(f"--lm_weight is {lm_weight}; needed 0 or more")
    hotwords = hotwords or {}
    if model is not None and model.level == "char":
        if lexicon or hotwords:
            raise UserError("--lexicon and --hotwords need a language model of words")
        return _fusion(
            CHARACTERS,
            model,
            charmap.vocab_size,
            lm_weight=lm_weight,
            word_bonus=word_bonus,
            unknown=lm_weight * unk_logp + word_bonus,
            class_word=character_words(model, charmap),
            most_of_new_word=max(0.0, word_bonus, lm_weight * unk_logp + word_bonus),
        )
    if lexicon and model is None:
        raise UserError("--lexicon needs a language model: --lm FILE")
    model, lm_weight = model or _empty_model(), lm_weight if model else 0.0
    return _fuse_words(model, charmap, lm_weight, word_bonus, unk_logp, lexicon, hotwords)


def _fuse_words(
    model: LanguageModel,
    charmap: CharMap,
    lm_weight: float,
    word_bonus: float,
    unk_logp: float,
    lexicon: bool,
    hotwords: Mapping[str, float],
) -> Fusion:
    words, trie = _vocabulary(model, charmap, tuple(hotwords))
    entry_word = np.array([model.ids.get(word, UNK) for word in words], dtype=np.int32)
    entry_bonus = np.array([word_bonus + hotwords.get(word, 0.0) for word in words])
    logp = np.where(entry_word == UNK, unk_logp, model.unigrams[entry_word])
    entry_value = lm_weight * logp.astype(float) + entry_bonus
    unknown = -np.inf if lexicon else lm_weight * unk_logp + word_bonus
    best_completion = np.maximum(best_below(trie, entry_value), unknown)
    return _fusion(
        WORDS,
        model,
        charmap.vocab_size,
        lm_weight=lm_weight,
        word_bonus=word_bonus,
        unknown=unknown,
        ends_word=separators(charmap),
        trie=trie,
        best_completion=best_completion,
        entry_word=entry_word,
        entry_bonus=entry_bonus,
        entry_value=entry_value,
        most_of_new_word=max(0.0, best_completion[0]),
        most_of_ended_word=max(0.0, unknown, entry_bonus.max(initial=0.0)),
    )


@lru_cache(maxsize=1)  # tuning fuses one model with many weights, one after the other
def _vocabulary(
    model: LanguageModel, charmap: CharMap, hotwords: tuple[str, ...]
) -> tuple[tuple[str, ...], Trie]:
    """The entries (E,) of a vocabulary and their spellings, which do not depend on the weights."""
    words = model.words[EOS + 1 :]
    spellings, unspelt = {}, []
    for word in words:
        labels = labels_of(word, charmap)
        if labels is None:
            unspelt.append(word)
        else:
            spellings[word] = labels
    refuse_if_mostly_unspelt(unspelt, len(words))
    for word in hotwords:
        labels = labels_of(word, charmap)
        if labels is None:
            raise UserError(f"--hotwords: {word!r} cannot be spelt in the characters of the model")
        spellings[word] = labels
    return tuple(spellings), make_trie(list(spellings.values()))


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
        class_word=np.full(n_classes, NO_WORD, np.int32),
        trie=make_trie([]),
        best_completion=np.zeros(1),
        entry_word=np.zeros(0, np.int32),
        entry_bonus=np.zeros(0),
        entry_value=np.zeros(0),
        most_of_new_word=0.0,
        most_of_ended_word=0.0,
    )
    values = {**defaults, **fields}
    numbers = {
        name: float(v) for name, v in values.items() if not isinstance(v, (np.ndarray, Trie))
    }
    return Fusion(
        kind=kind,
        ngrams=model.ngrams,
        start=model.start,
        **{**values, **numbers},
    )
