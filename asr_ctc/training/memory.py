"""What a run says of memory: the longest clip that fits, and what its longest batch keeps."""

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence

import torch

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.clip_memory import PROBES_S, ClipMemory, measure_clip_memory
from asr_ctc.acoustic.model_kinds import runs_encoder
from asr_ctc.display.terminal import several
from asr_ctc.loading.batch import Batch
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.training.optimiser import train_mode
from asr_ctc.training.run import Run

log = logging.getLogger(__name__)

GRADIENT_BYTES, AVERAGES_BYTES = 4, 8  # of each trained number: its gradient, Adam's two averages


def report_clip_memory(
    run: Run, sampler: DurationBatchSampler, optimizer: torch.optim.Optimizer
) -> None:
    """Logs the longest clip that fits beside the weights, and warns of batches that may not.

    For models whose encoder is run in training; where the system does not say what is free, not. A
    resumed run says it too: it may have another card, or another free share of one.
    """
    model, free = run.model, compute.free_memory_bytes(run.device)
    if not runs_encoder(model) or math.isnan(free):
        return
    train_mode(model, run.frozen)
    try:
        memory = measure_clip_memory(
            model, run.train.processor.settings, device=run.device, precision=run.precision
        )
    except RuntimeError as error:
        if not compute.is_out_of_memory(error):
            raise
        log.warning("out of memory on two clips of %g s: a smaller encoder may fit", PROBES_S[-1])
        return
    n_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    of_weights = n_trained * (GRADIENT_BYTES + (0 if optimizer.state else AVERAGES_BYTES))
    n_clips, longest_s = largest_batch(memory, sampler)
    needed, room = memory.of_batch(n_clips, longest_s), free - of_weights
    log.info(
        "memory, about: %.2f GB are free, of which gradients and averages of the weights take %.2f "
        "and the largest batch, %s of %.1f s, at most %.2f; the longest clip that fits has %s",
        free / 1e9,
        of_weights / 1e9,
        several(n_clips, "clip"),
        longest_s,
        needed / 1e9,
        _longest(memory, room, n_clips),
    )
    if needed > room:
        log.warning("%s", advice(memory, room, longest_s))


def largest_batch(memory: ClipMemory, sampler: DurationBatchSampler) -> tuple[int, float]:
    """Clips and seconds of the longest, of the batch of the first epoch that takes most memory."""
    _, computed_s = sampler.lengths_in(0)
    batches = ((len(rows), float(computed_s[rows].max())) for rows in sampler.batches(0))
    return max(batches, key=lambda batch: memory.of_batch(*batch))


def advice(memory: ClipMemory, room: float, longest_s: float) -> str:
    """What to do when a batch takes more memory than the ``room`` in bytes."""
    n_fitting = 0
    while memory.of_batch(n_fitting + 1, longest_s) <= room:
        n_fitting += 1
    if n_fitting:
        remedy = f"--batch_seconds {n_fitting * longest_s:.0f} fits, or --batch_size {n_fitting}"
    elif (alone_s := memory.longest_s(room)) > 0:
        remedy = f"not even its longest clip fits: --max_duration {alone_s:g}, or --last_layers"
    else:
        remedy = "no clip fits: --freeze_encoder with --cache_dir, or a smaller encoder"
    return f"the largest batch may not fit into memory: {remedy}"


def _longest(memory: ClipMemory, room: float, n_clips: int) -> str:
    alone = f"{memory.longest_s(room):.0f} s"
    if n_clips == 1:
        return alone
    return f"{alone} alone, {memory.longest_s(room, n_clips):.0f} s in a batch of {n_clips}"


@contextlib.contextmanager
def report_activations(run: Run, group: Sequence[Batch]) -> Iterator[None]:
    """Logs the activations that the first step, as a rule on the longest batch, keeps.

    Not where an encoder is run: ``report_clip_memory`` has said more, and the first steps may
    train the head alone.
    """
    if runs_encoder(run.model):
        yield
        return
    with compute.SavedActivations(run.model) as activations:
        yield
    seconds = [max(batch.durations) * len(batch.ids) for batch in group if batch.ids]
    log.info(
        "the %s batch, %.0f s of audio with padding, keeps %.0f MB of activations",
        "first" if run.config.training.sortagrad else "longest",
        max(seconds, default=0.0),
        activations.megabytes,
    )
