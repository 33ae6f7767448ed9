"""Finds the weights of a language model that suit an acoustic model best: for `lm --tune`."""

import itertools
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from asr_ctc.acoustic.model_file import ModelFile, load_model, save_model
from asr_ctc.assembly.decoder import in_units_of, make_recognizer, read_model
from asr_ctc.assembly.scored_split import make_scoring_loader, split_to_read
from asr_ctc.base.errors import UserError
from asr_ctc.base.progress import bar
from asr_ctc.config.load import Config
from asr_ctc.corpus.corpus import refuse_if_mostly_broken
from asr_ctc.decoding.beam import Beam
from asr_ctc.decoding.fusion import fuse
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.lm.lexicon import read_lexicon_beside
from asr_ctc.lm.read import read_language_model
from asr_ctc.lm.spelling import level_of, needs_lexicon
from asr_ctc.lm.stored import StoredModel
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.scoring.evaluation import Evaluation, evaluate
from asr_ctc.scoring.metrics import ErrorRates, error_rates
from asr_ctc.text.normalise import distinctions_of
from asr_ctc.text.units import Rates, Units

log = logging.getLogger(__name__)

LM_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
WORD_BONUSES = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
# The less reliable the spelling of a model, the likelier an unknown word is a misspelt known one.
UNK_LOGPS = (-10.0, -20.0, -30.0, -40.0)
BLANK_PENALTIES = (0.0, 0.5, 1.0, 1.5)


class Point(NamedTuple):
    """Settings of the beam search that are tried together."""

    blank_penalty: float
    unk_logp: float
    lm_weight: float
    word_bonus: float

    @property
    def flags(self) -> str:
        """As they are typed."""
        return (
            f"--lm_weight {self.lm_weight:g} --word_bonus {self.word_bonus:g} "
            f"--unk_logp {self.unk_logp:g} --blank_penalty {self.blank_penalty:g}"
        )


@dataclass(frozen=True)
class Tuning:
    """Error rates of dev: of greedy decoding, with the best weights, and over the grid.

    ``error_rates`` are those whose sum selects, by name: WER and CER, or of a model of units
    CER alone (PER of phonemes); each (weights, bonuses), with the best ``unk_logp`` and the first
    blank penalty. ``by_penalty`` has the lowest of each blank penalty. ``path`` is the model file
    that now holds the language model and its weights, None for a published model, which has no
    file.
    """

    path: Path | None
    n_clips: int
    error_rates: dict[str, np.ndarray]
    greedy: ErrorRates
    best: ErrorRates
    greedy_names: Rates  # what the rates of the greedy hypotheses are called
    names: Rates  # and all others
    by_penalty: dict[float, ErrorRates]
    weights: Point
    flags: str  # all that was found, and the width it suits, as they are typed


def tune_language_model(config: Config) -> Tuning:
    """Decodes dev with every weight and bonus of the grid; stores the best in a model file.

    In a model of two output layers they are tuned, and stored, for the one that --units names.
    The log probability of unknown words is tuned too, unless --unk_logp is given or the words are
    characters. The blank's penalty, unless --blank_penalty is given, is tuned after them, each with
    the weights and bonuses beside the best so far: in all of the grid it would multiply the time.
    The best weights have the lowest sum of WER and CER: WER alone is often lowest where words that
    are hard to recognise are dropped. With a model of characters the CER alone counts, and where
    the language writes no spaces between words.
    The clips pass through the acoustic model once. UserError without --lm, without a transcript in
    dev, and as in the functions called.
    """
    decoding = config.decoding
    if not decoding.lm:
        raise UserError("--tune needs a language model: --lm FILE")
    path, file = read_model(config)
    recognizer = make_recognizer(config, path, file)
    model = read_language_model(decoding.lm)
    units = recognizer.charmap
    lexicon = read_lexicon_beside(decoding.lm) if needs_lexicon(model, units) else None
    stored = StoredModel(Path(decoding.lm).name, model, {}, lexicon, decoding.beamwidth)
    # Refuses a model that does not fit, before any work.
    prepared = Beam(n_best=1).prepared(units, stored)
    evaluation, posteriors = dev_posteriors(recognizer, config)
    in_letters = lexicon is not None
    references = [clip.transcript if in_letters else clip.reference for clip in evaluation.clips]
    distinctions = distinctions_of(units, in_letters=in_letters)
    greedy = evaluation.score()
    if greedy.n_clips == 0:
        raise UserError("no clip of dev has a transcript: there is nothing to tune for")

    def rates_with(point: Point) -> ErrorRates:
        weights = point._asdict()
        blank_penalty = weights.pop("blank_penalty")
        fusion = fuse(model, units, pronunciations=lexicon, **weights)
        reader = replace(prepared.reader, fusion=fusion) if prepared.reader else None
        beam = replace(prepared, fusion=fusion, reader=reader, blank_penalty=blank_penalty)

        def decode(logp: np.ndarray) -> str:
            return beam.decode(logp[None], [len(logp)], recognizer.charmap)[0][0].text

        hypotheses = list(threads.map(decode, posteriors))
        return error_rates(references, hypotheses, n_resamples=0, **distinctions)

    of_words = level_of(model, units) == "word"
    by_wer = of_words and units.writing.spaces
    unk_logps = UNK_LOGPS if of_words and not config.has("unk_logp") else (decoding.unk_logp,)
    penalties = (decoding.blank_penalty,) if config.has("blank_penalty") else BLANK_PENALTIES
    results: dict[Point, ErrorRates] = {}
    bests: list[Point] = []  # of each penalty

    def rank(point: Point) -> tuple[float, float, float, float]:
        error = results[point].cer + (results[point].wer if by_wer else 0)
        return error, point.blank_penalty, abs(point.word_bonus), point.lm_weight

    ranges = penalties[:1], unk_logps, LM_WEIGHTS, WORD_BONUSES
    grid = [Point(*values) for values in itertools.product(*ranges)]
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for penalty in penalties:
            if bests:
                grid = neighbours(min(bests, key=rank)._replace(blank_penalty=penalty))
            for point in bar(grid, f"tuning, blank penalty {penalty:g}", "point"):
                results[point] = rates_with(point)
            bests.append(min(grid, key=rank))

    best = min(bests, key=rank)
    flags = f"{best.flags} --beamwidth {decoding.beamwidth}"
    if isinstance(file, ModelFile):
        language_model = replace(stored, weights=best._asdict())
        store(config, path, tuned=file, language_model=language_model, flags=flags)
    names = Rates() if in_letters else units.rates
    shown = best._replace(blank_penalty=penalties[0])
    grids = {names.of_words: grid_of(results, shown, "wer")} if by_wer else {}
    grids[names.of_symbols] = grid_of(results, shown, "cer")
    return Tuning(
        path=path if isinstance(file, ModelFile) else None,
        n_clips=len(posteriors),
        error_rates=grids,
        greedy=greedy,
        best=results[best],
        greedy_names=units.rates,
        names=names,
        by_penalty={point.blank_penalty: results[point] for point in bests},
        weights=best,
        flags=flags,
    )


def store(
    config: Config, path: Path, *, tuned: ModelFile, language_model: StoredModel, flags: str
) -> None:
    """Writes a language model and its weights into the model file as it is now.

    Tuning takes minutes: another may have stored the other output layer's meanwhile, or training
    other weights, which is said. UserError, with the ``flags``, when it is another model.
    """
    try:
        file = in_units_of(config, path, load_model(path))
        if (file.architecture, file.charmap) != (tuned.architecture, tuned.charmap):
            raise UserError(f"{path} is another model by now")
        file.language_model = language_model
        save_model(path, file)
    except UserError as error:
        raise UserError(f"{error}; found, and not stored: {flags}") from None
    weights = tuned.state_dict.items()
    if not all(torch.equal(file.state_dict[name], tensor) for name, tensor in weights):
        log.warning(
            "%s has other weights by now: these were tuned for its earlier ones; tune again when "
            "training is done",
            path,
        )


def neighbours(point: Point) -> list[Point]:
    """The point and those of the grid beside it, in weight and bonus."""
    weight, bonus = LM_WEIGHTS.index(point.lm_weight), WORD_BONUSES.index(point.word_bonus)
    return [
        point._replace(lm_weight=lm_weight, word_bonus=word_bonus)
        for lm_weight in LM_WEIGHTS[max(weight - 1, 0) : weight + 2]
        for word_bonus in WORD_BONUSES[max(bonus - 1, 0) : bonus + 2]
    ]


def grid_of(results: dict[Point, ErrorRates], point: Point, rate: str) -> np.ndarray:
    """An error rate for each of LM_WEIGHTS (rows) and WORD_BONUSES (columns), else as ``point``."""
    points = (
        [point._replace(lm_weight=weight, word_bonus=bonus) for bonus in WORD_BONUSES]
        for weight in LM_WEIGHTS
    )
    return np.array([[getattr(results[p], rate) for p in row] for row in points])


def dev_posteriors(recognizer: Recognizer, config: Config) -> tuple[Evaluation, list[np.ndarray]]:
    """Returns dev decoded greedily, and the log posteriors (T', V) float32 of each of its clips.

    An unreadable clip has no frames.
    """
    posteriors: list[np.ndarray] = []

    def keep_and_decode(
        logp: torch.Tensor, lengths: torch.Tensor, charmap: Units
    ) -> list[list[Hypothesis]]:
        logp = logp.cpu()
        posteriors.extend(
            clip[:length].numpy() for clip, length in zip(logp, lengths.tolist(), strict=True)
        )
        return greedy_decode(logp, lengths, charmap)

    corpus, _ = split_to_read(recognizer.file, config, "dev")
    evaluation = evaluate(
        recognizer.model,
        make_scoring_loader(recognizer, corpus, config.runtime.nthreads),
        recognizer.device,
        decode=keep_and_decode,
        progress="posteriors of dev",
    )
    refuse_if_mostly_broken(corpus.name, evaluation.excluded, len(corpus))
    n_missing = len(evaluation.clips) - len(posteriors)
    return evaluation, posteriors + [np.zeros((0, recognizer.charmap.vocab_size))] * n_missing
