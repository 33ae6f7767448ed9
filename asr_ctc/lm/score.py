"""What an n-gram model gives the next word: compiled, and called by compiled code.

Apart from the arrays, so that only what scores loads the compiler.
"""

import numba
import numpy as np

from asr_ctc.lm.ngrams import EMPTY


@numba.njit
def score(ngrams, state, word):
    """(natural log probability of ``word`` in the context ``state``, the state after it).

    A state is a node that has children or a back-off weight: contexts that score everything alike
    are one state. Katz 1987, "Estimation of probabilities from sparse data".
    """
    total = 0.0
    while state != EMPTY:
        low, high = ngrams.children[state], ngrams.children[state + 1]
        while low < high:
            middle = (low + high) // 2
            if ngrams.word[middle] < word:
                low = middle + 1
            else:
                high = middle
        if low < ngrams.children[state + 1] and ngrams.word[low] == word:
            return total + ngrams.logp[low], ngrams.state[low]
        total += ngrams.backoff[state]
        state = ngrams.shorter[state]
    node = 1 + word
    return total + ngrams.logp[node], ngrams.state[node]


@numba.njit
def score_words(ngrams, state, words):
    """(log probability (N,) float64 of each of ``words`` (N,) after those before, last state)."""
    logp = np.empty(len(words))
    for i in range(len(words)):
        logp[i], state = score(ngrams, state, words[i])
    return logp, state
