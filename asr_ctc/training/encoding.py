"""Training on frames of frozen encoder layers, which are computed once and kept on the disk."""

import logging

import torch

from asr_ctc.acoustic.encoder_model import EncoderModel
from asr_ctc.acoustic.encoders.kinds import encoder_of
from asr_ctc.acoustic.model_kinds import AnyModel
from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import Config
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.feature_cache import FeatureCache, open_caches
from asr_ctc.loading.frame_cache import EncodedFeatures, FrameCopies, encode_missing, weights_key
from asr_ctc.training.distributed import World

log = logging.getLogger(__name__)


def layers_to_keep(config: Config, model: AnyModel) -> tuple[int, ...]:
    """The layers of the encoder whose outputs are kept in ``--cache_dir``; () for none.

    With a frozen encoder they are those that the model reads, with ``--last_layers N`` the one
    below these N.
    """
    training, copies = config.training, config.training.encoder_copies
    layers: tuple[int, ...] = ()
    if isinstance(model, EncoderModel) and config.corpus.cache_dir is not None:
        read = model.architecture.layers
        if training.freeze_encoder:
            layers = read
        elif training.last_layers:
            first = model.encoder.n_layers - training.last_layers
            if read[0] >= first and model.encoder.sees_clip_alone:
                layers = (first,)
    if copies > 1 and not layers:
        raise UserError(
            f"--encoder_copies {copies}: copies are of what frozen layers of an encoder put out, "
            "kept in a cache: they need --cache_dir, and --freeze_encoder or --last_layers"
        )
    return layers


def encode_splits(
    config: Config,
    model: EncoderModel,
    datasets: tuple[ClipDataset, ClipDataset],
    *,
    layers: tuple[int, ...],
    device: torch.device,
    precision: str,
    world: World,
) -> tuple[ClipDataset, ClipDataset]:
    """The training and the dev set of frames in place of features; ``model`` takes frames then.

    Says what they need on the disk and computes what is missing there. UserError when there is not
    enough room for all.
    """
    train, dev = datasets
    where, seed, n_copies = config.corpus, train.seed, config.training.encoder_copies
    with torch.device("meta"):
        skeleton = encoder_of(model.architecture.encoder)
    key = (weights_key(model), repr(model.architecture.encoder), repr(layers), precision)
    spec_augment, augmentation = train.processor.spec_augment, train.augmentation
    changes: tuple[str, ...] = ()
    if augmentation or spec_augment:
        changes = (str(seed), repr(config.features.augment), repr(spec_augment))

    def features(copy: int, changes: tuple[str, ...], stretch: float = 1.0) -> EncodedFeatures:
        return EncodedFeatures(
            of=train.processor.settings,
            output_lengths=skeleton.output_lengths,
            size=len(layers) * skeleton.size,
            step=int(skeleton.output_centres[0]),
            key=(*key, str(copy), *changes),
            stretch=stretch,
        )

    stretch = augmentation.stretch if augmentation else 1.0
    kinds = [features(0, ()), *(features(copy, changes, stretch) for copy in range(n_copies))]
    corpora = [dev.corpus, *(train.corpus for _ in range(n_copies))]
    with world.local_main_process_first():
        caches = open_caches(where.cache_dir or "", corpora, kinds, max_gb=where.cache_gb)
        kept = [cache for cache in caches if isinstance(cache, FeatureCache) and cache.is_for_all]
        if len(kept) < len(caches):
            raise UserError(
                f"--cache_dir {where.cache_dir}: too little room for the frames of a frozen "
                "encoder (above): raise --cache_gb, free some of the disk, or omit --cache_dir"
            )
        for dataset, of_split in ((dev, kept[:1]), (train, kept[1:])):
            encode_missing(
                model,
                heard_by_encoder(dataset),
                of_split,
                layers=layers,
                device=device,
                precision=precision,
                n_threads=config.runtime.nthreads,
            )
    model.input_layers = layers
    train_frames = ClipDataset(
        train.corpus,
        train.charmap,
        WaveformProcessor(kinds[1]),
        seed=seed,
        for_training=True,
        output_lengths=model.output_lengths,
        cache=FrameCopies(kept[1:], seed),
    )
    return train_frames, ClipDataset(
        dev.corpus, dev.charmap, WaveformProcessor(kinds[0]), cache=kept[0]
    )


def heard_by_encoder(dataset: ClipDataset) -> ClipDataset:
    """Every clip of a split that can be read, changed as in training, not cached as features."""
    return ClipDataset(
        dataset.corpus,
        dataset.charmap,
        dataset.processor,
        seed=dataset.seed,
        augmentation=dataset.augmentation,
    )
