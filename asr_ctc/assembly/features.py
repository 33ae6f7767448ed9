"""Makes features, their masks and their caches from the settings."""

import logging
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from asr_ctc.audio.augment import Augmentation
from asr_ctc.audio.decode import RATE_HZ
from asr_ctc.audio.features import Features
from asr_ctc.audio.log_mel import FeatureSettings
from asr_ctc.audio.spec_augment import SpecAugment
from asr_ctc.config.load import Config
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.loading.feature_cache import FeatureCache, Rounding, open_caches

log = logging.getLogger(__name__)


def settings_for(part: type, section: object) -> dict[str, Any]:
    """The values of a settings section for the fields of ``part`` that have the same names."""
    return {f.name: getattr(section, f.name) for f in fields(part) if hasattr(section, f.name)}


def make_features(config: Config) -> FeatureSettings:
    """The classic model's log-mel."""
    return FeatureSettings(rate=RATE_HZ, **settings_for(FeatureSettings, config.features))


def make_spec_augment(config: Config) -> SpecAugment | None:
    """The masks of ``--train_augment``, for training."""
    if not config.features.train_augment:
        return None
    return SpecAugment(**settings_for(SpecAugment, config.features))


def make_caches(
    config: Config,
    corpora: Sequence[Corpus],
    features: Features,
    augmentation: Augmentation | None,
) -> Sequence[FeatureCache | Rounding | None]:
    """The cache of each split below ``--cache_dir``; None for splits that are not cached."""
    corpus_config = config.corpus
    if corpus_config.cache_dir is None:
        return [None] * len(corpora)
    if not features.frame_size:
        log.info("--cache_dir: nothing is cached: samples take as long to read as the recordings")
        return [None] * len(corpora)
    if augmentation is not None:
        log.info("--cache_dir: nothing is cached, because --augment changes the features each time")
        return [None] * len(corpora)
    return open_caches(corpus_config.cache_dir, corpora, features, max_gb=corpus_config.cache_gb)
