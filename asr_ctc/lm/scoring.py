"""What an n-gram model gives the next word: compiled, and called by compiled code.

Apart from the arrays, so that only what scores loads the compiler.
"""

import numba
import numpy as np

from asr_ctc.lm.ngrams import EMPTY, EOS, UNK, LanguageModel, Ngrams

NO_CHILD = -1


@numba.njit
def find_child(children: np.ndarray, keys: np.ndarray, node: int, key: int) -> int:
    """The child of ``node`` whose key is ``key``, or NO_CHILD, by bisection.

    The children of n are the nodes children[n] to children[n + 1], sorted by ``keys`` (N,).
    """
    low, end = children[node], children[node + 1]
    high = end
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < end and keys[low] == key else NO_CHILD


@numba.njit
def score(ngrams: Ngrams, state: int, word: int) -> tuple[float, int]:
    """(natural log probability of ``word`` in the context ``state``, the state after it).

    A state is a node that has children or a back-off weight: contexts that score everything alike
    are one state. Katz 1987, "Estimation of probabilities from sparse data".
    """
    total = 0.0
    while state != EMPTY:
        node = find_child(ngrams.children, ngrams.word, state, word)
        if node != NO_CHILD:
            return total + ngrams.logp[node], ngrams.state[node]
        total += ngrams.backoff[state]
        state = ngrams.shorter[state]
    node = 1 + word
    return total + ngrams.logp[node], ngrams.state[node]


@numba.njit
def score_words(ngrams: Ngrams, state: int, words: np.ndarray) -> tuple[np.ndarray, int]:
    """(log probability (N,) float64 of each of ``words`` (N,) after those before, last state)."""
    logp = np.empty(len(words))
    for i in range(len(words)):
        logp[i], state = score(ngrams, state, words[i])
    return logp, state


def score_word(model: LanguageModel, state: int, word: str) -> tuple[float, int]:
    """(log probability of a word, the state after it), uncompiled; unknown words as <unk>."""
    logp, state = score.py_func(model.ngrams, state, model.ids.get(word, UNK))
    return float(logp), int(state)


def score_sentence(model: LanguageModel, words: list[str]) -> np.ndarray:
    """Log probabilities (len(words) + 1,) of the words of a sentence and of its end."""
    ids = np.array([*(model.ids.get(word, UNK) for word in words), EOS], dtype=np.int32)
    return score_words(model.ngrams, model.start, ids)[0]
