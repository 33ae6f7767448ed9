"""How the weights move: the optimiser, the learning rate over time, averages of weights."""

import logging

import torch
from torch import nn

from asr_ctc.config.settings import TrainingConfig

log = logging.getLogger("asr_ctc")


# ----------------------------------------------------------------------------------- optimiser


def make_optimizer(model: nn.Module, training: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over what ``freeze`` left of the model.

    Weights decay, biases and normalisation layers do not, as is usual: decay keeps products of
    weights and inputs small, which these are not. Each parameter group carries ``part``, its part
    of the model, and ``lr_factor``, that part's share of the learning rate. AdamW without decay is
    Adam. Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization".
    """
    factors = {"cnn": training.lr_cnn, "rnn": training.lr_rnn, "out": training.lr_out}
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
    """The part of the model (cnn, rnn, out) that a parameter belongs to, by its name."""
    layer = name.split(".")[0]
    return {"cnn": "cnn", "charlin": "out"}.get(layer, "rnn")


def freeze(model: nn.Module, parts: list[str]) -> None:
    """The named parts get no gradient; all others do."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) not in parts)


def train_mode(model: nn.Module, frozen: list[str]) -> None:
    """``model.train()``, but normalisation layers of frozen parts use and keep their statistics."""
    model.train()
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and part_of(name) in frozen:
            module.eval()


# ------------------------------------------------------------------------------- learning rate


# -------------------------------------------------------------------------- averages of weights
