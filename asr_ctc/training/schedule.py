"""The learning rate over the steps of a run."""

import logging
import math

import torch

from asr_ctc.config.settings.training import TrainingConfig

log = logging.getLogger(__name__)


ONECYCLE_RISE = 0.3  # share of all steps, where no --warmup_steps are given
ONECYCLE_START = 1 / 25  # of the peak
TRISTAGE_RISE, TRISTAGE_HOLD = 0.1, 0.4  # shares of all steps


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
        share = rate(
            self.training,
            step=self.step,
            epoch=self.epoch,
            n_halvings=self.n_halvings,
            steps_per_epoch=self.steps_per_epoch,
        )
        return self.training.base_lr * share

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
    training: TrainingConfig, *, step: int, epoch: int, n_halvings: int, steps_per_epoch: int
) -> float:
    """Share of ``--base_lr`` at a step of an epoch (both from 0) after so many plateaus.

    step: halved every ``scheduler_step`` epochs. plateau: halved ``n_halvings`` times. cosine: from
    1 to 0 (Loshchilov & Hutter 2017, "SGDR", without restarts). Without one of them: 1. These rise
    linearly at first, over ``warmup_steps``. onecycle: from 1/25 up to 1 over ``warmup_steps``,
    else 30 % of all steps, then down to 0, both along a cosine (Smith & Topin 2019,
    "Super-convergence", without its cycle of the momentum). tristage: from 0 up to 1 over
    ``warmup_steps``, else 10 % of all steps, constant for 40 %, then down to 0, both linearly
    (Baevski et al. 2020, "wav2vec 2.0", section 4.3).
    """
    kind, warmup = training.scheduler, training.warmup_steps
    n_steps = training.num_epochs * steps_per_epoch
    if kind == "onecycle":
        rise = warmup or round(ONECYCLE_RISE * n_steps)
        if step < rise:
            return _cosine(ONECYCLE_START, 1.0, step / rise)
        return _cosine(1.0, 0.0, (step - rise) / max(1, n_steps - rise))
    if kind == "tristage":
        rise = warmup or round(TRISTAGE_RISE * n_steps)
        fall = rise + round(TRISTAGE_HOLD * n_steps)
        if step < rise:
            return (step + 1) / rise
        return min(1.0, max(0.0, (n_steps - step) / max(1, n_steps - fall)))
    share = 1.0
    if kind == "step":
        share = 0.5 ** (epoch // training.scheduler_step)
    elif kind == "plateau":
        share = 0.5**n_halvings
    elif kind == "cosine":
        share = _cosine(1.0, 0.0, max(0, step - warmup) / max(1, n_steps - warmup))
    return share * min(1.0, (step + 1) / warmup) if warmup else share


def _cosine(start: float, end: float, progress: float) -> float:
    """From start to end along half a wave; progress from 0 to 1, and 1 beyond."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
