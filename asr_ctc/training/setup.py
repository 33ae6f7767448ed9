"""A training run put together: its corpora, units, model and datasets, from the settings."""

import logging
import random
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.encoder_model import EncoderModel
from asr_ctc.acoustic.loss import ctc_objective, two_headed_objective
from asr_ctc.acoustic.model_kinds import AnyModel
from asr_ctc.assembly.model import make_blueprint, make_model, new_heads, with_sizes_of
from asr_ctc.assembly.units import ModelUnits
from asr_ctc.audio.augment import parse_augmentation
from asr_ctc.config.load import Config
from asr_ctc.corpus import transcripts
from asr_ctc.display.terminal import several
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.selection import class_frames, filled_shares
from asr_ctc.text.charmap import CharMap
from asr_ctc.training.clips import choose_data, make_datasets
from asr_ctc.training.distributed import ALONE, World
from asr_ctc.training.encoding import encode_splits, layers_to_keep
from asr_ctc.training.optimiser import freeze, frozen_parts
from asr_ctc.training.origin import find_origin
from asr_ctc.training.refusals import refuse_skipped_gradients, refuse_unused_with_frozen_layers
from asr_ctc.training.resume import Start
from asr_ctc.training.run import Run, seed_of
from asr_ctc.training.step import Objective

log = logging.getLogger(__name__)


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
    set_priors_of_new_heads(model, start, units, train_set)
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


def set_priors_of_new_heads(
    model: AnyModel, start: Start, units: ModelUnits, train: ClipDataset
) -> None:
    """Starts the output layers that are not in the model file from how often classes occur."""
    features = train.processor.settings
    for head, each in new_heads(start.file, units.main, units.aux).items():
        counts = class_frames(
            train.corpus, each, features=features, output_lengths=model.output_lengths
        )
        model.set_priors(head, counts)


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


def make_objective(config: Config, units: ModelUnits) -> Objective:
    """The loss to minimise: of one output layer, or the weighted sum of two."""
    if units.aux is None:
        return ctc_objective
    return partial(two_headed_objective, aux_weight=config.classes.aux_weight)


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
        "computing on %s in %s, %s%s",
        run.device,
        run.precision,
        processes,
        several(torch.get_num_threads(), "thread"),
    )


def facts_at_start(run: Run) -> dict:
    """What the doctor looks at before training; the shares are those of clips and characters."""
    excluded = [item for item in run.train.corpus.excluded if "too long" in item.reason]
    filled = filled_shares(
        run.train_corpus,
        run.charmap,
        features=run.train.processor.settings,
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
