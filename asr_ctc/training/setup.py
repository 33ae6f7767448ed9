"""A training run: its parts, put together from the configuration, and its folder."""

import logging
import platform
import random
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from functools import partial
from typing import Any

import numpy as np
import torch

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.encoder_model import EncoderModel
from asr_ctc.acoustic.loss import ctc_objective, two_headed_objective
from asr_ctc.acoustic.model_file import ModelFile
from asr_ctc.acoustic.model_kinds import AnyModel
from asr_ctc.assembly.features import make_caches, make_spec_augment
from asr_ctc.assembly.model import Blueprint, make_blueprint, make_model, with_sizes_of
from asr_ctc.assembly.units import ModelUnits, asks_for_others, make_units, settings_of
from asr_ctc.audio.augment import Augmentation, parse_augmentation
from asr_ctc.audio.features import Features
from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.audio.spec_augment import SpecAugment
from asr_ctc.base.errors import UserError
from asr_ctc.base.version import VERSION
from asr_ctc.config.load import Config
from asr_ctc.corpus import index, transcripts
from asr_ctc.corpus.corpus import Corpus, ExcludedClip, corpus_name, find_corpus
from asr_ctc.corpus.exclude import read_excluded, report_excluded
from asr_ctc.corpus.spoken import speak_for
from asr_ctc.display.terminal import seconds_range, several
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.duration_bounds import MOST_BATCH_S, suitable_maximum_s
from asr_ctc.loading.normalization import measure_normalization
from asr_ctc.loading.selection import (
    between_or_refuse,
    exclude_unlearnable,
    filled_shares,
    prepare_split,
)
from asr_ctc.loading.trained_sound import measure_trained_sound
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.normalise import distinctions_of, which_error_rate
from asr_ctc.text.segments import why_no_words
from asr_ctc.text.units import Units
from asr_ctc.training.distributed import ALONE, World
from asr_ctc.training.encoding import encode_splits, layers_to_keep
from asr_ctc.training.optimiser import freeze, frozen_parts
from asr_ctc.training.resume import Start
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


def refuse_unused_masks(config: Config) -> None:
    """UserError when the masks of SpecAugment are described, but not asked for."""
    unused = [f"--{f.name}" for f in fields(SpecAugment) if f.name in config.typed]
    if unused and not config.features.train_augment:
        raise UserError(f"{' and '.join(unused)} would change nothing without --train_augment")


def refuse_unused_with_frozen_layers(config: Config) -> None:
    """UserError when a flag is typed for layers of an encoder that are frozen.

    Settings of a --config file are not refused, since it may be for other runs too.
    """
    names: tuple[str, ...]
    if config.training.freeze_encoder:
        cause, names = "--freeze_encoder", ("lr_encoder", "layer_drop", "gradient_checkpointing")
    elif config.training.last_layers:  # what is below them is frozen
        cause, names = "--last_layers", ("train_feature_extractor",)
    else:
        return
    if unused := [f"--{name}" for name in names if name in config.typed]:
        them = "it" if len(unused) == 1 else "them"
        raise UserError(f"{' and '.join(unused)} would change nothing with {cause}; omit {them}")


def refuse_skipped_gradients(config: Config, world: World) -> None:
    """UserError under torchrun for settings by which some weights miss gradients in some steps."""
    if world.size > 1 and (config.training.freeze_encoder_steps or config.training.layer_drop):
        raise UserError(
            "--freeze_encoder_steps and --layer_drop need a single process: under torchrun every "
            "weight must get its gradient in every step"
        )


def set_up_run(start: Start, *, command: Sequence[str] = (), world: World = ALONE) -> Run:
    """Corpora, character map, model and datasets of a run; writes no more than the caches.

    Sets threads and memory of this process for long work, and seeds torch.
    """
    refuse_unused_with_frozen_layers(start.config)
    refuse_skipped_gradients(start.config, world)
    config = resolve(start, world)
    compute.use_processor()
    compute.keep_freed_memory()
    device = compute.pick_device(config.runtime.device)
    precision = compute.pick_precision(config.training.precision, device)
    augmentation = parse_augmentation(config.features.augment)
    config, units, corpora = choose_data(start, config, world)
    torch.manual_seed(seed_of(config))
    blueprint = make_blueprint(config, units.main, start.file, aux=units.aux)
    config = config.replace(aux_layer=blueprint.architecture.aux_layer or None)
    model = make_model(config, units.main, start.file, blueprint=blueprint, aux=units.aux)
    frozen = frozen_parts(model, config.training)
    freeze(model, frozen)
    round_frozen(model)
    model.to(device)
    layers = layers_to_keep(config, model)
    train_set, dev_set = make_datasets(
        config,
        corpora,
        units.main,
        features=blueprint.features,
        output_lengths=model.output_lengths,
        augmentation=augmentation,
        normalization=start.file.normalization if start.file else None,
        is_cached=not layers,
        world=world,
        aux_units=units.aux,
    )
    of_features = train_set
    if isinstance(model, EncoderModel) and layers:
        train_set, dev_set = encode_splits(
            config,
            model,
            (train_set, dev_set),
            layers=layers,
            device=device,
            precision=precision,
            world=world,
        )
    run = Run(
        config=config,
        world=world,
        device=device,
        precision=precision,
        charmap=units.main,
        train=train_set,
        dev=dev_set,
        model=model,
        features=blueprint.features,
        origin=find_origin(
            start,
            config=config,
            command=command,
            dataset=of_features,
            world=world,
            blueprint=blueprint,
        ),
        frozen=frozen,
        objective=make_objective(config, units),
    )
    if start.config.runtime.seed is None:
        log.info("seed drawn: %d", run.seed)
    report_setup(run)
    return run


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


def round_frozen(model: AnyModel) -> None:
    """Rounds the frozen weights of an encoder to half precision, in which the model file is."""
    if isinstance(model, EncoderModel):
        for parameter in model.encoder.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.half().float()


def resolve(start: Start, world: World = ALONE) -> Config:
    """The settings of a run, with what they leave open: the seed, and the sizes of a model file."""
    config = start.config
    if config.runtime.seed is None:
        seed = world.broadcast_from_main(lambda: random.SystemRandom().randrange(2**32))
        config = config.replace(seed=seed)
    if start.file and not start.folder:
        config = with_sizes_of(start.file, config)
    return config


def seed_of(config: Config) -> int:
    """The seed of settings that ``resolve`` has completed."""
    assert config.runtime.seed is not None
    return config.runtime.seed


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
    if config.corpus.profile and not start.folder:
        raise UserError(
            "--profile: the model file brings its writing profile; omit it, or make another "
            "character map with --charset"
        )
    for each in units:
        speak_for(each, [train])
    return config if start.folder else config.replace(**settings_of(units)), units


def make_objective(config: Config, units: ModelUnits) -> Objective:
    """The loss to minimise: of one output layer, or the weighted sum of two."""
    if units.aux is None:
        return ctc_objective
    return partial(two_headed_objective, aux_weight=config.classes.aux_weight)


def refuse_best_by_wer(config: Config, units: Units) -> None:
    why = why_no_words(distinctions_of(units)["writing"])
    if config.training.best_by == "wer" and why:
        raise UserError(f"--best_by wer: there is no WER: {why}; --best_by cer")


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


def report_setup(run: Run) -> None:
    """Clips, normalisation and device of a run, in the log."""
    corpora = run.train.corpus, run.dev.corpus
    run.report_excluded_once([item for corpus in corpora for item in corpus.excluded])
    for corpus in corpora:
        log.info(
            "%s: %d clips, %.2f h (%d excluded)",
            corpus.name,
            len(corpus),
            corpus.hours,
            len(corpus.excluded),
        )
    if run.normalization:
        log.info("normalisation: mean %.2f dB, deviation %.2f dB", *run.normalization)
    processes = f"{run.world.size} processes, each " if run.world.size > 1 else ""
    log.info(
        "computing on %s in %s, %s%d threads",
        run.device,
        run.precision,
        processes,
        torch.get_num_threads(),
    )


def find_origin(
    start: Start,
    *,
    config: Config,
    command: Sequence[str],
    dataset: ClipDataset,
    world: World,
    blueprint: Blueprint,
) -> dict:
    """A new run's origin, or that of the resumed one; UserError when its corpus has changed."""
    train = dataset.corpus
    if start.file is None or start.folder is None:
        origin = describe_origin(config, command, train)
        if blueprint.pretrained:
            origin["encoder"] = blueprint.pretrained.source
        elif start.file and "encoder" in start.file.origin:
            origin["encoder"] = start.file.origin["encoder"]
        if config.training.debug:  # nothing is kept
            return origin
        origin["sound"] = world.broadcast_from_main(
            lambda: measure_trained_sound(dataset, config.runtime.nthreads, seed_of(config))
        )
        return origin
    origin = start.file.origin
    if origin["corpus"]["train_tsv_sha256"] != train.fingerprint:
        raise UserError(
            f"--resume_from {start.folder}: {train.name} has changed since the run began: start a "
            "new run from best_model.pt"
        )
    return origin


def describe_origin(config: Config, command: Sequence[str], train: Corpus) -> dict:
    """Where a model comes from, for its file."""
    corpus_config = config.corpus
    return {
        "command": shlex.join(["python", *command]) if command else "",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "asr_ctc": VERSION,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
        "corpus": {
            "layout": corpus_config.corpus,
            "version": corpus_name(train.folder, corpus_config.corpus).split("/")[0],
            "lang": corpus_config.lang,
            "clips": len(train),
            "hours": round(train.hours, 3),
            "train_tsv_sha256": train.fingerprint,
        },
        "resumed_from": config.training.resume_from or "",
    }


def facts_at_start(run: Run) -> dict:
    """What the doctor looks at before training; the shares are those of clips and characters."""
    excluded = [item for item in run.train.corpus.excluded if "too long" in item.reason]
    filled = filled_shares(
        run.train_corpus,
        run.charmap,
        features=run.features,
        output_lengths=run.model.output_lengths,
    )
    facts = {
        "unlearnable_share": len(excluded) / (len(run.train) + len(excluded)),
        "filled_share": float(np.quantile(filled, 0.9)),
        "unknown_share": 0.0,  # word pieces and phonemes are made from the same transcripts
    }
    units = run.charmap
    if isinstance(units, CharMap):
        counts = transcripts.character_counts(run.train_corpus, units.writing)
        unknown = sum(n for character, n in counts.items() if units.unknown_characters(character))
        facts["unknown_share"] = unknown / max(1, sum(counts.values()))
    return facts
