"""Language models in KenLM's binary format, scored by the optional package kenlm.

Such a file does not list its n-grams (Heafield 2011, "KenLM: faster and smaller language model
queries"): the compiled search asks for each word when it meets it, by the functions ``begin`` and
``ask``.
"""

import mmap
import struct
import threading

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.lm.arpa import LN10
from asr_ctc.lm.ngrams import SPECIAL_WORDS, UNKNOWN_WORD, GrowingModel, LanguageModel

MAGIC = b"mmap lm http://kheafield.com/code"
COUNTS_OFFSET = 108  # bytes, of the numbers of n-grams, the unigrams' first; <unk> may be uncounted
# Those that may be asked, by number. They stay: all that a Fusion holds of its model is the number.
_models: list["KenlmModel"] = []


class KenlmModel:
    """A KenLM binary as the search sees it: words with their places as ids, states as numbers.

    A thread's states are those that it has met since it began a sentence. ``vocabulary`` is the
    model cut down to its words: all that is known of it before a word is asked for.
    """

    def __init__(self, model, words: tuple[str, ...]):
        import kenlm

        self._model, self._state = model, kenlm.State
        self._thread = threading.local()
        without_context = self._state()
        model.NullContextWrite(without_context)
        logp = np.array([self._logp(without_context, word)[0] for word in words])
        self.vocabulary: LanguageModel = GrowingModel(list(words), logp, 0 * logp).finish()
        self.words, self.level = words, self.vocabulary.level
        self.number = len(_models)
        _models.append(self)

    def _logp(self, state, word: str) -> tuple[float, object]:
        """(natural log probability of a word, the state after it)."""
        after = self._state()
        return self._model.BaseScore(state, word, after) * LN10, after

    def begin(self) -> int:
        """The state at the beginning of a sentence; forgets this thread's earlier ones."""
        start = self._state()
        self._model.BeginSentenceWrite(start)
        self._thread.states, self._thread.answers = [start], {}
        return 0

    def score(self, state: int, word: int) -> tuple[float, int]:
        """(natural log probability of ``word`` in the context ``state``, the state after it)."""
        states, answers = self._thread.states, self._thread.answers
        if (state, word) not in answers:
            logp, after = self._logp(states[state], self.words[word])
            answers[state, word] = logp, len(states)
            states.append(after)
        return answers[state, word]


def begin(number: int) -> int:
    """``KenlmModel.begin`` of the model of that number."""
    return _models[number].begin()


def ask(number: int, state: int, word: int) -> tuple[float, int]:
    """``KenlmModel.score`` of the model of that number."""
    return _models[number].score(state, word)


def is_kenlm_binary(path) -> bool:
    """OSError when the file cannot be read."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_kenlm_binary(path) -> KenlmModel:
    """UserError for a damaged file, one without its words or with words that are not UTF-8, and
    without the package kenlm."""
    try:
        import kenlm
    except ImportError:
        raise UserError(
            f"{path}: KenLM binaries need the package kenlm (pip install kenlm, which takes a C++ "
            "compiler); the ARPA file that this one was made from needs nothing"
        ) from None
    try:
        model = kenlm.Model(str(path))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: kenlm cannot read it ({' '.join(str(error).split())})") from None
    words, n_words = _read_words(path)
    if not words:
        raise UserError(f"{path}: holds no words (build_binary leaves them out with -v)")
    if len(words) < n_words or not all(word in model for word in words[1:]):
        raise UserError(f"{path}: damaged or truncated: not all of its words are there in UTF-8")
    return KenlmModel(model, (*SPECIAL_WORDS, *(w for w in words if w not in SPECIAL_WORDS)))


def _read_words(path) -> tuple[list[str], int]:
    """The words at the end of a binary, <unk> first, and how many its header promises."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        (n_words,) = struct.unpack_from("<Q", raw, COUNTS_OFFSET)
        first = raw.rfind(UNKNOWN_WORD.encode() + b"\0")
        words = raw[first:].split(b"\0")[:-1] if first >= 0 else []
    return [word.decode("utf-8", "replace") for word in words], n_words
