"""An n-gram model with back-off as flat arrays, which compiled code scores: see scoring.py."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from asr_ctc.text.units import SPACE_NAME, UNKNOWN_NAME

UNKNOWN_WORD, SENTENCE_BEGIN, SENTENCE_END = UNKNOWN_NAME, "<s>", "</s>"
SPECIAL_WORDS = (UNKNOWN_WORD, SENTENCE_BEGIN, SENTENCE_END)
UNK, BOS, EOS = 0, 1, 2  # their ids in every model
SPACE = SPACE_NAME  # the word that stands for a space in a character model
# What other tools call them, in lower case; of the spaces the first that is there is meant.
OTHER_NAMES = {
    UNKNOWN_WORD: (UNKNOWN_WORD, "<unknown>", "<oov>", "[unk]"),
    SENTENCE_BEGIN: (SENTENCE_BEGIN,),
    SENTENCE_END: (SENTENCE_END,),
}
SPACES = (SPACE, "<space>", "[space]", "<sp>", "|", "_")
EMPTY = 0  # the state of no context
WORD_BITS = 32


class Ngrams(NamedTuple):
    """A tree of n-grams: the children of a node are the n-grams that continue it by one word.

    Node 0 is the empty n-gram, node 1 + w the word w, and the nodes of each order follow those of
    the order below, sorted by parent, then by word. N nodes; log probabilities are natural.
    """

    word: np.ndarray  # (N,) int32: the last word of the n-gram
    logp: np.ndarray  # (N,) float32: log probability of that word after the others
    backoff: np.ndarray  # (N,) float32: added when the n-gram is left for a shorter context
    shorter: np.ndarray  # (N,) int32: the longest context to back off to
    state: np.ndarray  # (N,) int32: the longest context that the n-gram leaves for the next word
    children: np.ndarray  # (N + 1,) int32: the children of n are children[n] to children[n + 1]


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """Words (their places are their ids; the first three are <unk>, <s>, </s>) and n-grams.

    It is equal to itself alone, so that what is worked out of it can be kept.
    """

    words: tuple[str, ...]
    order: int
    ngrams: Ngrams

    @cached_property
    def ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    @property
    def start(self) -> int:
        """The state at the beginning of a sentence."""
        return int(self.ngrams.state[1 + BOS])

    @cached_property
    def level(self) -> str:
        """'char' when every word is one character, else 'word'."""
        return "char" if all(len(word) == 1 for word in self.words[3:]) else "word"

    @property
    def levels(self) -> list[tuple[int, int]]:
        """(first, last) nodes of each order: those below the nodes of the order before."""
        bounds = [(0, 1)]
        for _ in range(self.order):
            first, last = bounds[-1]
            bounds.append((int(self.ngrams.children[first]), int(self.ngrams.children[last])))
        return bounds[1:]

    @property
    def counts(self) -> list[int]:
        """How many n-grams of each order there are."""
        return [last - first for first, last in self.levels]

    @property
    def unigrams(self) -> np.ndarray:
        """Log probability (W,) float32 of each word without context."""
        return self.ngrams.logp[1 : 1 + len(self.words)]


class GrowingModel:
    """Builds a model order by order, from its unigrams.

    ``words`` (W) begin with <unk>, <s>, </s>; ``logp`` and ``backoff`` (W,) are their natural
    logarithms.
    """

    def __init__(self, words: list[str], logp: np.ndarray, backoff: np.ndarray):
        self.words = words
        n = len(words)
        self._keys = np.arange(n, dtype=np.int64)  # of all nodes but the root, sorted
        self._levels = [(1, n + 1)]
        zero = np.zeros(1, dtype=np.float32)
        self._logp = [zero, logp.astype(np.float32)]
        self._backoff = [zero, backoff.astype(np.float32)]
        self._shorter = np.zeros(n + 1, dtype=np.int32)

    def find(self, nodes: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The children (N,) of ``nodes`` (N,) by ``words`` (N,); -1 where there is none."""
        keys = _key(nodes, words)
        places = np.searchsorted(self._keys, keys)
        is_entry = self._keys[np.minimum(places, len(self._keys) - 1)] == keys
        return np.where(is_entry & (nodes >= 0), places + 1, -1)

    def add(
        self, parents: np.ndarray, words: np.ndarray, logp: np.ndarray, backoff: np.ndarray
    ) -> np.ndarray:
        """Adds the n-grams of the next order, in any order; returns the rows listed twice.

        ``parents`` (N,) are nodes of the last order added, ``words`` (N,) ids, ``logp`` and
        ``backoff`` (N,) natural logarithms.
        """
        keys = _key(parents, words)
        by_key = np.argsort(keys, kind="stable")
        keys, parents, words = keys[by_key], parents[by_key], words[by_key]
        twice = by_key[1:][keys[1:] == keys[:-1]]
        first = len(self._keys) + 1
        self._levels.append((first, first + len(keys)))
        self._logp.append(logp[by_key].astype(np.float32))
        self._backoff.append(backoff[by_key].astype(np.float32))
        self._shorter = np.concatenate([self._shorter, self._suffixes(parents, words)])
        self._keys = np.concatenate([self._keys, keys])
        return twice

    def _suffixes(self, parents: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The longest proper suffixes (N,) of new n-grams that are in the model."""
        contexts = self._shorter[parents]
        suffixes = self.find(contexts, words)
        while len(missing := np.flatnonzero(suffixes < 0)):
            contexts[missing] = self._shorter[contexts[missing]]
            suffixes[missing] = self.find(contexts[missing], words[missing])
        return suffixes.astype(np.int32)

    def finish(self) -> LanguageModel:
        n_nodes = len(self._keys) + 1
        bounds = np.arange(n_nodes + 1, dtype=np.int64) << WORD_BITS
        children = (1 + np.searchsorted(self._keys, bounds)).astype(np.int32)
        backoff = np.concatenate(self._backoff)
        is_needed = (children[1:] > children[:-1]) | (backoff != 0)
        state = np.arange(n_nodes, dtype=np.int32)
        for first, last in self._levels:
            useless = first + np.flatnonzero(~is_needed[first:last])
            state[useless] = state[self._shorter[useless]]
        word = np.concatenate([[-1], self._keys & ((1 << WORD_BITS) - 1)]).astype(np.int32)
        logp = np.concatenate(self._logp)
        ngrams = Ngrams(word, logp, backoff, state[self._shorter], state, children)
        return LanguageModel(tuple(self.words), len(self._levels), ngrams)


def _key(nodes: np.ndarray, words: np.ndarray) -> np.ndarray:
    return nodes.astype(np.int64) << WORD_BITS | words


def plain_names(words: list[str]) -> list[str]:
    """The words of a model of any tool, named as those of this program: <UNK> is <unk>, and in a
    model of characters <space>, | or _ is the space.

    ValueError for two names of one thing, and for a model of characters with a word that is none.
    """
    names = list(words)
    for name, others in OTHER_NAMES.items():
        ids = [i for i, word in enumerate(words) if word.lower() in others]
        if len(ids) > 1:
            raise ValueError(f"{' and '.join(words[i] for i in ids)} are one word, {name}")
        for i in ids:
            names[i] = name
    long = [w for w in names if len(w) > 1 and w not in SPECIAL_WORDS]
    is_char = all(word[0] + word[-1] in ("<>", "[]") for word in long)
    if not is_char or len(names) - len(long) <= len(SPECIAL_WORDS):
        return names
    lower = [name.lower() for name in names]
    space = next((lower.index(other) for other in SPACES if other in lower), None)
    if space is not None:
        long = [word for word in long if word != names[space]]
        names[space] = SPACE
    if long:
        raise ValueError(f"a model of characters with the word {long[0]}; a space must be {SPACE}")
    return names
