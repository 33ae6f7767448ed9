"""Forced alignment: the times of the characters and words of a known text in a clip."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch

from asr_ctc.base.errors import UserError
from asr_ctc.base.printable import visible_form
from asr_ctc.decoding.hypothesis import FrameClock, Hypothesis, Timed
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.ctc_labels import infeasible

SPACE = " "
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


class Word(NamedTuple):
    """A word as written, and the indices of the labels that spell it."""

    text: str
    labels: range


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
        f"{len(labels):,} characters in {n_frames:,} frames would take {n_bytes / 1e9:.1f} GB "
        f"of memory; the limit is {MEMORY_LIMIT_BYTES / 1e9:g} GB: align parts of the recording"
    )


def spell_text(text: str, charmap: CharMap) -> tuple[list[int], list[Word]]:
    """The labels of a text, normalised as in training, and the words between its spaces.

    Words keep their spelling. Punctuation that stands alone has labels, but is no word. Punctuation
    and optional marks without a class are skipped; other characters without one have the unknown
    class, as in training. UserError where there is no unknown class.
    """
    unknown = charmap.unknown_characters("".join(text.split()))
    if charmap.unknown is None and (lacking := [c for c in unknown if not _is_silent(c, charmap)]):
        listed = " ".join(map(visible_form, dict.fromkeys(lacking)))
        raise UserError(f"the model has no class for these characters of the text: {listed}")
    labels = [] if charmap.sos is None else [charmap.sos]
    words: list[Word] = []
    space = SPACE if SPACE in charmap.char2idx else ""  # some scripts have no spaces
    spelt = ((word, _symbols_to_align(word, space, charmap)) for word in text.split())
    for number, (word, symbols) in enumerate((word, symbols) for word, symbols in spelt if symbols):
        labels += map(charmap.label, space if number else "")
        start = len(labels)
        labels += map(charmap.label, symbols)
        if any(map(_is_sounding, symbols)):
            words.append(Word(word, range(start, len(labels))))
    return labels + ([] if charmap.eos is None else [charmap.eos]), words


def _symbols_to_align(word: str, space: str, charmap: CharMap) -> list[str]:
    """The symbols that spell a word, ``space`` between its parts, without what is skipped."""
    parts = [
        [s for s in charmap.split(part) if charmap.knows(s) or not _is_silent(s, charmap)]
        for part in charmap.normalise(word).split()
    ]
    symbols: list[str] = []
    for part in filter(None, parts):
        symbols += [*(space if symbols else ""), *part]
    return symbols


def _is_silent(symbol: str, charmap: CharMap) -> bool:
    """Punctuation, and marks that ordinary writing omits."""
    return not _is_sounding(symbol) or not charmap.writing.without_optional(symbol)


def words_of(labels: Sequence[int], charmap: CharMap) -> list[Word]:
    """The words between the spaces of labels that a model wrote; as in ``spell_text``."""
    separators = {charmap.sos, charmap.eos, charmap.char2idx.get(SPACE)}
    words = []
    for is_word, run in groupby(range(len(labels)), lambda i: labels[i] not in separators):
        indices = list(run)
        text = charmap.decode([labels[i] for i in indices])
        if is_word and any(map(_is_sounding, text)):
            words.append(Word(text, range(indices[0], indices[-1] + 1)))
    return words


def time_words(path: Path, words: Sequence[Word], charmap: CharMap, clock: FrameClock) -> Alignment:
    """The characters of a path and the words that they spell, in seconds.

    A word lasts from its first letter or digit to its last: punctuation makes no sound, and the
    model emits it anywhere. Spaces and sentence marks are not among the characters.
    """
    symbols = [charmap.idx2char[span.label] for span in path.spans]
    extents = path.extents(REACH_S / clock.step_s)

    def timed(text: str, indices: Sequence[int]) -> Timed:
        spans = [path.spans[i] for i in indices]
        return Timed(
            text,
            clock.start_s(extents[indices[0]][0]),
            clock.start_s(extents[indices[-1]][1]),
            float(np.exp(np.average([s.logp for s in spans], weights=[s.length for s in spans]))),
        )

    marks = {SPACE, charmap.soschar, charmap.eoschar}
    return Alignment(
        tuple(
            timed(text, [i for i in labels if _is_sounding(symbols[i])]) for text, labels in words
        ),
        tuple(timed(symbol, [i]) for i, symbol in enumerate(symbols) if symbol not in marks),
        path.logp,
    )


def _is_sounding(symbol: str) -> bool:
    """True for letters, digits, marks and symbols; False for punctuation and spaces."""
    return any(unicodedata.category(character)[0] not in "PZC" for character in symbol)


def spell_to_align(text: str, charmap: CharMap, n_frames: int) -> tuple[list[int], list[Word]]:
    """``spell_text`` of a text that can be aligned with ``n_frames`` output frames.

    UserError for a text without words, with characters that have no class, or too long.
    """
    labels, words = spell_text(text, charmap)
    if not words:
        raise UserError("the text contains no word to align")
    problem = unalignable(labels, n_frames)
    if problem:
        raise UserError(f"cannot be aligned: {problem}")
    return labels, words


def align_text(logp: torch.Tensor, text: str, charmap: CharMap, clock: FrameClock) -> Alignment:
    """The times of the words and characters of ``text`` in a clip with posteriors (T', V).

    UserError as ``spell_to_align``, and for a text whose paths all have probability zero.
    """
    labels, words = spell_to_align(text, charmap, len(logp))
    try:
        path = best_path(logp, labels, charmap.blankid)
    except ValueError as error:
        raise UserError(f"cannot be aligned: {error}") from None
    return time_words(path, words, charmap, clock)


def with_times(
    hypothesis: Hypothesis, logp: torch.Tensor, charmap: CharMap, clock: FrameClock
) -> Hypothesis:
    """The hypothesis with the times of its words and characters on its likeliest path."""
    path = best_path(logp, hypothesis.labels, charmap.blankid)
    aligned = time_words(path, words_of(hypothesis.labels, charmap), charmap, clock)
    return replace(hypothesis, words=aligned.words, characters=aligned.characters)
