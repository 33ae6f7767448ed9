"""Forced alignment: the times of the characters and words of a known text in a clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from asr_ctc.base.errors import UserError
from asr_ctc.base.printable import visible_form
from asr_ctc.decoding.hypothesis import FrameClock, Hypothesis, Timed
from asr_ctc.text.feasibility import infeasible
from asr_ctc.text.units import Units, Word

MEMORY_LIMIT_BYTES = 2_000_000_000  # enough for ten hours of fast speech
REACH_S = 0.2  # how far a label may extend into the blanks around it; longer blanks are a pause


class Span(NamedTuple):
    """One label on a path: output frames ``start`` to ``end`` (half-open), mean log probability.

    ``logp`` is the mean of the label's natural log probability over the frames.
    """

    label: int
    start: int
    end: int
    logp: float

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.end - self.start


class Path(NamedTuple):
    """The likeliest path of labels over ``n_frames``: a span for each, and the log probability."""

    spans: list[Span]
    logp: float
    n_frames: int

    def extents(self, reach: float) -> list[tuple[float, float]]:
        """(start, end) of each label in frames: its span, extended into the blanks around it.

        A span is a spike: the model emits the label anywhere within its sound. So two labels share
        the blanks between them equally, up to ``reach`` frames on either side.
        """
        starts = [span.start for span in self.spans]
        ends = [span.end for span in self.spans]
        gaps = np.subtract([*starts, self.n_frames], [0, *ends])
        shares = np.minimum(gaps / 2, reach)
        return list(zip(starts - shares[:-1], ends + shares[1:], strict=True))


class Alignment(NamedTuple):
    """The words and characters of a text with their times, and the log probability of the path."""

    words: tuple[Timed, ...]
    characters: tuple[Timed, ...]
    logp: float


def best_path(logp: torch.Tensor, labels: Sequence[int], blank: int = 0) -> Path:
    """The likeliest path of ``labels`` (U,) through ``logp`` (T', V), natural log probabilities.

    It visits the labels in order, each for one frame or more, with optional blanks between labels
    and mandatory blanks between equal neighbours: Viterbi over the lattice of Graves et al. 2006,
    "Connectionist temporal classification".

    Raises ValueError for labels that need more frames than there are, labels out of range, NaN and
    +inf, labels without a possible path, and if more than 2 GB of memory would be needed.
    """
    # Imported here because loading compiled functions takes a second.
    from asr_ctc.decoding import viterbi

    n_frames, n_classes = logp.shape
    if any(not 0 <= label < n_classes or label == blank for label in labels):
        raise ValueError(f"labels must be in 0..{n_classes - 1} and not the blank, {blank}")
    if not (logp < math.inf).all():
        raise ValueError("logp holds NaN or +inf; needed log probabilities")
    problem = unalignable(labels, n_frames)
    if problem:
        raise ValueError(problem)
    if n_frames == 0:
        return Path([], 0.0, 0)
    frames = logp.detach().float().cpu().contiguous().numpy()
    states, total = viterbi.best_states(
        frames, np.array(labels, np.int64), blank, viterbi.block_length(n_frames)
    )
    if total == -math.inf:
        raise ValueError("every path of these labels has probability zero")
    classes = np.insert(np.array(labels, np.int64), 0, blank)[(states + 1) // 2 * (states % 2)]
    starts = np.flatnonzero(np.diff(states, prepend=-1))
    ends = np.append(starts[1:], n_frames)
    scores = frames[np.arange(n_frames), classes].astype(np.float64)
    means = np.add.reduceat(scores, starts) / (ends - starts)
    columns = (column.tolist() for column in (classes[starts], starts, ends, means))
    spans = [Span(*span) for span in zip(*columns, strict=True) if span[0] != blank]
    return Path(spans, total, n_frames)


def unalignable(labels: Sequence[int], n_frames: int) -> str | None:
    """Why labels cannot be aligned with ``n_frames`` output frames or within the memory limit."""
    from asr_ctc.decoding import viterbi

    problem = infeasible(labels, n_frames)
    n_bytes = viterbi.memory_bytes(n_frames, len(labels))
    if problem or n_bytes <= MEMORY_LIMIT_BYTES:
        return problem
    return (
        f"{len(labels):,} labels in {n_frames:,} frames would take {n_bytes / 1e9:.1f} GB "
        f"of memory; the limit is {MEMORY_LIMIT_BYTES / 1e9:g} GB: align parts of the recording"
    )


def spell_text(text: str, units: Units) -> tuple[list[int], list[Word]]:
    """``units.labels_and_words``; UserError for characters without a class."""
    if lacking := units.unspellable(text):
        listed = " ".join(map(visible_form, lacking))
        raise UserError(f"the model has no class for these {units.noun}s of the text: {listed}")
    return units.labels_and_words(text)


def time_words(path: Path, words: Sequence[Word], units: Units, clock: FrameClock) -> Alignment:
    """The characters of a path and the words that they spell, in seconds.

    A word lasts from its first letter or digit to its last: punctuation makes no sound, and the
    model emits it anywhere. Spaces and sentence marks are not among the characters.
    """
    labels = [span.label for span in path.spans]
    extents = path.extents(REACH_S / clock.step_s)

    def timed(text: str, indices: Sequence[int]) -> Timed:
        spans = [path.spans[i] for i in indices]
        return Timed(
            text,
            clock.start_s(extents[indices[0]][0]),
            clock.start_s(extents[indices[-1]][1]),
            float(np.exp(np.average([s.logp for s in spans], weights=[s.length for s in spans]))),
        )

    return Alignment(
        tuple(
            timed(text, [i for i in indices if units.is_sounding(labels[i])])
            for text, indices in words
        ),
        tuple(timed(units.symbols[k], [i]) for i, k in enumerate(labels) if units.is_shown(k)),
        path.logp,
    )


def spell_to_align(text: str, units: Units, n_frames: int) -> tuple[list[int], list[Word]]:
    """``spell_text`` of a text that can be aligned with ``n_frames`` output frames.

    UserError for a text without words, with characters that have no class, or too long.
    """
    labels, words = spell_text(text, units)
    if not words:
        raise UserError("the text contains no word to align")
    problem = unalignable(labels, n_frames)
    if problem:
        raise UserError(f"cannot be aligned: {problem}")
    return labels, words


def align_text(logp: torch.Tensor, text: str, units: Units, clock: FrameClock) -> Alignment:
    """The times of the words and characters of ``text`` in a clip with posteriors (T', V).

    UserError as ``spell_to_align``, and for a text whose paths all have probability zero.
    """
    labels, words = spell_to_align(text, units, len(logp))
    try:
        path = best_path(logp, labels, units.blankid)
    except ValueError as error:
        raise UserError(f"cannot be aligned: {error}") from None
    return time_words(path, words, units, clock)


def with_times(
    hypothesis: Hypothesis, logp: torch.Tensor, units: Units, clock: FrameClock
) -> Hypothesis:
    """The hypothesis with the times of its words and characters on its likeliest path."""
    path = best_path(logp, hypothesis.labels, units.blankid)
    words = units.words_of(hypothesis.labels)
    if hypothesis.written:
        words = [
            word._replace(text=text) for word, text in zip(words, hypothesis.written, strict=True)
        ]
    aligned = time_words(path, words, units, clock)
    return replace(hypothesis, words=aligned.words, characters=aligned.characters)
