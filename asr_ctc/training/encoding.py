"""Training on frames of frozen encoder layers, which are computed once and kept on the disk."""

from collections.abc import Sequence

import torch

from asr_ctc.acoustic.encoder_model import EncoderModel
from asr_ctc.acoustic.encoders.kinds import encoder_of
from asr_ctc.acoustic.model_kinds import AnyModel
from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import Config
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.feature_cache import FeatureCache, open_caches
from asr_ctc.loading.frame_cache import EncodedFeatures, FrameCopies, encode_missing, frozen_key
from asr_ctc.training.distributed import World


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
            first = read[-1] - training.last_layers
            if read[0] >= first and model.encoder.sees_clip_alone:
                layers = (first,)
    features = config.features
    is_changed = features.train_augment or features.augment not in ([], ["none"])
    if layers and copies == 1 and is_changed:
        raise UserError(
            "--augment and --train_augment change nothing here: frozen layers are run once, over "
            "clips as recorded; add --encoder_copies 3, say, or omit --cache_dir"
        )
    if copies > 1 and not layers:
        raise UserError(
            f"--encoder_copies {copies}: copies are of what frozen layers of an encoder put out, "
            "kept in a cache: they need --cache_dir, and --freeze_encoder or --last_layers"
        )
    return layers


def open_whole_caches(
    config: Config, corpora: Sequence[Corpus], kinds: Sequence[EncodedFeatures]
) -> list[FeatureCache]:
    """A cache for each corpus, of the frames that ``kinds`` describe; UserError without room."""
    cache_dir, max_gb = config.corpus.cache_dir, config.corpus.cache_gb
    caches = open_caches(cache_dir or "", corpora, kinds, max_gb=max_gb)
    whole = [cache for cache in caches if isinstance(cache, FeatureCache) and cache.is_for_all]
    if len(whole) < len(caches):
        raise UserError(
            f"--cache_dir {cache_dir}: too little room for the frames of a frozen "
            "encoder (above): raise --cache_gb, free some of the disk, or omit --cache_dir"
        )
    return whole


def clips_to_encode(train: ClipDataset, corpus: Corpus, copy: int) -> ClipDataset:
    """The clips of a split as the encoder hears them: copy 0 as recorded, others augmented."""
    if copy:
        processor, augmentation = train.processor, train.augmentation
    else:
        processor, augmentation = WaveformProcessor(train.processor.settings), None
    return ClipDataset(corpus, train.charmap, processor, seed=train.seed, augmentation=augmentation)


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

    The first copy of a clip is as recorded, the others are augmented. Says what they need on the
    disk and computes what is missing there. UserError when there is not enough room for all.
    """
    train, dev = datasets
    seed, n_copies = train.seed, config.training.encoder_copies
    with torch.device("meta"):
        skeleton = encoder_of(model.architecture.encoder)
    key = (frozen_key(model), repr(model.architecture.encoder), repr(layers), precision)
    spec_augment, augmentation = train.processor.spec_augment, train.augmentation
    changes = (str(seed), repr(config.features.augment), repr(spec_augment))

    def features(copy: int) -> EncodedFeatures:
        stretch = augmentation.stretch if augmentation and copy else 1.0
        return EncodedFeatures(
            of=train.processor.settings,
            output_lengths=skeleton.output_lengths,
            size=len(layers) * skeleton.size,
            step=int(skeleton.output_centres[0]),
            key=(*key, str(copy), *changes) if copy else key,
            stretch=stretch,
        )

    kinds = [features(copy) for copy in (0, *range(n_copies))]
    corpora = [dev.corpus, *(train.corpus for _ in range(n_copies))]
    with world.local_main_process_first():
        caches = open_whole_caches(config, corpora, kinds)
        unreadable: set[str] = set()
        for corpus, copy, cache in zip(corpora, (0, *range(n_copies)), caches, strict=True):
            excluded = encode_missing(
                model,
                clips_to_encode(train, corpus, copy),
                cache,
                copy=copy,
                layers=layers,
                device=device,
                precision=precision,
                n_threads=config.runtime.nthreads,
            )
            if copy == 0:
                unreadable |= {item.clip for item in excluded}
            elif changed := [item for item in excluded if item.clip not in unreadable]:
                raise UserError(
                    f"--augment: copy {copy} of {changed[0].clip} cannot be used: "
                    f"{changed[0].reason}; change --augment, or --exclude the clip"
                )
    model.input_layers = layers
    train_frames = ClipDataset(
        train.corpus,
        train.charmap,
        WaveformProcessor(kinds[1]),
        seed=seed,
        for_training=True,
        output_lengths=model.output_lengths,
        cache=FrameCopies(caches[1:], seed),
        aux_units=train.aux_units,
    )
    return train_frames, ClipDataset(
        dev.corpus,
        dev.charmap,
        WaveformProcessor(kinds[0]),
        cache=caches[0],
        aux_units=dev.aux_units,
    )
