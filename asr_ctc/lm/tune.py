"""The command `lm --tune`: the weights of a language model that suit a model best, on dev."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_ctc import compute
from asr_ctc.checkpoint import newest_model, save_model
from asr_ctc.config import Config
from asr_ctc.corpus import refuse_if_mostly_broken
from asr_ctc.corpus_of_model import make_scoring_loader, split_to_read
from asr_ctc.decoding import beam_decode, greedy_decode
from asr_ctc.errors import UserError
from asr_ctc.evaluation import Evaluation, evaluate
from asr_ctc.fusion import fuse
from asr_ctc.lm.arpa import read_arpa
from asr_ctc.lm.ngrams import LanguageModel
from asr_ctc.lm.stored import StoredModel
from asr_ctc.lm.vocabulary import unspelt_words
from asr_ctc.metrics import score
from asr_ctc.progress import bar
from asr_ctc.recognizer import Recognizer

LM_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
WORD_BONUSES = (-1.0, 0.0, 1.0, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class Tuning:
    """``error_rates`` (weights, bonuses): WER on dev, CER for a model of characters."""

    path: Path
    n_clips: int
    greedy: float
    error_rates: np.ndarray
    lm_weight: float
    word_bonus: float
    model: LanguageModel
    n_unspelt: int

    @property
    def measure(self) -> str:
        return _measure(self.model).upper()


def tune_language_model(config: Config) -> Tuning:
    """Decodes dev with every weight and bonus of the grid; the best go into the model file.

    The clips pass through the model once. UserError as what it is made of, and without --lm.
    """
    decoding = config.decoding
    if not decoding.lm:
        raise UserError("lm --tune needs the language model: --lm FILE.arpa")
    path = Path(decoding.modelpath or newest_model(config.training.baselogdir))
    compute.use_processor()
    recognizer = Recognizer.load(path, config.runtime.device)
    model = read_arpa(decoding.lm)
    fuse(model, recognizer.charmap)  # refuses a model that does not fit, before any work
    evaluation, posteriors = dev_posteriors(recognizer, config)

    def error_rate(lm_weight: float, word_bonus: float) -> float:
        fusion = fuse(
            model,
            recognizer.charmap,
            lm_weight=lm_weight,
            word_bonus=word_bonus,
            unk_logp=decoding.unk_logp,
        )
        texts = [
            beam_decode(
                logp[None], [len(logp)], recognizer.charmap, decoding.beamwidth, 1, fusion=fusion
            )[0][0].text
            for logp in posteriors
        ]
        return _error_rate(model, evaluation, texts)

    grid = [(weight, bonus) for weight in LM_WEIGHTS for bonus in WORD_BONUSES]
    rates = np.array([error_rate(*point) for point in bar(grid, "tuning", "point")])
    ties = [point for point, rate in zip(grid, rates) if rate == rates.min()]
    lm_weight, word_bonus = min(ties, key=lambda point: (abs(point[1]), point[0]))
    weights = {"lm_weight": lm_weight, "word_bonus": word_bonus, "unk_logp": decoding.unk_logp}
    recognizer.file.language_model = StoredModel(Path(decoding.lm).name, model, weights)
    save_model(path, recognizer.file)
    return Tuning(
        path=path,
        n_clips=len(posteriors),
        greedy=_error_rate(model, evaluation, [c.hypotheses[0].text for c in evaluation.clips]),
        error_rates=rates.reshape(len(LM_WEIGHTS), len(WORD_BONUSES)),
        lm_weight=lm_weight,
        word_bonus=word_bonus,
        model=model,
        n_unspelt=len(unspelt_words(model, recognizer.charmap)),
    )


def dev_posteriors(recognizer: Recognizer, config: Config) -> tuple[Evaluation, list[np.ndarray]]:
    """Dev decoded greedily, and log probabilities (T', V) float32 of each of its clips.

    A clip that cannot be read has no frames.
    """
    posteriors: list[np.ndarray] = []

    def keep_and_decode(logp, lengths, charmap):
        posteriors.extend(clip[:length].numpy() for clip, length in zip(logp, lengths.tolist()))
        return greedy_decode(logp, lengths, charmap)

    corpus, _ = split_to_read(recognizer, config, "dev")
    evaluation = evaluate(
        recognizer.model,
        make_scoring_loader(recognizer, corpus, config.corpus.nthreads),
        recognizer.device,
        decode=keep_and_decode,
        progress="posteriors of dev",
    )
    refuse_if_mostly_broken(corpus.name, evaluation.left_out, len(corpus))
    n_missing = len(evaluation.clips) - len(posteriors)
    return evaluation, posteriors + [np.zeros((0, recognizer.charmap.vocab_size))] * n_missing


def _measure(model: LanguageModel) -> str:
    return "cer" if model.level == "char" else "wer"


def _error_rate(model: LanguageModel, evaluation: Evaluation, texts: list[str]) -> float:
    references = [clip.reference for clip in evaluation.clips]
    return getattr(score(references, texts), _measure(model))
