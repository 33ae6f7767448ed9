"""A training run: everything that it works with while it goes on."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

from asr_ctc.acoustic.loss import ctc_objective
from asr_ctc.acoustic.model_file import ModelFile
from asr_ctc.acoustic.model_kinds import AnyModel
from asr_ctc.audio.features import Features
from asr_ctc.config.load import Config
from asr_ctc.corpus.corpus import Corpus, ExcludedClip
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.text.units import Units
from asr_ctc.training.distributed import World
from asr_ctc.training.step import Objective

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Run:
    """Everything a training run works with; what changes meanwhile is its State."""

    config: Config
    world: World
    device: torch.device
    precision: str
    charmap: Units
    train: ClipDataset
    dev: ClipDataset
    model: AnyModel
    features: Features  # of the model file: what the model hears, also where frames are trained on
    origin: dict
    frozen: Sequence[str] = ()  # parts of the model
    objective: Objective = ctc_objective
    reported: set[str] = field(default_factory=set)  # excluded clips

    @property
    def train_corpus(self) -> Corpus:
        return self.train.corpus

    @property
    def normalization(self) -> tuple[float, float] | None:
        """Mean and standard deviation in dB, of the training split or from a model file.

        None for features that need none.
        """
        return self.train.processor.normalization

    @property
    def seed(self) -> int:
        return seed_of(self.config)

    def report_excluded_once(self, excluded: Iterable[ExcludedClip]) -> None:
        """Says of each clip, once, why it is not used."""
        for clip, reason in excluded:
            if clip not in self.reported:
                self.reported.add(clip)
                log.warning("excluded: %s: %s", clip, reason)

    def model_file(self, scores: dict, model: AnyModel | None = None) -> ModelFile:
        """The run's model, or one of the same architecture, with all that transcribing needs.

        Frozen weights of an encoder are in half precision, to which ``set_up_run`` rounded them.
        """
        weights = (model or self.model).state_dict()
        for name, parameter in self.model.named_parameters():
            if name.startswith("encoder.") and not parameter.requires_grad:
                weights[name] = weights[name].half()
        return ModelFile(
            state_dict=weights,
            architecture=self.model.architecture,
            features=self.features,
            normalization=self.normalization,
            charmap=self.charmap,
            other_units=self.train.aux_units,
            scores=scores,
            origin=self.origin,
        )


def seed_of(config: Config) -> int:
    """The seed of settings that ``resolve`` has completed."""
    assert config.runtime.seed is not None
    return config.runtime.seed
