"""From phonemes to words: which words of a lexicon the labels of a beam search stand for.

Words that sound alike have the same labels, and only the language model tells them apart. So the
class of the word boundary is there several times in the search: as boundary after the first of the
words with these phonemes, after the second, and so on. All have the boundary's posteriors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_ctc.decoding.fusion import Fusion, Vocabulary
from asr_ctc.lm.ngrams import UNK
from asr_ctc.lm.spelling import NO_WORD
from asr_ctc.text.units import Units

ROOT = 0


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads the labels that the search with a ``fusion`` of the ``vocabulary`` found."""

    units: Units
    vocabulary: Vocabulary
    fusion: Fusion

    @property
    def boundary(self) -> int:
        """The class of the word boundary."""
        return self.units.ends_word.index(True)

    def widen(self, frames: np.ndarray) -> np.ndarray:
        """Posteriors (T', V) with a column for each further class of the fusion."""
        n_further = len(self.fusion.ends_word) - self.units.vocab_size
        return np.hstack([frames, np.repeat(frames[:, [self.boundary]], n_further, axis=1)])

    def own_class(self, label: int) -> int:
        """The class of the units that a class of the fusion stands for."""
        return label if label < self.units.vocab_size else self.boundary

    def read(self, labels: Sequence[int]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """(the labels of the units, the words that they stand for).

        A word that the lexicon lacks is written as its phonemes, between slashes.
        """
        from asr_ctc.lm.scoring import NO_CHILD, find_child, score  # loads numba

        fusion, trie = self.fusion, self.vocabulary.trie
        words: list[str] = []
        begun: list[int] = []  # of the word that has not ended
        node, state = ROOT, fusion.start
        for label in [*labels, None]:
            if label is not None and not fusion.ends_word[label]:
                begun.append(label)
                if node != NO_CHILD:
                    node = int(find_child.py_func(trie.children, trie.label, node, label))
                continue
            if not any(map(self.units.is_sounding, begun)):  # a mark of stress alone is no word
                begun, node = [], ROOT
                continue
            entry = int(trie.word[node]) if node != NO_CHILD else NO_WORD
            if label is None:
                entry = self._best(entry, state)
            else:
                for _ in range(fusion.choice[label]):
                    entry = int(self.vocabulary.next_entry[entry])
            is_known = entry != NO_WORD
            words.append(
                self.vocabulary.words[entry] if is_known else f"/{self.units.text(begun)}/"
            )
            word = fusion.entry_word[entry] if is_known else UNK
            state = int(score.py_func(fusion.ngrams, state, word)[1])
            begun, node = [], ROOT
        return tuple(map(self.own_class, labels)), tuple(words)

    def _best(self, entry: int, state: int) -> int:
        """The likeliest of the words with one spelling where a text ends."""
        values = {}
        while entry != NO_WORD:
            values[entry] = self._value(entry, state)
            entry = int(self.vocabulary.next_entry[entry])
        return max(values, key=values.__getitem__) if values else NO_WORD

    def _value(self, entry: int, state: int) -> float:
        from asr_ctc.lm.scoring import score

        fusion, word = self.fusion, self.fusion.entry_word[entry]
        if word == UNK:
            return float(fusion.entry_value[entry])
        logp = score.py_func(fusion.ngrams, state, word)[0]
        return fusion.lm_weight * logp + float(fusion.entry_bonus[entry])
