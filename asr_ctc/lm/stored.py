"""A language model in a model file: the n-grams, and the weights that suit both."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from asr_ctc.display.terminal import several
from asr_ctc.lm.lexicon import Lexicon
from asr_ctc.lm.ngrams import SPECIAL_WORDS, LanguageModel, Ngrams

WEIGHTS = {"lm_weight", "word_bonus", "unk_logp", "blank_penalty"}
MOST_ORDER = 100
MOST_WIDTH = 10_000
DTYPES = {"logp": np.float32, "backoff": np.float32}  # int32 else


@dataclass(frozen=True)
class StoredModel:
    """``weights`` are settings of the beam search, by the names in WEIGHTS; files may lack some.

    ``lexicon``: how the words sound, for a model of phonemes. ``beam_width``: that of the search
    for which the weights were found; None in files of versions that did not keep it.
    """

    name: str
    model: LanguageModel
    weights: dict[str, float]
    lexicon: Lexicon | None = None
    beam_width: int | None = None

    def __str__(self) -> str:
        weights = ", ".join(f"{name} {value:g}" for name, value in self.weights.items())
        n_words = several(len(self.model.words), "word")
        width = "" if self.beam_width is None else f", beam of {self.beam_width}"
        return f"{self.name}, {n_words}, order {self.model.order}, {weights}{width}"

    def to_dict(self) -> dict:
        """Plain values and tensors, which are read without running code."""
        arrays = self.model.ngrams._asdict()
        lexicon = {} if self.lexicon is None else {"lexicon": self.lexicon.to_text()}
        width = {} if self.beam_width is None else {"beam_width": self.beam_width}
        return {
            **lexicon,
            **width,
            "name": self.name,
            "weights": dict(self.weights),
            "order": self.model.order,
            "words": "\n".join(self.model.words),
            "ngrams": {name: torch.from_numpy(array) for name, array in arrays.items()},
        }

    @classmethod
    def from_dict(cls, content: dict) -> "StoredModel":
        """ValueError when the arrays are not a model's: compiled code trusts them."""
        arrays = {name: content["ngrams"][name].numpy() for name in Ngrams._fields}
        for name, array in arrays.items():
            if array.dtype != DTYPES.get(name, np.int32) or array.ndim != 1:
                raise ValueError(f"{name} of its language model is {array.dtype}")
        words, ngrams = tuple(content["words"].split("\n")), Ngrams(**arrays)
        if not _is_sound(ngrams, len(words)) or words[:3] != SPECIAL_WORDS:
            raise ValueError("its language model is damaged")
        weights = {name: float(value) for name, value in content["weights"].items()}
        sound = weights.keys() <= WEIGHTS and all(map(math.isfinite, weights.values()))
        if not sound or weights.get("blank_penalty", 0.0) < 0:
            raise ValueError("the weights of its language model are damaged")
        model = LanguageModel(words, content["order"], ngrams)
        if type(model.order) is not int or not 1 <= model.order <= MOST_ORDER:
            raise ValueError(f"its language model is of order {model.order}")
        if model.levels[-1][1] != len(ngrams.word):
            raise ValueError(f"its language model is not of order {model.order}")
        lexicon = Lexicon.from_text(content["lexicon"]) if "lexicon" in content else None
        width = content.get("beam_width")
        if width is not None and not (type(width) is int and 1 <= width <= MOST_WIDTH):
            raise ValueError("the beam width of its language model is damaged")
        return cls(str(content["name"]), model, weights, lexicon, width)


def _is_sound(ngrams: Ngrams, n_words: int) -> bool:
    """Whether every index points into the arrays, and every way to a shorter context ends."""
    n = len(ngrams.word)
    if any(len(a) != n for a in ngrams if a is not ngrams.children):
        return False
    if len(ngrams.children) != n + 1 or n <= n_words:
        return False
    first, second, last = ngrams.children[[0, 1, -1]]
    return bool(
        (first, second, last) == (1, 1 + n_words, n)
        and (np.diff(ngrams.children) >= 0).all()
        and ((ngrams.state >= 0) & (ngrams.state < n)).all()
        and ((ngrams.word[1:] >= 0) & (ngrams.word[1:] < n_words)).all()
        and (ngrams.shorter >= 0).all()
        and (ngrams.shorter[1:] < np.arange(1, n)).all()
        and np.isfinite(ngrams.logp).all()
        and np.isfinite(ngrams.backoff).all()
    )
