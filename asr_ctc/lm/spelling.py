"""Where a language model and units meet: what its words are, and how they are spelt."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.display.terminal import several
from asr_ctc.lm.lexicon import Lexicon
from asr_ctc.lm.ngrams import EOS, SPACE, SPECIAL_WORDS, UNK, UNKNOWN_WORD, LanguageModel
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.folding import LIKE_APOSTROPHE, fold_latin
from asr_ctc.text.phonemes import Phonemes
from asr_ctc.text.units import Units
from asr_ctc.text.writing import script_of

NO_WORD = -1
LARGEST_UNSPELT_SHARE = 0.5
MOST_LETTERS = 10  # in a note


def separators(units: Units) -> np.ndarray:
    """Which classes (V,) bool end a word."""
    return np.array(units.ends_word)


def words_of(sentence: str, units: Units, level: str = "word") -> list[str]:
    """The words of a sentence as the units write it; <unk> where they cannot.

    With ``level`` 'char' every unit is a word: every character, punctuation too, where '▁' stands
    for the space between two; or every phoneme, or word piece.
    """
    words = units.vocabulary_of(sentence) if level == "word" else units.names_of(sentence)
    return [UNKNOWN_WORD if word is None or word in SPECIAL_WORDS else word for word in words]


def level_of(model: LanguageModel, units: Units) -> str:
    """'char' for a language model whose words are units, else 'word'."""
    if model.level == "char":
        return "char"
    names, words = set(units.names), model.words[EOS + 1 :]
    if not names.issuperset(words):
        return "word"
    # Pieces within words may be words too, but a model of pieces has some that begin a word.
    has_beginnings = any(name and name.startswith(SPACE) and name != SPACE for name in names)
    return "char" if not has_beginnings or any(w.startswith(SPACE) for w in words) else "word"


def needs_lexicon(model: LanguageModel, units: Units) -> bool:
    """Whether the words of a language model are read from phonemes."""
    return isinstance(units, Phonemes) and level_of(model, units) == "word"


class Trie(NamedTuple):
    """The spellings of a vocabulary as a tree of classes; node 0 is the empty prefix. M nodes.

    The children of a node lie together, sorted by label.
    """

    label: np.ndarray  # (M,) int32: the last class of the prefix
    children: np.ndarray  # (M + 1,) int32: the children of n are children[n] to children[n + 1]
    word: np.ndarray  # (M,) int32: the id of the word that the prefix spells, NO_WORD if none


def labels_of(word: str, units: Units) -> list[int] | None:
    """The classes of a word as the units write it; None when they do not write it so."""
    return None if word in SPECIAL_WORDS else units.spelling(word)


def unit_words(model: LanguageModel, units: Units) -> np.ndarray:
    """The word (V,) int32 of a model of units for each class; NO_WORD for blank and marks.

    UserError when the units lack half of the model's.
    """
    refuse_if_mostly_unspelt(unspelt_words(model, units), len(model.words) - EOS - 1)
    names = [_name_in(model, name, units) for name in units.names]
    words = [NO_WORD if name is None else model.ids.get(name, UNK) for name in names]
    return np.array(words, dtype=np.int32)


def _name_in(model: LanguageModel, name: str | None, units: Units) -> str | None:
    """The word of a model of units that stands for a name, whether it has that word or not."""
    if name is not None and name == units.apostrophe and name not in model.ids:
        return next((form for form in LIKE_APOSTROPHE if form in model.ids), name)
    return name


def unspelt_words(model: LanguageModel, units: Units) -> list[str]:
    """The words, or units, of a model that the units have no classes for."""
    words = model.words[EOS + 1 :]
    if level_of(model, units) == "word":
        return [word for word in words if labels_of(word, units) is None]
    names = set(units.names)
    return sorted(c for c in set(words) if units.with_one_apostrophe(c) not in names)


def unspelt_note(model: LanguageModel, units: Units, lexicon: Lexicon | None = None) -> str:
    """What a person is told of the ``unspelt_words``; empty when there are none.

    With a ``lexicon`` they are those that it lacks.
    """
    if lexicon is None:
        unspelt = unspelt_words(model, units)
    else:
        pronounced = {word for word, _ in lexicon.spellings(units)}
        unspelt = [word for word in model.words[EOS + 1 :] if word not in pronounced]
    share = 100 * len(unspelt) / max(1, len(model.words) - EOS - 1)
    if not share:
        return ""
    note = f"{share:.1f} % of the language model's words cannot be spelt, and are not used"
    counts = Counter(c for word in unspelt for c in word if script_of(c))
    known = units.knows if isinstance(units, CharMap) else bool  # others lack no letters
    lacking = [c for c, _ in counts.most_common() if not known(c)]
    if lacking:
        more = " and others" if len(lacking) > MOST_LETTERS else ""
        note += f"; the model has no {' '.join(lacking[:MOST_LETTERS])}{more}"
    return note


def missing_accents_note(model: LanguageModel, units: Units) -> str:
    """What a person is told of a language model without any of the model's letters with accents:
    its text had them folded. Empty otherwise."""
    accented = {c for c in units.written_letters if fold_latin(c) != c}
    if not accented or any(accented & set(word) for word in model.words):
        return ""
    some = " ".join(sorted(accented)[:MOST_LETTERS])
    return (
        f"no word of the language model has a letter with an accent, which the model writes "
        f"({some}): make one with the same map (`main_ctc.py lm --modelpath MODEL`)"
    )


def refuse_if_mostly_unspelt(unspelt: list[str], n_words: int) -> None:
    if len(unspelt) > LARGEST_UNSPELT_SHARE * n_words:
        raise UserError(
            f"the model's character map cannot spell {len(unspelt):,} of the "
            f"{several(n_words, 'word')} of the language model "
            f"({100 * len(unspelt) / n_words:.0f} %), such as {unspelt[0]!r}: "
            "make one with the same map (`main_ctc.py lm --modelpath MODEL`)"
        )


def make_trie(labels: list[list[int]]) -> Trie:
    """The trie of words with these labels; their places are their ids.

    One level of nodes after the other: a node is new where parent or label changes."""
    lengths = np.array([len(word) for word in labels], dtype=np.int64)
    node = np.zeros(len(labels), dtype=np.int64)  # of each word, as far as it has been spelt
    n_nodes, new_keys = 1, [np.zeros(0, np.int64)]
    for depth in range(int(lengths.max(initial=0))):
        rows = np.flatnonzero(lengths > depth)
        label = np.array([labels[i][depth] for i in rows.tolist()], dtype=np.int64)
        new, inverse = np.unique(node[rows] << 32 | label, return_inverse=True)
        node[rows] = n_nodes + inverse
        n_nodes += len(new)
        new_keys.append(new)
    keys = np.concatenate(new_keys)
    word = np.full(n_nodes, NO_WORD, dtype=np.int32)
    word[node] = np.arange(len(labels))
    return Trie(
        label=np.concatenate([[-1], keys & 0xFFFFFFFF]).astype(np.int32),
        children=(1 + np.searchsorted(keys, np.arange(n_nodes + 1) << 32)).astype(np.int32),
        word=word,
    )


def best_below(trie: Trie, values: np.ndarray) -> np.ndarray:
    """The highest (M,) of the ``values`` (E,) of the words that begin with each prefix."""
    best = np.append(values, -np.inf)[trie.word]  # the last one for NO_WORD
    parents = np.repeat(np.arange(len(best)), np.diff(trie.children))  # of all nodes but the root
    levels = [(1, int(trie.children[1]))]
    while levels[-1][0] < levels[-1][1]:
        levels.append(tuple(trie.children[list(levels[-1])].tolist()))
    for first, last in reversed(levels):
        np.maximum.at(best, parents[first - 1 : last - 1], best[first:last])
    return best
