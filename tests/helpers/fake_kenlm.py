"""Stands for the package kenlm where it is not installed: scores the ARPA file beside a binary."""

from pathlib import Path

from asr_ctc.lm.arpa import LN10, read_arpa
from asr_ctc.lm.ngrams import EMPTY
from asr_ctc.lm.scoring import score_word


class State:
    node = EMPTY


class Model:
    def __init__(self, path: str):
        self.model = read_arpa(Path(path).with_name(Path(path).name.split(".")[0] + ".arpa"))

    def __contains__(self, word: str) -> bool:
        return self.model.ids.get(word, 0) > 0

    def NullContextWrite(self, state: State) -> None:
        state.node = EMPTY

    def BeginSentenceWrite(self, state: State) -> None:
        state.node = self.model.start

    def BaseScore(self, state: State, word: str, after: State) -> float:
        logp, after.node = score_word(self.model, state.node, word)
        return logp / LN10
