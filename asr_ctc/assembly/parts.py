"""Makes character map, model, features and caches from the settings."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.encoder_model import EncoderArchitecture, EncoderModel
from asr_ctc.acoustic.encoders.encoder import FineTuning
from asr_ctc.acoustic.encoders.folder import Pretrained, read_encoder
from asr_ctc.acoustic.encoders.span_masks import SpanMasks
from asr_ctc.acoustic.model_file import ModelFile
from asr_ctc.acoustic.model_kinds import AnyArchitecture, AnyModel, features_of, new_model
from asr_ctc.audio.augment import Augmentation
from asr_ctc.audio.decode import RATE_HZ
from asr_ctc.audio.features import Features
from asr_ctc.audio.log_mel import FeatureSettings
from asr_ctc.audio.spec_augment import SpecAugment
from asr_ctc.base.errors import UserError
from asr_ctc.base.printable import visible_form, visible_text
from asr_ctc.config.load import Config
from asr_ctc.config.settings import CorpusConfig
from asr_ctc.corpus import transcripts
from asr_ctc.corpus.corpus import Corpus
from asr_ctc.display.terminal import percent, several
from asr_ctc.loading.feature_cache import FeatureCache, Rounding, open_caches
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.rare import MOST_UNKNOWN_SHARE, suitable_min_count, unknown_share
from asr_ctc.text.units import Units
from asr_ctc.text.writing import PLAIN, Writing

log = logging.getLogger(__name__)

MOST_LISTED, MOST_LISTED_RARE = 100, 20  # characters in a line of the log


def make_charmap(settings: CorpusConfig, train: Corpus | None, writing: Writing = PLAIN) -> CharMap:
    """The map that ``--charset`` names; reports the rare characters that 'auto' excludes.

    Without a train split 'auto' is the default map. A file's own writing profile stays, unless a
    setting names another.
    """
    name, min_count = settings.charset or "default", settings.charset_min_count
    if name == "auto" and train is not None:
        counts = transcripts.character_counts(train, writing)
        charmap, rare = CharMap.from_counts(counts, min_count, writing)
        more = "…" if charmap.vocab_size > MOST_LISTED + 2 else ""
        log.info(
            "character map from %s: %d classes: %s%s",
            several(len(train), "transcript"),
            charmap.vocab_size,
            visible_text("".join(charmap.symbols[2 : MOST_LISTED + 2])),
            more,
        )
        if rare:
            for line in described_rare(rare, min_count, sum(counts.values())):
                log.info("%s", line)
        return charmap
    if name in ("default", "auto"):
        return CharMap(writing=writing)
    try:
        charmap = CharMap.from_json(Path(name).read_text(encoding="utf-8-sig"))
        is_named = charmap.writing.name and not (settings.profile or settings.case_folding)
        return charmap if is_named else replace(charmap, writing=writing)
    except OSError as error:
        raise UserError(
            f"--charset {name}: cannot be read ({error.strerror}); 'default', 'auto' or a FILE.json"
        ) from None
    except (ValueError, TypeError) as error:
        raise UserError(f"--charset {name}: not a character map: {error}") from None


def described_rare(rare: Mapping[str, int], min_count: int, total: int) -> list[str]:
    """What becomes of the characters {them: count} seen fewer than ``min_count`` times in train.

    A few are listed; of many, their number and their share of the ``total`` characters are said.
    """
    seen = f"seen fewer than {min_count} times"
    if len(rare) <= MOST_LISTED_RARE:
        ordered = sorted(rare.items(), key=lambda item: -item[1])
        listed = " ".join(f"{visible_form(c)}×{n}" for c, n in ordered)
        lines = [f"{seen}, mapped to the unknown class: {listed}"]
    else:
        share = percent(unknown_share(rare.values(), min_count, total))
        lines = [
            f"{len(rare):,} characters {seen}, {share} of the text, mapped to the unknown class"
        ]
    return lines + advice_on_rare(rare.values(), min_count, total)


def advice_on_rare(counts: Collection[int], min_count: int, total: int) -> list[str]:
    """A line that says what helps if too much of a text of ``total`` characters becomes unknown.

    ``counts`` are those of its rare characters.
    """
    if unknown_share(counts, min_count, total) <= MOST_UNKNOWN_SHARE:
        return []
    helps = suitable_min_count(counts, min_count, total)
    left = percent(unknown_share(counts, helps, total))
    return [
        f"--charset_min_count {helps} leaves {left} of the text to the unknown class; so would "
        "more transcripts"
    ]


def settings_for(part: type, section: object) -> dict[str, Any]:
    """The values of a settings section for the fields of ``part`` that have the same names."""
    return {f.name: getattr(section, f.name) for f in fields(part) if hasattr(section, f.name)}


OF_ENCODERS = {
    "model": (
        *("encoder_layer", "encoder_padded", "frame_stack", "projection"),
        *("mask_time", "mask_feature"),
    ),
    "published": ("encoder_weights", "adapter"),
    "training": (
        *("freeze_encoder", "last_layers", "freeze_encoder_steps", "train_feature_extractor"),
        *("lr_encoder", "layer_drop", "gradient_checkpointing", "encoder_copies"),
    ),
}


OF_CONVOLUTIONS = "win_length", "win_step", "nmels", "clip_norm", "lr_cnn", "rnn_dropout"


class Blueprint(NamedTuple):
    """What determines a model and what it hears, and the encoder's weights if they are new."""

    architecture: AnyArchitecture
    features: Features
    pretrained: Pretrained | None = None


def make_blueprint(
    config: Config, charmap: Units, file: ModelFile | None = None, aux: Units | None = None
) -> Blueprint:
    """Of the model that ``file`` holds, else of a new one; UserError for impossible settings.

    ``aux`` are the units of a second output layer.
    """
    options = config.model
    heads = _heads(config, charmap, file, aux)
    if file is not None:
        architecture = replace(file.architecture, **heads)
        if isinstance(architecture, EncoderArchitecture):
            refuse_settings_of_convolutions(config)
        else:
            refuse_settings_of_encoders(config)
        return Blueprint(architecture, file.features)
    if options.encoder is None:
        refuse_settings_of_encoders(config)
        architecture = Architecture(
            n_mels=config.features.nmels,
            **heads,
            **settings_for(Architecture, options),
        )
        return Blueprint(architecture, make_features(config))
    refuse_settings_of_convolutions(config)
    pretrained = read_encoder(
        options.encoder,
        padded=options.encoder_padded,
        weights=config.published.encoder_weights,
        language=config.published.adapter,
    )
    sizes = settings_for(EncoderArchitecture, options)
    n_layers = pretrained.settings.n_layers
    layers = tuple(sorted(set(options.encoder_layer))) or (n_layers,)
    if layers[-1] > n_layers:
        raise UserError(f"--encoder_layer {layers[-1]}: the encoder has {n_layers} layers")
    architecture = EncoderArchitecture(
        **{**sizes, "encoder": pretrained.settings, "layers": layers},
        **heads,
    )
    return Blueprint(architecture, features_of(architecture), pretrained)


def _heads(
    config: Config, charmap: Units, file: ModelFile | None, aux: Units | None
) -> dict[str, Any]:
    """Sizes and place of the output layers; UserError for a layer that is not there."""
    layer = config.classes.aux_layer or 0
    if file is not None and file.aux_units is not None and not config.has("aux_layer"):
        layer = file.architecture.aux_layer
    n_layers = (file.architecture if file else config.model).nlayers_rnn
    if aux is None and "aux_layer" in config.typed:
        raise UserError("--aux_layer: needs --units char+phoneme; omit it")
    if layer > n_layers:
        raise UserError(f"--aux_layer {layer}: there are {n_layers} recurrent layers")
    n_aux = aux.vocab_size if aux else 0
    return {
        "vocab_size": charmap.vocab_size,
        "aux_vocab_size": n_aux,
        "aux_layer": layer if aux else 0,
    }


def refuse_settings_of_convolutions(config: Config) -> None:
    """UserError if a flag is typed that only a model without an encoder uses."""
    if unused := [name for name in OF_CONVOLUTIONS if name in config.typed]:
        raise UserError(f"--{unused[0]}: a model with an --encoder does not use it; omit it")


def refuse_settings_of_encoders(config: Config) -> None:
    """UserError if a setting of a pretrained encoder is not as it is by default."""
    default = Config()
    names = [
        name
        for section, names in OF_ENCODERS.items()
        for name in names
        if getattr(getattr(config, section), name) != getattr(getattr(default, section), name)
    ]
    if names:
        raise UserError(
            f"--{', --'.join(names)}: for a model with an --encoder, which this has not"
        )


def make_model(
    config: Config,
    charmap: Units,
    file: ModelFile | None = None,
    blueprint: Blueprint | None = None,
    aux: Units | None = None,
) -> AnyModel:
    """Makes a new model, or one with the weights of ``file``.

    With other units than the file's the output layer is new.
    """
    options = config.model
    blueprint = blueprint or make_blueprint(config, charmap, file, aux)
    model = new_model(
        blueprint.architecture,
        dropout=options.dropout,
        rnn_dropout=options.rnn_dropout,
        l1=options.l1,
        l2=options.l2,
    )
    if isinstance(model, EncoderModel):
        masks = SpanMasks(time_share=options.mask_time, channel_share=options.mask_feature)
        layer_drop = config.training.layer_drop
        checkpointing = config.training.gradient_checkpointing
        model.masks = masks
        if model.encoder.fine_tuning:
            model.encoder.fine_tuning = FineTuning(
                masks=masks, layer_drop=layer_drop, checkpointing=checkpointing
            )
        elif layer_drop or checkpointing:
            raise UserError(
                "--layer_drop and --gradient_checkpointing are for encoders of samples, which "
                f"{model.encoder.settings} is not; omit them"
            )
        if blueprint.pretrained:
            model.encoder.load_state_dict(blueprint.pretrained.state_dict)
    if file is None:
        return model
    weights = file.state_dict
    has_same_classes = charmap.has_classes_of(file.charmap)
    if not has_same_classes:
        weights = {name: w for name, w in weights.items() if not name.startswith("charlin.")}
        log.info(
            "other units than the file's, %d classes for its %d: the output layer is new",
            charmap.vocab_size,
            file.charmap.vocab_size,
        )
    if aux != file.aux_units:
        weights = {name: w for name, w in weights.items() if not name.startswith("auxlin.")}
    model.load_state_dict(weights, strict=has_same_classes and aux == file.aux_units)
    return model


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


def with_sizes_of(file: ModelFile, config: Config) -> Config:
    """The settings with the feature settings and sizes of the model that a new run starts from.

    UserError if a typed flag contradicts the file.
    """
    features = {}
    if isinstance(file.features, FeatureSettings):
        features = settings_for(type(config.features), file.features)
    model = settings_for(type(config.model), file.architecture)
    model.pop("encoder", None)
    if isinstance(file.architecture, EncoderArchitecture):
        model["encoder_layer"] = list(file.architecture.layers)
    problems = [
        f"--{name} {getattr(section, name)} (the file has {value})"
        for section, values in ((config.features, features), (config.model, model))
        for name, value in values.items()
        if name in config.typed and getattr(section, name) != value
    ]
    of_encoder = {"encoder", "encoder_padded", "encoder_weights", "adapter"} & config.typed
    problems += [f"--{name} (its encoder is in the file)" for name in sorted(of_encoder)]
    if problems:
        raise UserError(
            f"--resume_from {config.training.resume_from} brings its own sizes, "
            f"which contradict {', '.join(problems)}; omit these flags"
        )
    log.info("starting from the weights of %s", config.training.resume_from)
    if file.assumed:
        log.info(file.assumed)
    return config.replace(**features, **model, encoder=None, encoder_weights=None, adapter=None)
