"""Where a language model and a character map meet: what its words are, and how they are spelt."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.display.terminal import several
from asr_ctc.lm.ngrams import EOS, SPACE, SPECIAL_WORDS, UNK, UNKNOWN_WORD, LanguageModel
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.folding import LIKE_APOSTROPHE, fold_latin
from asr_ctc.text.words import separates_words
from asr_ctc.text.writing import script_of

NO_WORD = -1
LARGEST_UNSPELT_SHARE = 0.5
MOST_LETTERS = 10  # in a note


def separators(charmap: CharMap) -> np.ndarray:
    """Which classes (V,) bool end a word: separating characters and sentence marks, not blank."""
    marks = (charmap.soschar, charmap.eoschar)
    ends = [_separates(symbol, charmap) or symbol in marks for symbol in charmap.symbols]
    return np.array([False, *ends[1:]])


def _separates(character: str, charmap: CharMap) -> bool:
    return len(character) == 1 and separates_words(character) and character != charmap.apostrophe


def words_of(sentence: str, charmap: CharMap, level: str = "word") -> list[str]:
    """The words of a sentence as the character map spells it.

    A word with a character that the map has no class for is <unk>. With ``level`` 'char' every
    character is a word, punctuation too, and '▁' stands for the space between two.
    """
    text = charmap.normalise(sentence)
    if level == "word":
        text = "".join(" " if _separates(character, charmap) else character for character in text)
        return [word if _is_spelt(word, charmap) else UNKNOWN_WORD for word in text.split()]
    return [
        character if character == SPACE or charmap.knows(character) else UNKNOWN_WORD
        for character in SPACE.join(text.split())
    ]


def _is_spelt(word: str, charmap: CharMap) -> bool:
    return all(map(charmap.knows, charmap.split(word))) and word not in SPECIAL_WORDS


class Trie(NamedTuple):
    """The spellings of a vocabulary as a tree of classes; node 0 is the empty prefix. M nodes.

    The children of a node lie together, sorted by label.
    """

    label: np.ndarray  # (M,) int32: the last class of the prefix
    children: np.ndarray  # (M + 1,) int32: the children of n are children[n] to children[n + 1]
    word: np.ndarray  # (M,) int32: the id of the word that the prefix spells, NO_WORD if none


def labels_of(word: str, charmap: CharMap) -> list[int] | None:
    """The classes of a word as the map writes it; None when it does not write it so, whatever the
    word's apostrophes."""
    word = charmap.with_one_apostrophe(charmap.writing.replace_alternatives(word))
    if words_of(word, charmap) != [word]:
        return None
    return [charmap.char2idx[symbol] for symbol in charmap.split(word)]


def character_words(model: LanguageModel, charmap: CharMap) -> np.ndarray:
    """The word (V,) int32 of a character model for each class; NO_WORD for blank and marks.

    UserError when the map has no class for half of the model's characters.
    """
    refuse_if_mostly_unspelt(unspelt_words(model, charmap), len(model.words) - EOS - 1)
    silent = (charmap.symbols[charmap.blankid], charmap.soschar, charmap.eoschar)
    names = [_name_of(symbol, model, charmap) for symbol in charmap.symbols]
    words = [
        NO_WORD if name in silent else UNK if name == charmap.unknown else model.ids.get(name, UNK)
        for name in names
    ]
    return np.array(words, dtype=np.int32)


def _name_of(symbol: str, model: LanguageModel, charmap: CharMap) -> str:
    """The word of a character model that stands for a symbol, whether it has that word or not."""
    if symbol == charmap.apostrophe and symbol not in model.ids:
        return next((form for form in LIKE_APOSTROPHE if form in model.ids), symbol)
    return SPACE if symbol == " " else symbol


def unspelt_words(model: LanguageModel, charmap: CharMap) -> list[str]:
    """The words, or characters, of a model that the map has no classes for."""
    if model.level == "word":
        return [word for word in model.words[EOS + 1 :] if labels_of(word, charmap) is None]
    spellable = {SPACE} if " " in charmap.char2idx else set()
    spellable.update(filter(charmap.knows, charmap.symbols))
    characters = set(model.words[EOS + 1 :])
    return sorted(c for c in characters if charmap.with_one_apostrophe(c) not in spellable)


def unspelt_note(model: LanguageModel, charmap: CharMap) -> str:
    """What a person is told of the ``unspelt_words``; empty when there are none."""
    unspelt = unspelt_words(model, charmap)
    share = 100 * len(unspelt) / max(1, len(model.words) - EOS - 1)
    if not share:
        return ""
    note = f"{share:.1f} % of the language model's words cannot be spelt, and are not used"
    counts = Counter(c for word in unspelt for c in word if script_of(c))
    lacking = [c for c, _ in counts.most_common() if not charmap.knows(c)]
    if lacking:
        more = " and others" if len(lacking) > MOST_LETTERS else ""
        note += f"; the model has no {' '.join(lacking[:MOST_LETTERS])}{more}"
    return note


def missing_accents_note(model: LanguageModel, charmap: CharMap) -> str:
    """What a person is told of a language model without any of the model's letters with accents:
    its text had them folded. Empty otherwise."""
    accented = {c for c in charmap.symbols if charmap.knows(c) and fold_latin(c) != c}
    if charmap.fold or not accented or any(accented & set(word) for word in model.words):
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
