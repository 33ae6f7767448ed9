"""The kinds of models: the classic one, and those with a pretrained encoder."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TypeGuard

import numpy as np
import torch
from torch import nn

from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.encoder_model import EncoderArchitecture, EncoderModel
from asr_ctc.acoustic.encoders import kinds
from asr_ctc.audio.features import Features

AnyArchitecture = Architecture | EncoderArchitecture
AnyModel = CTCModel | EncoderModel


def new_model(
    architecture: AnyArchitecture,
    *,
    dropout: float = 0.0,
    rnn_dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
) -> AnyModel:
    """A model with random weights; ``rnn_dropout`` is of the classic one alone."""
    if isinstance(architecture, EncoderArchitecture):
        return EncoderModel(architecture, dropout=dropout, l1=l1, l2=l2)
    return CTCModel(architecture, dropout=dropout, rnn_dropout=rnn_dropout, l1=l1, l2=l2)


def features_of(architecture: EncoderArchitecture) -> Features:
    """The kind of features that an encoder takes."""
    with torch.device("meta"):
        return kinds.encoder_of(architecture.encoder).features


def output_lengths_of(architecture: AnyArchitecture) -> Callable:
    """The model's ``output_lengths``, without memory for the model."""
    with torch.device("meta"):
        return new_model(architecture).output_lengths


def runs_encoder(model: nn.Module) -> TypeGuard[EncoderModel]:
    """Whether training runs layers of a pretrained encoder, rather than read its kept frames."""
    return isinstance(model, EncoderModel) and model.input_layers != model.architecture.layers


def computed_s(model: nn.Module, durations_s: np.ndarray) -> np.ndarray:
    """Seconds that training computes for clips that last so long: an encoder may pad each."""
    if runs_encoder(model):
        return model.encoder.computed_s(durations_s)
    return durations_s


# Sizes that earlier versions do not know: a file of the default has none.
NOT_IN_EARLIER_FILES = ("mel_stride", "time_reach", "aux_vocab_size", "aux_layer")


def architecture_to_dict(architecture: AnyArchitecture) -> dict:
    """Plain values for the model file."""
    values = asdict(architecture)
    if isinstance(architecture, EncoderArchitecture):
        values["encoder"] = kinds.to_dict(architecture.encoder)
        values["layers"] = list(architecture.layers)
    for name in NOT_IN_EARLIER_FILES:
        if name in values and values[name] == getattr(type(architecture), name):
            del values[name]
    return values


def architecture_from_dict(values: dict) -> AnyArchitecture:
    """The inverse of ``architecture_to_dict``; ValueError or TypeError for anything else."""
    if "encoder" not in values:
        return Architecture(**values)
    encoder, layers = kinds.from_dict(dict(values["encoder"])), tuple(values["layers"])
    return EncoderArchitecture(**{**values, "encoder": encoder, "layers": layers})
