"""The optimiser over the parts of a model, some of which may be frozen."""

import contextlib
from collections.abc import Collection, Iterator

import torch
from torch import nn

from asr_ctc.acoustic.encoder_model import EncoderModel
from asr_ctc.acoustic.encoders.speech_transformer import FEATURE_EXTRACTOR
from asr_ctc.base.errors import UserError
from asr_ctc.config.settings.training import TrainingConfig


def make_optimizer(model: nn.Module, training: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over what ``freeze`` left of the model.

    Weights decay, biases and normalisation layers do not, as is usual: decay keeps products of
    weights and inputs small, which these are not. Each parameter group carries ``part``, its part
    of the model, and ``lr_factor``, that part's share of the learning rate. AdamW without decay is
    Adam. Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization".
    """
    factors = {
        "cnn": training.lr_cnn,
        "encoder": training.lr_encoder,
        "rnn": training.lr_rnn,
        "out": training.lr_out,
    }
    grouped: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            grouped.setdefault((part_of(name), parameter.dim() > 1), []).append(parameter)
    groups = [
        {
            "params": parameters,
            "part": part,
            "lr_factor": factors[part],
            "lr": training.base_lr * factors[part],
            "weight_decay": training.weight_decay if decays else 0.0,
        }
        for (part, decays), parameters in grouped.items()
    ]
    return torch.optim.AdamW(groups, fused=True)


def part_of(name: str) -> str:
    """The part of the model (cnn, encoder, rnn, out) that a parameter belongs to, by its name."""
    layer = name.split(".")[0]
    return {"cnn": "cnn", "encoder": "encoder", "charlin": "out", "auxlin": "out"}.get(layer, "rnn")


def freeze(model: nn.Module, parts: Collection[str]) -> None:
    """The named parts get no gradient; all others do.

    Besides cnn, encoder and rnn they may be those of the encoder itself, see ``Encoder.parts``.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) not in parts)
    for module in _frozen_of_encoder(model, parts):
        module.requires_grad_(False)


def frozen_parts(model: nn.Module, training: TrainingConfig) -> list[str]:
    """What ``freeze`` is to freeze; UserError where that is no part of this model."""
    parts = list(training.freeze)
    if not isinstance(model, EncoderModel):
        return parts
    if "cnn" in parts:
        raise UserError("--freeze cnn: a model with an encoder has no such part: --freeze_encoder")
    of_encoder = list(model.encoder.parts())
    if not training.train_feature_extractor:
        parts += [FEATURE_EXTRACTOR] if FEATURE_EXTRACTOR in of_encoder else []
    elif FEATURE_EXTRACTOR not in of_encoder:
        raise UserError("--train_feature_extractor: this encoder has none; omit it")
    top, last = model.architecture.layers[-1], training.last_layers
    if training.freeze_encoder:
        for name in ("last_layers", "train_feature_extractor", "freeze_encoder_steps"):
            if getattr(training, name):
                raise UserError(f"--freeze_encoder contradicts --{name}, which trains some of it")
        return [*parts, "encoder"]
    if last and last > top:
        raise UserError(f"--last_layers {last}: {top} layers of the encoder are used")
    n_used = of_encoder.index("front") + 1 + top
    n_frozen = n_used - last if last else 0
    return parts + of_encoder[:n_frozen] + of_encoder[n_used:]  # those above give nothing


@contextlib.contextmanager
def without_encoder(model: nn.Module, is_held: bool) -> Iterator[None]:
    """While ``is_held`` the encoder gets no gradient either, and its weights stay as they are."""
    held = list(model.encoder.parameters()) if is_held and isinstance(model, EncoderModel) else []
    held = [parameter for parameter in held if parameter.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def train_mode(model: nn.Module, frozen: Collection[str]) -> None:
    """``model.train()``, but normalisation layers of frozen parts use and keep their statistics.

    The frozen layers of an encoder are in evaluation mode.
    """
    model.train()
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and part_of(name) in frozen:
            module.eval()
    for module in _frozen_of_encoder(model, frozen):
        module.eval()


def _frozen_of_encoder(model: nn.Module, frozen: Collection[str]) -> list[nn.Module]:
    if not isinstance(model, EncoderModel):
        return []
    parts = model.encoder.parts().items()
    return [m for name, modules in parts if {"encoder", name} & {*frozen} for m in modules]
