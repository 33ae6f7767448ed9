"""Makes the acoustic model from the settings, or from a model file and the settings."""

import logging
from dataclasses import replace
from typing import Any, NamedTuple

from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.encoder_model import EncoderArchitecture, EncoderModel
from asr_ctc.acoustic.encoders.encoder import FineTuning
from asr_ctc.acoustic.encoders.folder import Pretrained, read_encoder
from asr_ctc.acoustic.encoders.span_masks import SpanMasks
from asr_ctc.acoustic.model_file import ModelFile
from asr_ctc.acoustic.model_kinds import AnyArchitecture, AnyModel, features_of, new_model
from asr_ctc.acoustic.two_heads import AUX, MAIN
from asr_ctc.assembly.features import make_features, settings_for
from asr_ctc.audio.features import Features
from asr_ctc.audio.log_mel import FeatureSettings
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import Config
from asr_ctc.text.units import Units

log = logging.getLogger(__name__)

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


OF_CONVOLUTIONS = (
    *("win_length", "win_step", "nmels", "clip_norm", "clip_range_db"),
    *("mel_stride", "time_reach", "lr_cnn", "rnn_dropout"),
)


class Blueprint(NamedTuple):
    """What determines a model and what it hears, and the encoder's weights if they are new."""

    architecture: AnyArchitecture
    features: Features
    pretrained: Pretrained | None = None


def make_blueprint(
    config: Config, charmap: Units, file: ModelFile | None = None, *, aux: Units | None = None
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
    if file is not None and file.other_units is not None and "aux_layer" not in config.typed:
        layer = layer or file.architecture.aux_layer
    n_layers = (file.architecture if file else config.model).nlayers_rnn
    if unused := [] if aux else sorted({"aux_layer", "aux_weight"} & config.typed):
        raise UserError(f"--{', --'.join(unused)}: needs --units char+phoneme; omit it")
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
    *,
    blueprint: Blueprint | None = None,
    aux: Units | None = None,
) -> AnyModel:
    """Makes a new model, or one with the weights of ``file``, but for its ``new_heads``."""
    options = config.model
    blueprint = blueprint or make_blueprint(config, charmap, file, aux=aux)
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
    left_out: tuple[str, ...] = ()
    if MAIN in new_heads(file, charmap, aux):
        left_out += ("charlin.",)
        log.info(
            "other units than the file's, %d classes for its %d: the output layer is new",
            charmap.vocab_size,
            file.charmap.vocab_size,
        )
    if aux != file.other_units:
        left_out += ("auxlin.",)
    weights = {name: w for name, w in file.state_dict.items() if not name.startswith(left_out)}
    model.load_state_dict(weights, strict=not left_out)
    return model


def new_heads(file: ModelFile | None, charmap: Units, aux: Units | None) -> dict[str, Units]:
    """The output layers whose weights are not in ``file``, with their units."""
    new = {}
    if file is None or not charmap.has_classes_of(file.charmap):
        new[MAIN] = charmap
    if aux is not None and (file is None or aux != file.other_units):
        new[AUX] = aux
    return new


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
