"""One step of the optimiser: forward, CTC loss, backward, clipping, and what may go wrong."""

import contextlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.ctc_model import log_posteriors
from asr_ctc.acoustic.loss import ctc_losses
from asr_ctc.base.errors import UserError
from asr_ctc.loading.batch import Batch
from asr_ctc.training.distributed import ALONE, World
from asr_ctc.training.interruption import Interruption

log = logging.getLogger("asr_ctc")


@dataclass
class Step:
    """What a step did: mean loss over its clips, gradient norm before clipping, was it taken.

    ``n_clips`` is 0 where nothing was wrong and yet no step made: there was no clip that can be
    used, or the scaler of fp16 seeks its scale.
    """

    loss: float
    n_clips: int
    grad_norm: float
    taken: bool


def train_step(
    model: nn.Module,
    batches: Sequence[Batch],
    optimizer: torch.optim.Optimizer,
    grad_clip: float | None,
    device: torch.device,
    precision: str,
    scaler: torch.amp.GradScaler,
    world: World = ALONE,
    interruption: Interruption | None = None,
) -> Step:
    """One step on batches whose gradients are added up, in this and all other processes.

    The objective is the mean loss over all their clips, whichever batch or process has them, plus
    the model's penalty. A step whose loss or gradient is not finite, or that needs more memory than
    there is, leaves weights, statistics and optimiser as they were, and its clips are named.
    UserError when memory runs out while weights are moved, or while other processes wait for this
    one. KeyboardInterrupt, in all processes alike and before anything is done, when one of them is
    asked to stop.
    """
    n_batches, batches = len(batches), [batch for batch in batches if batch.ids]
    n_here = sum(len(batch.ids) for batch in batches)
    # Each must call the model as often as the others, who may share statistics in every call.
    is_idle = n_here == 0 or (world.size > 1 and len(batches) < n_batches)
    interruption = interruption or Interruption()
    n_clips, n_idle, *asked = world.sum([n_here, is_idle, *interruption.asked], device)
    interruption.agree(asked)
    if n_idle:
        if world.size > 1:
            log.warning("step skipped: a batch has no clip that can be used")
        return Step(math.nan, 0, math.nan, False)
    plain = model.module if isinstance(model, DistributedDataParallel) else model
    statistics = [buffer.clone() for buffer in plain.buffers()]
    optimizer.zero_grad(set_to_none=True)
    try:
        losses = []
        for batch in batches:
            # The gradients of the processes are averaged, once, when the last is computed.
            waits = model is not plain and batch is not batches[-1]
            with model.no_sync() if waits else contextlib.nullcontext():
                batch_losses, objective = _objective(model, batch, device, precision)
                objective = objective * (world.size / n_clips)
                if batch is batches[-1]:
                    objective = objective + plain.penalty()
                scaler.scale(objective).backward()
            losses.append(batch_losses)
        scaler.unscale_(optimizer)
        limit = math.inf if grad_clip is None else grad_clip
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        here, grad_norm = torch.stack([torch.cat(losses).sum(), grad_norm]).tolist()
        loss = world.sum([here], device)[0] / n_clips
    except RuntimeError as error:
        _restore(plain, statistics, optimizer)
        if not compute.is_out_of_memory(error):
            raise
        _refuse_or_name(batches, world)
        return Step(math.nan, int(n_clips), math.nan, False)

    taken = math.isfinite(loss) and math.isfinite(grad_norm)
    # Below 1 it is not the scale that makes gradients too large.
    seeks_scale = not taken and math.isfinite(loss) and scaler.get_scale() > 1
    if taken:
        _move(optimizer, scaler)
    else:
        _restore(plain, statistics, optimizer)
        if not seeks_scale:
            _name_not_finite(batches, losses, world)
    scaler.update()
    return Step(loss, 0 if seeks_scale else int(n_clips), grad_norm, taken)


def _objective(model, batch: Batch, device, precision) -> tuple[torch.Tensor, torch.Tensor]:
    """(the loss of each clip (B,), without gradient; their sum)."""
    batch = batch.to(device)
    with compute.autocast(device, precision):
        logp, n_frames = log_posteriors(model, batch[0])
    losses = ctc_losses(logp, n_frames, batch[1])
    return losses.detach(), losses.sum()


def _move(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    """The optimiser's own step, which needs memory too: at first for what it keeps of each weight.

    UserError when there is none; some of the weights may have been moved then.
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


def _restore(model: nn.Module, statistics: list[torch.Tensor], optimizer) -> None:
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


def _refuse_or_name(batches: Sequence[Batch], world: World) -> None:
    largest = max(batches, key=lambda batch: len(batch.ids) * max(batch.durations))
    n_clips, longest_s = len(largest.ids), max(largest.durations)
    what = (
        f"out of memory on a batch of {n_clips} clips, padded to {longest_s:.1f} s each, "
        f"{n_clips * longest_s:.0f} s in all"
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
