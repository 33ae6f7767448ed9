"""One step of the optimiser: forward, loss, backward, clipping, and what may go wrong."""

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.loss import ctc_objective
from asr_ctc.acoustic.model_kinds import computed_s
from asr_ctc.base.errors import UserError
from asr_ctc.display.terminal import several
from asr_ctc.loading.batch import Batch
from asr_ctc.training.distributed import ALONE, World

log = logging.getLogger(__name__)


Objective = Callable[[nn.Module, Batch], torch.Tensor]  # the loss of each clip (B,)


@dataclass(frozen=True)
class Step:
    """A step that was taken: mean loss over its clips, gradient norm before clipping."""

    loss: float
    n_clips: int
    grad_norm: float


class Reason(Enum):
    """Why a step was skipped."""

    NO_CLIPS = "a batch has no clip that can be used"
    CALIBRATING = "the scaler of fp16 is still calibrating"
    OUT_OF_MEMORY = "out of memory"
    NOT_FINITE = "the loss or the gradient is not finite"


@dataclass(frozen=True)
class Skipped:
    """A step that left weights, statistics and optimiser as they were."""

    reason: Reason

    @property
    def is_failure(self) -> bool:
        """False where nothing is wrong with the training."""
        return self.reason in (Reason.OUT_OF_MEMORY, Reason.NOT_FINITE)


def train_step(
    model: nn.Module,
    batches: Sequence[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    device: torch.device,
    precision: str,
    scaler: torch.amp.GradScaler,
    objective: Objective = ctc_objective,
    grad_clip: float | None = None,
    world: World = ALONE,
) -> Step | Skipped:
    """One step on batches whose gradients are added up, in this and all other processes.

    It minimises the mean of ``objective`` over all their clips, whichever batch or process has
    them, plus the model's penalty. The objective runs in ``precision``; the gradient is clipped to
    the norm ``grad_clip``. A step whose loss or gradient is not finite, or that needs more memory
    than there is, is skipped and its clips are named. UserError when memory runs out while weights
    are moved, or while other processes wait for this one.
    """
    n_batches, batches = len(batches), [batch for batch in batches if batch.ids]
    n_here = sum(len(batch.ids) for batch in batches)
    # Every process must call the model equally often: they may share statistics in every call.
    is_idle = n_here == 0 or (world.size > 1 and len(batches) < n_batches)
    n_clips, n_idle = world.sum([n_here, is_idle], device)
    if n_idle:
        if world.size > 1:
            log.warning("step skipped: %s", Reason.NO_CLIPS.value)
        return Skipped(Reason.NO_CLIPS)
    plain: Any = model.module if isinstance(model, DistributedDataParallel) else model
    statistics = [buffer.clone() for buffer in plain.buffers()]
    optimizer.zero_grad(set_to_none=True)
    try:
        losses = []
        for batch in batches:
            # The gradients of the processes are averaged, once, when the last is computed.
            synchronization: contextlib.AbstractContextManager = contextlib.nullcontext()
            if isinstance(model, DistributedDataParallel) and batch is not batches[-1]:
                synchronization = model.no_sync()
            with synchronization:
                with compute.autocast(device, precision):
                    batch_losses = objective(model, batch.to(device))
                total = batch_losses.sum() * (world.size / n_clips)
                if batch is batches[-1]:
                    total = total + plain.penalty()
                scaler.scale(total).backward()
            losses.append(batch_losses.detach())
        scaler.unscale_(optimizer)
        limit = math.inf if grad_clip is None else grad_clip
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        here, grad_norm = torch.stack([torch.cat(losses).sum(), grad_norm]).tolist()
        loss = world.sum([here], device)[0] / n_clips
    except RuntimeError as error:
        _restore(plain, statistics, optimizer)
        if not compute.is_out_of_memory(error):
            raise
        _refuse_or_name(batches, plain, world)
        return Skipped(Reason.OUT_OF_MEMORY)

    if math.isfinite(loss) and math.isfinite(grad_norm):
        _move(optimizer, scaler)
        scaler.update()
        return Step(loss, int(n_clips), grad_norm)
    _restore(plain, statistics, optimizer)
    # Below 1 it is not the scale that makes gradients too large.
    is_calibrating = math.isfinite(loss) and scaler.get_scale() > 1
    if not is_calibrating:
        _name_not_finite(batches, losses, world)
    scaler.update()
    return Skipped(Reason.CALIBRATING if is_calibrating else Reason.NOT_FINITE)


def _move(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    """The optimiser's own step, which needs memory too: at first for what it keeps of each weight.

    UserError when there is none; some of the weights may have moved then.
    """
    try:
        scaler.step(optimizer)
    except RuntimeError as error:
        if not compute.is_out_of_memory(error):
            raise
        raise UserError(
            "out of memory while the optimiser moved the weights, which are not saved: the last "
            "save stands; in a new run, a smaller --batch_seconds or --batch_size helps, or a "
            "smaller model (--nhidden_rnn)"
        ) from None


def _restore(
    model: nn.Module, statistics: list[torch.Tensor], optimizer: torch.optim.Optimizer
) -> None:
    for buffer, before in zip(model.buffers(), statistics, strict=True):
        buffer.copy_(before)
    optimizer.zero_grad(set_to_none=True)


def _name_not_finite(batches: Sequence[Batch], losses: list[torch.Tensor], world: World) -> None:
    ids = [clip for batch in batches for clip in batch.ids]
    pairs = world.gather(zip(ids, torch.cat(losses).tolist(), strict=True))
    infinite = [(clip, loss) for clip, loss in pairs if not math.isfinite(loss)]
    log.warning(
        "step skipped: the %s not finite; clips and their losses: %s",
        "loss is" if infinite else "gradient is",
        ", ".join(f"{clip} ({loss:.3g})" for clip, loss in infinite or pairs),
    )


def _refuse_or_name(batches: Sequence[Batch], model: nn.Module, world: World) -> None:
    def longest(batch: Batch) -> float:
        return float(computed_s(model, np.array(batch.durations)).max())

    largest = max(batches, key=lambda batch: len(batch.ids) * longest(batch))
    n_clips, longest_s = len(largest.ids), longest(largest)
    what = (
        f"out of memory on a batch of {several(n_clips, 'clip')}, padded to {longest_s:.1f} s "
        f"each, {n_clips * longest_s:.0f} s in all"
    )
    advice = (
        f"in a new run, a --batch_seconds below {n_clips * longest_s:.0f} or a smaller "
        "--batch_size helps"
    )
    if world.size > 1:
        raise UserError(f"{what}; {advice}")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    log.warning("step skipped: %s; %s; clips: %s", what, advice, ", ".join(largest.ids))
