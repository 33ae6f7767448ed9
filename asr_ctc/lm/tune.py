"""The command `lm --tune`: the weights of a language model that suit a model best, on dev."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asr_ctc import compute
from asr_ctc.checkpoint import newest_model, save_model
from asr_ctc.config import Config
from asr_ctc.corpus import refuse_if_mostly_broken
from asr_ctc.corpus_of_model import make_scoring_loader, split_to_read
from asr_ctc.decoding import beam_decode, greedy_decode
from asr_ctc.errors import UserError
from asr_ctc.evaluation import Evaluation, evaluate
from asr_ctc.fusion import fuse
from asr_ctc.lm.kenlm_binary import KenlmModel
from asr_ctc.lm.ngrams import LanguageModel
from asr_ctc.lm.read import read_language_model
from asr_ctc.lm.stored import StoredModel
from asr_ctc.lm.vocabulary import unspelt_note
from asr_ctc.metrics import score
from asr_ctc.progress import bar
from asr_ctc.recognizer import Recognizer

LM_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
WORD_BONUSES = (-1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
# The less sure a model of its spelling, the more an unknown word is a known one misspelt.
UNK_LOGPS = (-10.0, -20.0, -30.0)


@dataclass(frozen=True)
class Tuning:
    """``error_rates`` (weights, bonuses): WER on dev, CER for a model of characters.

    They are those with the best ``unk_logp``. ``path`` is the model file that now holds the
    language model and its weights; None for a KenLM binary, which cannot be put there.
    """

    path: Path | None
    n_clips: int
    greedy: float
    error_rates: np.ndarray
    lm_weight: float
    word_bonus: float
    unk_logp: float
    model: LanguageModel | KenlmModel
    note: str  # see ``unspelt_note``

    @property
    def measure(self) -> str:
        return _measure(self.model).upper()


def tune_language_model(config: Config) -> Tuning:
    """Decodes dev with every weight and bonus of the grid; the best go into the model file.

    So does the best log probability of unknown words, unless --unk_logp is given or the words are
    characters. The clips pass through the acoustic model once. UserError as what it is made of, and
    without --lm.
    """
    decoding = config.decoding
    if not decoding.lm:
        raise UserError("lm --tune needs the language model: --lm FILE")
    path = Path(decoding.modelpath or newest_model(config.training.baselogdir))
    compute.use_processor()
    recognizer = Recognizer.load(path, config.runtime.device)
    model = read_language_model(decoding.lm)
    fuse(model, recognizer.charmap)  # refuses a model that does not fit, before any work
    evaluation, posteriors = dev_posteriors(recognizer, config)

    def error_rate(unk_logp: float, lm_weight: float, word_bonus: float) -> float:
        fusion = fuse(
            model,
            recognizer.charmap,
            lm_weight=lm_weight,
            word_bonus=word_bonus,
            unk_logp=unk_logp,
        )

        def read(logp: np.ndarray) -> str:
            charmap, width = recognizer.charmap, decoding.beamwidth
            return beam_decode(logp[None], [len(logp)], charmap, width, 1, fusion=fusion)[0][0].text

        return _error_rate(model, evaluation, list(threads.map(read, posteriors)))

    is_open = model.level == "word" and "unk_logp" not in config.given
    unk_logps = UNK_LOGPS if is_open else (decoding.unk_logp,)
    grid = list(itertools.product(unk_logps, LM_WEIGHTS, WORD_BONUSES))
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        rates = [error_rate(*point) for point in bar(grid, "tuning", "point")]
    ties = [point for point, rate in zip(grid, rates) if rate == min(rates)]
    unk_logp, lm_weight, word_bonus = min(ties, key=lambda point: (abs(point[2]), point[1]))
    weights = {"lm_weight": lm_weight, "word_bonus": word_bonus, "unk_logp": unk_logp}
    is_stored = isinstance(model, LanguageModel)
    if is_stored:
        recognizer.file.language_model = StoredModel(Path(decoding.lm).name, model, weights)
        save_model(path, recognizer.file)
    shape = len(unk_logps), len(LM_WEIGHTS), len(WORD_BONUSES)
    return Tuning(
        path=path if is_stored else None,
        n_clips=len(posteriors),
        greedy=_error_rate(model, evaluation, [c.hypotheses[0].text for c in evaluation.clips]),
        error_rates=np.array(rates).reshape(shape)[unk_logps.index(unk_logp)],
        lm_weight=lm_weight,
        word_bonus=word_bonus,
        unk_logp=unk_logp,
        model=model,
        note=unspelt_note(model, recognizer.charmap),
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


def _measure(model: LanguageModel | KenlmModel) -> str:
    return "cer" if model.level == "char" else "wer"


def _error_rate(
    model: LanguageModel | KenlmModel, evaluation: Evaluation, texts: list[str]
) -> float:
    references = [clip.reference for clip in evaluation.clips]
    return getattr(score(references, texts), _measure(model))
