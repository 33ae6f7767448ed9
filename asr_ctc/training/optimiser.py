"""How the weights move: optimisers, the learning rate over time, averages of weights."""

import copy
import logging
import math

import torch
from torch import nn

from asr_ctc.config.settings import TrainingConfig

log = logging.getLogger("asr_ctc")

ONECYCLE_RISE = 0.3  # share of all steps, where no --warmup_steps are given
ONECYCLE_START = 1 / 25  # of the peak


# ---------------------------------------------------------------------------------- optimisers


def make_optimizer(model: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum, over what ``freeze`` left of the model.

    Weights decay, biases and normalisation layers do not, as is usual: decay keeps products of
    weights and inputs small, which these are not. Each parameter group carries ``part``, its part
    of the model, and ``lr_factor``, that part's share of the learning rate. AdamW without decay is
    Adam. Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"; Sutskever et al. 2013.
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
    if training.optimizer == "sgd":
        momentum = training.momentum
        return torch.optim.SGD(groups, momentum=momentum, nesterov=momentum > 0, fused=True)
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


class Schedule:
    """Sets the learning rate of an optimiser before every step; see ``rate``.

    Call ``step_batch`` after each optimiser step and ``step_epoch`` after each epoch.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, training: TrainingConfig, steps_per_epoch: int
    ):
        self.optimizer, self.training = optimizer, training
        self.steps_per_epoch = steps_per_epoch
        self.step = self.epoch = self.n_halvings = self.epochs_since = 0
        self._set()

    @property
    def lr(self) -> float:
        """The learning rate of the next step, of a part whose factor is 1."""
        place = self.step, self.epoch, self.n_halvings, self.steps_per_epoch
        return self.training.base_lr * rate(self.training, *place)

    def step_batch(self) -> None:
        self.step += 1
        self._set()

    def step_epoch(self, *, improved: bool) -> None:
        """``improved``: is this epoch the best so far? Plateau halves when none is for long."""
        self.epoch += 1
        self.epochs_since = 0 if improved else self.epochs_since + 1
        if self.epochs_since == self.training.scheduler_step:
            self.n_halvings, self.epochs_since = self.n_halvings + 1, 0
        self._set()

    def begin_epoch(self) -> None:
        """Goes to the first step of the epoch, which may have another number of steps now."""
        self.step = self.epoch * self.steps_per_epoch
        self._set()

    def _set(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * group["lr_factor"]

    def state_dict(self) -> dict:
        names = ("step", "epoch", "n_halvings", "epochs_since")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict) -> None:
        for name in self.state_dict():
            setattr(self, name, state[name])
        self._set()


def make_schedule(
    optimizer: torch.optim.Optimizer, training: TrainingConfig, steps_per_epoch: int
) -> Schedule:
    """The schedule that ``--scheduler`` and ``--warmup_steps`` ask for.

    Warm-up is counted in steps, not epochs, because its reason is: Adam's estimate of the
    gradient's variance needs about 2 / (1 − β₂) = 2,000 of them, whatever the size of the corpus.
    Ma & Yarats 2021, "On the adequacy of untuned warmup for adaptive optimization".
    """
    n_steps = training.num_epochs * steps_per_epoch
    if training.warmup_steps >= n_steps:
        log.warning(
            "--warmup_steps %d: the training has %d steps, so that the learning rate never "
            "reaches --base_lr",
            training.warmup_steps,
            n_steps,
        )
    return Schedule(optimizer, training, steps_per_epoch)


def rate(
    training: TrainingConfig, step: int, epoch: int, n_halvings: int, steps_per_epoch: int
) -> float:
    """Share of ``--base_lr`` at a step of an epoch (both from 0) after so many plateaus.

    step, exponential: halved every ``scheduler_step`` epochs, at once or gradually. plateau: halved
    ``n_halvings`` times. cosine: from 1 to 0 (Loshchilov & Hutter 2017, "SGDR", without restarts).
    Without one of them: 1. These rise linearly at first, over ``warmup_steps``. onecycle: from 1/25
    up to 1 over ``warmup_steps``, else 30 % of all steps, then down to 0, both along a cosine
    (Smith & Topin 2019, "Super-convergence", without its cycle of the momentum).
    """
    kind, warmup = training.scheduler, training.warmup_steps
    n_steps = training.num_epochs * steps_per_epoch
    if kind == "onecycle":
        rise = warmup or round(ONECYCLE_RISE * n_steps)
        if step < rise:
            return _cosine(ONECYCLE_START, 1.0, step / rise)
        return _cosine(1.0, 0.0, (step - rise) / max(1, n_steps - rise))
    share = 1.0
    if kind == "step":
        share = 0.5 ** (epoch // training.scheduler_step)
    elif kind == "exponential":
        share = 0.5 ** (step / steps_per_epoch / training.scheduler_step)
    elif kind == "plateau":
        share = 0.5**n_halvings
    elif kind == "cosine":
        share = _cosine(1.0, 0.0, max(0, step - warmup) / max(1, n_steps - warmup))
    return share * min(1.0, (step + 1) / warmup) if warmup else share


def _cosine(start: float, end: float, progress: float) -> float:
    """From start to end along half a wave; progress from 0 to 1, and 1 beyond."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


# -------------------------------------------------------------------------- averages of weights


class WeightAverage:
    """An exponential moving average of a model's weights, as a ``model`` of its own.

    After n updates the newest weights count 1 − d, with d the smaller of ``decay`` and
    (1 + n) / (10 + n): the average follows closely at first, when the weights move far. The running
    statistics of normalisation layers are averaged along; counters are those of the model.
    Polyak & Juditsky 1992; the warm-up is TensorFlow's.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.source, self.decay, self.n_updates = model, decay, 0
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        for module in self.model.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # cuDNN wants them in one piece, which a copy is not

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the model's weights; call it after each optimiser step."""
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        self.n_updates += 1
        averages = self.model.state_dict()
        for name, value in self.source.state_dict().items():
            if value.is_floating_point():
                averages[name].lerp_(value, 1 - decay)
            else:
                averages[name].copy_(value)

    def state_dict(self) -> dict:
        return {"n_updates": self.n_updates, "model": self.model.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.n_updates = state["n_updates"]


def average_state_dicts(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of the weights of several models of one architecture; counters are the last's.

    ValueError when their tensors differ in name or shape. Izmailov et al. 2018, "Averaging weights
    leads to wider optima and better generalization".
    """
    *_, last = states
    shapes = {name: value.shape for name, value in last.items()}
    if any({name: value.shape for name, value in state.items()} != shapes for state in states):
        raise ValueError("only models of one architecture can be averaged")
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for name, value in last.items()
    }
