"""What the splits of a release leave unused of its validated clips, and how to use it.

A release takes each sentence once, so that its train.tsv may hold a tenth of what was validated;
`split --keep_test` makes a larger one that shares nothing with dev and test.
"""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asr_ctc.base.errors import UserError
from asr_ctc.check.suggestions import SOURCE
from asr_ctc.config.load import Config
from asr_ctc.corpus.corpus import Corpus, load_split
from asr_ctc.corpus.durations import add_listed_durations, plausible
from asr_ctc.corpus.layouts.registry import LAYOUTS
from asr_ctc.corpus.splitting import SPLITS, extend_train, find_unusable
from asr_ctc.text.writing import Writing

WORTH_SAYING = 1.1  # times the clips of train


@dataclass(frozen=True)
class Unused:
    """Hours of the whole table, of train now, and of train by `split --keep_test`.

    ``is_estimate``: the length of some clips was not listed, and taken to be the mean.
    """

    table: str
    hours: float
    train_hours: float
    possible_hours: float
    is_estimate: bool
    command: str

    def to_text(self) -> str:
        about, of = "about " if self.is_estimate else "", WHOLE.get(self.table, "")
        return (
            f"train has {self.train_hours:.1f} of {about}{self.hours:.1f} {of}hours; "
            f"`split --keep_test` gives {about}{self.possible_hours:.1f}: {self.command}"
        )


WHOLE = {"validated": "validated ", "all": "transcribed "}


def find_unused(
    corpora: Mapping[str, Corpus], folder: Path, layout: str, *, writing: Writing, command: str
) -> Unused | None:
    """None if the corpus has no table of all clips, or little more to give than train has.

    ``corpora`` are the splits that could be read, with durations. No clip is opened.
    """
    table_of_all = LAYOUTS[layout].whole
    if table_of_all is None or not set(SPLITS) <= set(corpora):
        return None
    table, _ = table_of_all
    try:
        whole = load_split(folder, table, layout)
        duration_s, is_estimate = _lengths(whole, corpora)
        whole = replace(whole, duration_s=duration_s)
        free = np.ones(len(whole), dtype=bool)
        for rows in find_unusable(whole).values():
            free &= ~rows
        split_of, _ = extend_train(free, whole, layout=layout, folder=folder, writing=writing)
    except UserError:  # there is no such table, or it is of no use: that is no fault of the splits
        return None
    possible = split_of == SPLITS.index("train")
    if np.count_nonzero(possible) <= WORTH_SAYING * len(corpora["train"]):
        return None
    return Unused(
        table=table,
        hours=float(duration_s.sum(dtype=np.float64)) / 3600,
        train_hours=float(np.nansum(corpora["train"].durations, dtype=np.float64)) / 3600,
        possible_hours=float(duration_s[possible].sum(dtype=np.float64)) / 3600,
        is_estimate=is_estimate,
        command=command,
    )


def split_command(config: Config) -> str:
    """The `split` of this corpus that keeps dev and test."""
    corpus, defaults = config.corpus, Config().corpus
    words = ["python main_ctc.py split"]
    for name in (*SOURCE, "profile", "case_folding"):
        value = getattr(corpus, name)
        is_said = name == "lang" and LAYOUTS[corpus.corpus].has_languages
        if is_said or value != getattr(defaults, name):
            words.append(f"--{name} {shlex.quote(str(value))}")
    return " ".join([*words, "--keep_test --force"])


def _lengths(whole: Corpus, corpora: Mapping[str, Corpus]) -> tuple[np.ndarray, bool]:
    """Seconds of each clip (N,), as listed or as in the splits, else the mean of these; and whether
    the mean was needed."""
    duration_s = plausible(whole.duration_s, whole.name)
    add_listed_durations(duration_s, whole.paths, whole.folder / "clip_durations.tsv")
    hashes = np.concatenate([corpus.paths.hashes(corpus.rows) for corpus in corpora.values()])
    known_s = np.concatenate([corpus.durations for corpus in corpora.values()])
    known = {name: s for name, s in zip(hashes.tolist(), known_s.tolist(), strict=True) if s > 0}
    unknown = np.flatnonzero(np.isnan(duration_s))
    of_unknown = whole.paths.hashes(unknown).tolist()
    duration_s[unknown] = [known.get(name, math.nan) for name in of_unknown]
    is_unknown = np.isnan(duration_s)
    mean_s = float(np.mean(known_s[known_s > 0])) if known else 0.0
    duration_s[is_unknown] = mean_s
    return duration_s, bool(is_unknown.any())
