"""The clips of a run: splits, bounds of their length, units of their transcripts, datasets."""

import logging
from collections.abc import Callable
from typing import Any

from asr_ctc.assembly.features import make_caches, make_spec_augment
from asr_ctc.assembly.units import ModelUnits, asks_for_others, make_units, settings_of
from asr_ctc.audio.augment import Augmentation
from asr_ctc.audio.features import Features
from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import Config
from asr_ctc.corpus import index
from asr_ctc.corpus.corpus import Corpus, find_corpus
from asr_ctc.corpus.exclude import read_excluded, report_excluded
from asr_ctc.corpus.spoken import speak_for
from asr_ctc.display.terminal import seconds_range, several
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.duration_bounds import MOST_BATCH_S, suitable_maximum_s
from asr_ctc.loading.normalization import measure_normalization
from asr_ctc.loading.selection import between_or_refuse, exclude_unlearnable, prepare_split
from asr_ctc.text.normalise import which_error_rate
from asr_ctc.text.units import Units
from asr_ctc.training.distributed import ALONE, World
from asr_ctc.training.refusals import refuse_best_by_wer
from asr_ctc.training.resume import Start
from asr_ctc.training.run import seed_of

log = logging.getLogger(__name__)


def choose_data(
    start: Start, config: Config, world: World
) -> tuple[Config, ModelUnits, tuple[Corpus, Corpus]]:
    """(settings with all that follows from the corpus, units, train and dev within the bounds)."""
    train, dev = load_splits(config, world)
    config = with_duration_bounds(config, train)
    # The units know all transcripts, so that they do not depend on the bounds.
    config, units = choose_units(start, config, train)
    for each in units:
        speak_for(each, [dev])
    refuse_best_by_wer(config, units.main)
    if which := which_error_rate(units.main):
        log.info("%s", which)
    return config, units, (within_bounds(train, config), within_bounds(dev, config))


def load_splits(config: Config, world: World = ALONE) -> tuple[Corpus, Corpus]:
    """The training and the dev split, clips of any length, without excluded ones."""
    corpus_config = config.corpus
    folder = find_corpus(
        corpus_config.datasetroot,
        corpus_config.datasetversion,
        corpus_config.lang,
        layout=corpus_config.corpus,
    )
    excluded = read_excluded(corpus_config.exclude) if corpus_config.exclude else {}
    options: dict[str, Any] = {
        "n_threads": config.runtime.nthreads,
        "excluded": excluded,
        "layout": corpus_config.corpus,
        "index_dir": index.folder(corpus_config.index_dir),
    }
    with world.local_main_process_first():  # the others find its index
        train = prepare_split(folder, "train", **options)
        dev = prepare_split(folder, "dev", **options)
    if corpus_config.exclude:
        report_excluded(corpus_config.exclude, excluded, (train, dev))
    return train, dev


def with_duration_bounds(config: Config, train: Corpus) -> Config:
    """The settings with both bounds of the clip length; unset ones follow from ``train``."""
    low, high = config.corpus.min_duration, config.corpus.max_duration
    if low is not None and high is not None:
        return config
    low, training, note = low or 0.0, config.training, ""
    if high is None:
        durations = train.durations[train.durations >= low]
        n_clips, batch_s = training.batch_size, training.batch_seconds
        most_s = batch_s or MOST_BATCH_S / n_clips
        high = suitable_maximum_s(durations, most_s)
        batch, remedy = f"{n_clips} clips", "a smaller --batch_size"
        if batch_s is not None:
            batch, remedy = f"{batch_s:g} s", "a larger --batch_seconds"
        if high < suitable_maximum_s(durations):
            note = f"; longer ones need too much memory in batches of {batch}: {remedy} takes them"
    config = config.replace(min_duration=low, max_duration=high)
    n_within = int(((train.durations >= low) & (train.durations <= high)).sum())
    log.info(
        "clip length, from the corpus: %s, %d of %s%s",
        seconds_range(low, high),
        n_within,
        several(len(train), "training clip"),
        note,
    )
    return config


def within_bounds(corpus: Corpus, config: Config) -> Corpus:
    """The clips within the bounds that ``with_duration_bounds`` has set; UserError without one."""
    low, high = config.corpus.min_duration, config.corpus.max_duration
    assert low is not None and high is not None
    return between_or_refuse(corpus, low, high)


def choose_units(start: Start, config: Config, train: Corpus) -> tuple[Config, ModelUnits]:
    """The model file's units, unless a new run asks for others; the settings that made them.

    ``train`` holds clips of any length.
    """
    file = start.file
    if file is None:
        return make_units(config, train)
    units = ModelUnits(file.charmap, file.other_units)
    if not start.folder and asks_for_others(config, units):
        return make_units(config, train)
    refused = {"case_folding": "case_folding" in config.typed, "profile": config.corpus.profile}
    if any(refused.values()) and not start.folder:
        flags = ", ".join(f"--{name}" for name, is_given in refused.items() if is_given)
        raise UserError(
            f"{flags}: the model file brings its units and how it reads text; omit the flag, or "
            "make another character map with --charset"
        )
    if "charset_min_count" in config.typed and not start.folder:
        log.warning("--charset_min_count has no effect: the model file brings its units")
    for each in units:
        speak_for(each, [train])
    return config if start.folder else config.replace(**settings_of(units)), units


def make_datasets(
    config: Config,
    corpora: tuple[Corpus, Corpus],
    charmap: Units,
    *,
    features: Features,
    output_lengths: Callable,
    augmentation: Augmentation | None = None,
    normalization: tuple[float, float] | None = None,
    is_cached: bool = True,
    world: World = ALONE,
    aux_units: Units | None = None,
) -> tuple[ClipDataset, ClipDataset]:
    """The training set without what CTC cannot learn, and the dev set; from audio or the caches.

    ``normalization`` is measured on the training split when it is None and the features need one.
    Without ``is_cached`` there are no caches, whatever ``config`` says.
    """
    train, dev = corpora
    seed, n_threads = seed_of(config), config.runtime.nthreads
    for units in filter(None, (charmap, aux_units)):
        train = exclude_unlearnable(train, units, features=features, output_lengths=output_lengths)
    train_cache = dev_cache = None
    if is_cached:
        train_cache, dev_cache = make_caches(config, (train, dev), features, augmentation)
    if normalization is None and not features.is_scaled:
        decibels = ClipDataset(train, charmap, WaveformProcessor(features), cache=train_cache)
        normalization = world.broadcast_from_main(
            lambda: measure_normalization(decibels, n_threads, seed=seed)
        )
    plain = WaveformProcessor(features, normalization=normalization)
    train_set = ClipDataset(
        train,
        charmap,
        WaveformProcessor(
            features, normalization=normalization, spec_augment=make_spec_augment(config)
        ),
        seed=seed,
        for_training=True,
        output_lengths=output_lengths,
        augmentation=augmentation,
        cache=train_cache,
        aux_units=aux_units,
    )
    return train_set, ClipDataset(dev, charmap, plain, cache=dev_cache, aux_units=aux_units)
