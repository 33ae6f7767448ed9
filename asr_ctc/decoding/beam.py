"""Prefix beam search: its settings, the search of whole clips, and the search frame by frame."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch

from asr_ctc.decoding import beam_batched
from asr_ctc.decoding.fusion import Fusion, fuse, no_fusion, vocabulary_of
from asr_ctc.decoding.greedy import Greedy
from asr_ctc.decoding.hypothesis import Hypothesis, hypotheses_of
from asr_ctc.decoding.posteriors import frames_of_clips, padded_batch
from asr_ctc.decoding.reading import Reader
from asr_ctc.lm.lexicon import Lexicon, read_lexicon_beside
from asr_ctc.lm.ngrams import LanguageModel
from asr_ctc.lm.read import read_language_model
from asr_ctc.lm.spelling import missing_accents_note, needs_lexicon, unspelt_note
from asr_ctc.lm.stored import StoredModel
from asr_ctc.text.units import Units

if TYPE_CHECKING:
    from asr_ctc.decoding.beam_compiled import BeamArrays

log = logging.getLogger(__name__)

DEFAULT_WIDTH = 10
DEFAULT_WEIGHTS = {"lm_weight": 0.5, "word_bonus": 0.0, "unk_logp": -10.0, "blank_penalty": 0.0}


@dataclass(frozen=True, kw_only=True)
class Beam:
    """How ``decode`` searches; ValueError for a setting out of range.

    After each frame the beam keeps the ``width`` prefixes of the highest score; a clip has at most
    ``n_best`` hypotheses (None: all in the beam). Two optional limits narrow the beam: per frame,
    only the ``tokens`` most likely labels extend prefixes; a prefix whose score is more than
    ``threshold`` below the best (natural logarithm) is dropped. None is no limit.

    A language model adds to the score by which prefixes are ranked: ``lm``, an ARPA file or a model
    in memory, else that of the model file, unless ``stored_lm`` is False. Its weights, and the
    ``width`` that they suit, are those given, else those stored with it, else ``DEFAULT_WEIGHTS``
    and ``DEFAULT_WIDTH``. ``hotwords`` {word: weight} are
    favoured; with ``lexicon`` only known words and hotwords are possible. See ``fusion.fuse``.

    ``blank_penalty`` is subtracted from the blank's log probability in each frame, with or without
    a language model: each word costs its log probability there, and silence would cost nothing. It
    is chosen as the weights are.

    With a ``device`` all clips of a batch are decoded there at once, without a language model; None
    is the compiled search, on the processor. ``fusion`` is what ``prepared`` makes of all this, and
    ``reader`` what reads phonemes into words, where a language model of words has a lexicon.
    """

    width: int | None = None
    n_best: int | None = 10
    tokens: int | None = None
    threshold: float | None = None
    lm: str | PathLike[str] | LanguageModel | None = None
    stored_lm: bool = True
    lm_weight: float | None = None
    word_bonus: float | None = None
    unk_logp: float | None = None
    blank_penalty: float | None = None
    lexicon: bool = False
    hotwords: Mapping[str, float] | None = None
    device: torch.device | str | None = None
    fusion: Fusion | None = None
    reader: Reader | None = None

    def __post_init__(self) -> None:
        counts = dict(beam_width=self.width, n_best=self.n_best, beam_tokens=self.tokens)
        for name, value in counts.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; needed 1 or more")
        if self.threshold is not None and not self.threshold >= 0:
            raise ValueError(f"beam_threshold is {self.threshold}; needed 0 or more")
        if not 0 <= (self.blank_penalty or 0.0) < math.inf:
            raise ValueError(f"blank_penalty is {self.blank_penalty}; needed 0 or more")
        if self.device is not None and self.fusion is not None:
            raise ValueError("a beam search on a device takes no fusion")

    def uses(self, stored: StoredModel | None) -> bool:
        """Whether the language model is the one that is ``stored`` in the model file."""
        return stored is not None and self.stored_lm and self.lm is None

    def weights(self, stored: StoredModel | None = None) -> dict[str, float]:
        """The values of DEFAULT_WEIGHTS for the language model that is used."""
        weights = dict(DEFAULT_WEIGHTS)
        if stored is not None and self.uses(stored):
            weights |= stored.weights
        overrides = {name: getattr(self, name) for name in weights}
        return weights | {name: value for name, value in overrides.items() if value is not None}

    def width_with(self, stored: StoredModel | None = None) -> int:
        """The width of the search with what the model file has stored."""
        if self.width is not None:
            return self.width
        if stored is not None and self.uses(stored) and stored.beam_width is not None:
            return stored.beam_width
        return DEFAULT_WIDTH

    def prepared(self, units: Units, stored: StoredModel | None = None) -> Beam:
        """The same beam with its ``fusion`` made, once for many searches; it reads ``lm``.

        Warns of words that the characters cannot spell, of letters that the language model lacks,
        and of hotwords where no spaces separate words. UserError as in ``read_language_model`` and
        ``fuse``; ValueError for a language model or hotwords with a ``device``.
        """
        if self.fusion is not None:
            return self
        if isinstance(self.lm, LanguageModel):
            model: LanguageModel | None = self.lm
        elif self.lm is not None:
            model = read_language_model(self.lm)
        else:
            model = stored.model if stored is not None and self.uses(stored) else None
        if model is None and not self.hotwords and not self.lexicon:
            return self
        lexicon = self._lexicon(model, units, stored)
        words = {units.normalise(word): weight for word, weight in (self.hotwords or {}).items()}
        if words and not units.words_writing.spaces:
            log.warning("a hotword counts between spaces, which this writing has not between words")
        weights = self.weights(stored)
        blank_penalty = weights.pop("blank_penalty")
        fusion = fuse(
            model,
            units,
            lexicon=self.lexicon,
            hotwords=words,
            pronunciations=lexicon,
            **weights,
        )
        if model is not None:
            notes = unspelt_note(model, units, lexicon), missing_accents_note(model, units)
            for note in filter(None, notes):
                log.warning("%s", note)
        reader = None
        if model is not None and lexicon is not None:
            vocabulary = vocabulary_of(model, units, tuple(words), lexicon)
            reader = Reader(units, vocabulary, fusion)
        width = self.width_with(stored)
        return replace(self, width=width, fusion=fusion, reader=reader, blank_penalty=blank_penalty)

    def _lexicon(
        self, model: LanguageModel | None, units: Units, stored: StoredModel | None
    ) -> Lexicon | None:
        """The pronunciations of a language model of words for a model of phonemes."""
        if model is None or not needs_lexicon(model, units):
            return None
        if isinstance(self.lm, LanguageModel):
            return None
        if self.lm is None:
            return stored.lexicon if stored is not None else None
        return read_lexicon_beside(self.lm)

    def limits(self, n_classes: int) -> tuple[int, int, int, float]:
        """(width, n_best, tokens, threshold) as numbers, for ``n_classes``."""
        width = self.width_with()
        return (
            width,
            width if self.n_best is None else self.n_best,
            n_classes if self.tokens is None else self.tokens,
            math.inf if self.threshold is None else self.threshold,
        )

    def name(self, stored: StoredModel | None = None) -> str:
        """The search in words, such as 'beam search of 10 with fr.arpa (lm_weight 0.5, ...)'."""
        lm = stored.name if stored is not None and self.uses(stored) else self.lm
        weights = self.weights(stored)
        texts = {key: f"{key} {value:g}" for key, value in weights.items()}
        search = f"beam search of {self.width_with(stored)}"
        if lm:
            return f"{search} with {lm} ({', '.join(texts.values())})"
        return f"{search} with {texts['blank_penalty']}" if weights["blank_penalty"] else search

    def decode(
        self,
        logp: torch.Tensor | np.ndarray,
        lengths: torch.Tensor | Sequence[int],
        units: Units,
    ) -> list[list[Hypothesis]]:
        """``decode`` with this beam."""
        beam = self.prepared(units)
        blank_penalty = beam.blank_penalty or 0.0
        if beam.device is not None:
            batch = padded_batch(logp, lengths, units, beam.device, blank_penalty=blank_penalty)
            beams = beam_batched.search(batch, units.blankid, *beam.limits(units.vocab_size))
            return [hypotheses_of([(*path, path[1]) for path in paths], units) for paths in beams]

        clips = frames_of_clips(logp, lengths, units, blank_penalty=blank_penalty)
        start = start_beam(units, beam)

        def decode_clip(frames: np.ndarray) -> list[Hypothesis]:
            return _search(start, frames)[1]

        n_threads = min(torch.get_num_threads(), len(clips))
        if n_threads <= 1:
            return [decode_clip(frames) for frames in clips]
        with ThreadPoolExecutor(n_threads) as threads:
            return list(threads.map(decode_clip, clips))


Decoder = Beam | Greedy


def decode(
    logp: torch.Tensor | np.ndarray,
    lengths: torch.Tensor | Sequence[int],
    units: Units,
    beam: Decoder | None = None,
) -> list[list[Hypothesis]]:
    """The hypotheses of each clip, best first: the greedy one, or those of a prefix beam search.

    ``logp`` (B, T', V) holds natural log probabilities, ``lengths`` (B,) the frames of each clip.
    Without a ``beam`` this is ``greedy_decode``. A beam search finds the likeliest labels, by the
    sum over all their paths and a language model's score. A clip has at most ``beam.n_best``
    hypotheses, and no more than the beam is wide. All have different labels (two may have the same
    text, which excludes sentence marks and outer spaces) or, where a lexicon reads the labels,
    different words, and none has probability zero. A clip without frames has the empty hypothesis
    with logp 0, a clip without a possible path the empty hypothesis with logp -inf.

    ``logp`` of a hypothesis is the sum over the paths that the beam kept: a lower bound on minus
    the CTC loss of its labels, equal to it if the beam dropped nothing. Ties are broken by rank in
    the beam before the frame, then by class, where staying counts as blank; on a device the order
    of ties differs. A fusion changes ``score`` only; hypotheses that it makes impossible are
    excluded. A ``blank_penalty`` changes both: each path is less likely by it for each of its
    blanks.

    The clips are decoded by ``torch.get_num_threads()`` threads on the CPU, or all at once on
    ``beam.device``.

    Raises ValueError for a wrong shape, lengths out of range, NaN or values above zero within a
    clip's length.

    Source: Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using
    bi-directional recurrent DNNs", algorithm 1, without its re-use of prefixes that have left the
    beam; Graves 2012, "Supervised sequence labelling with recurrent neural networks", section 7.5.
    """
    return (beam or Greedy()).decode(logp, lengths, units)


def beam_decode(
    logp: torch.Tensor | np.ndarray,
    lengths: torch.Tensor | Sequence[int],
    units: Units,
    beam_width: int = DEFAULT_WIDTH,
    n_best: int = 10,
    *,
    beam_tokens: int | None = None,
    beam_threshold: float | None = None,
    fusion: Fusion | None = None,
    device: torch.device | str | None = None,
) -> list[list[Hypothesis]]:
    """``decode`` with a ``Beam`` of these settings; raises ValueError as both do."""
    beam = Beam(
        width=beam_width,
        n_best=n_best,
        tokens=beam_tokens,
        threshold=beam_threshold,
        fusion=fusion,
        device=device,
    )
    return beam.decode(logp, lengths, units)


@dataclass(frozen=True, eq=False)
class BeamState:
    """A beam search in the middle of a clip, as a value: ``advance`` returns a new one.

    It grows by up to 56 bytes per frame and prefix of the beam.
    """

    units: Units
    beam: Beam
    arrays: BeamArrays


def start_beam(units: Units, beam: Beam) -> BeamState:
    """The state before the first frame; ValueError for a beam with a device."""
    from asr_ctc.decoding.beam_compiled import first_beam

    if beam.device is not None:
        raise ValueError("a beam search on a device takes whole clips only")
    beam = beam.prepared(units)
    fusion = beam.fusion or no_fusion(units.vocab_size)
    return BeamState(units, beam, first_beam(units.blankid, fusion))


def advance(state: BeamState, frames: torch.Tensor | np.ndarray) -> BeamState:
    """The state after further ``frames`` (T', V), natural log probabilities.

    However the frames of a clip are split over calls, the hypotheses at its end are exactly those
    of ``decode``. ``state`` is not changed and may be used again. Raises ValueError for a wrong
    shape, NaN or values above zero.
    """
    if len(frames.shape) != 2:
        raise ValueError(f"frames have shape {tuple(frames.shape)}; needed (frames, classes)")
    (clip,) = frames_of_clips(
        frames[None],
        [len(frames)],
        state.units,
        blank_penalty=state.beam.blank_penalty or 0.0,
    )
    return _search(state, clip)[0]


def n_best(state: BeamState) -> list[Hypothesis]:
    """The hypotheses, best first, of the frames so far, as ``decode`` returns them."""
    return _search(state, np.zeros((0, state.units.vocab_size)))[1]


def _search(state: BeamState, frames: np.ndarray) -> tuple[BeamState, list[Hypothesis]]:
    """The state after ``frames`` (T', V) float64, and its hypotheses."""
    from asr_ctc.decoding.beam_compiled import BeamArrays, Rows, Tree, search

    units, beam = state.units, state.beam
    width, n_best, n_tokens, threshold = beam.limits(units.vocab_size)
    if beam.reader is not None:
        frames = beam.reader.widen(frames)
        n_tokens += frames.shape[1] - units.vocab_size
    tree, rows, (labels, ends, logps, scores) = search(
        state.arrays,
        np.ascontiguousarray(frames),
        units.blankid,
        width,
        n_best,
        n_tokens,
        threshold,
        beam.fusion or no_fusion(units.vocab_size),
    )
    labels = labels.tolist()
    paths = [tuple(labels[start:end]) for start, end in pairwise([0, *ends.tolist()])]
    best = zip(paths, logps.tolist(), scores.tolist(), strict=True)
    arrays = BeamArrays(Tree(*tree), Rows(*rows))
    state = BeamState(units, beam, arrays)
    if beam.reader is None:
        return state, hypotheses_of(best, units)
    return state, _read(best, beam.reader)


def _read(best: Iterable[tuple[tuple[int, ...], float, float]], reader: Reader) -> list[Hypothesis]:
    hypotheses = []
    for labels, logp, score in list(best) or [((), -math.inf, -math.inf)]:
        own, words = reader.read(labels)
        hypotheses.append(Hypothesis(" ".join(words), own, logp, score=score, written=words))
    return hypotheses
