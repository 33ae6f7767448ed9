"""`train --debug`: can the model learn one batch by heart? If not, something is broken."""

import logging
import math

import torch
from torch.nn.utils.rnn import pad_packed_sequence

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.ctc_model import log_posteriors
from asr_ctc.base.errors import UserError
from asr_ctc.base.progress import bar
from asr_ctc.config.load import Config
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.loading.batch import Batch
from asr_ctc.loading.loader import make_loader
from asr_ctc.training import distributed
from asr_ctc.training.epoch_log import N_SHOWN
from asr_ctc.training.loop import make_sampler
from asr_ctc.training.optimiser import make_optimizer
from asr_ctc.training.resume import find_start
from asr_ctc.training.setup import Run, setup
from asr_ctc.training.step import train_step

log = logging.getLogger("asr_ctc")

DEBUG_CHECK_EVERY = 10


def overfit_one_batch(config: Config, command: list[str]) -> int:
    """`main_ctc.py train --debug`: status 0 once one batch is decoded perfectly, 1 if it never is.

    Dropout, penalties, weight decay, masks and the scheduler are off, so that nothing stands
    between the model and the batch. UserError when torchrun started several processes, each of
    which would do the same.
    """
    if distributed.n_processes() > 1:
        raise UserError("--debug trains in one process: start it with python, not with torchrun")
    config = config.replace(
        dropout=0.0,
        l1=0.0,
        l2=0.0,
        weight_decay=0.0,
        scheduler=None,
        train_augment=False,
        augment=[],
        cache_dir=None,
    )
    n_steps = config.training.debug_steps
    if "num_epochs" in config.typed and "debug_steps" not in config.given:
        n_steps = config.training.num_epochs  # what typed the number of steps before
    run = setup(find_start(config), command)
    batches = make_loader(run.train, make_sampler(run.train_corpus.durations, run.config), 0)
    batch = next((batch for batch in batches if batch.ids), None)
    if batch is None:
        raise UserError("--debug: no clip of the training split can be used")
    run.name_left_out(batch.left_out)
    batch = batch.to(run.device)
    optimizer = make_optimizer(run.model, config.training)
    scaler = compute.make_scaler(run.device, run.precision)
    labels, n_labels = pad_packed_sequence(batch[1].to("cpu"), batch_first=True)
    wanted = [tuple(row[:n].tolist()) for row, n in zip(labels, n_labels, strict=True)]
    losses = []
    try:
        with bar(title="debug", unit="step", total=n_steps) as steps:
            for step in range(1, n_steps + 1):
                run.model.train()
                result = train_step(
                    run.model,
                    [batch],
                    optimizer,
                    config.training.grad_clip,
                    run.device,
                    run.precision,
                    scaler,
                )
                losses.append(result.loss)
                steps.update()
                if step % DEBUG_CHECK_EVERY and step < n_steps:
                    continue
                decoded = decode_batch(run, batch)
                n_right = sum(hyps[0].labels == w for hyps, w in zip(decoded, wanted, strict=True))
                steps.set_postfix_str(f"loss {result.loss:.4f}, {n_right}/{len(wanted)} perfect")
                if n_right == len(wanted):
                    log.info(
                        "PASSED: all %d clips of the batch decode perfectly after %d steps "
                        "(loss %.4f): the model can learn.",
                        len(wanted),
                        step,
                        result.loss,
                    )
                    return 0
    except KeyboardInterrupt:
        log.info(
            "stopped by Ctrl-C after %d steps, loss %.4f; nothing is saved",
            len(losses),
            losses[-1] if losses else math.nan,
        )
        return 130
    for hyps, sentence in list(zip(decoded, batch.sentences, strict=True))[:N_SHOWN]:
        log.info("  ref %s\n  hyp %s", sentence, hyps[0].text)
    log.info(
        "FAILED: %d of %d clips decode perfectly after %d steps. %s",
        n_right,
        len(wanted),
        n_steps,
        diagnose(losses, decoded),
    )
    return 1


@torch.inference_mode()
def decode_batch(run: Run, batch: Batch) -> list[list[Hypothesis]]:
    run.model.eval()
    with compute.autocast(run.device, run.precision):
        logp, n_frames = log_posteriors(run.model, batch[0])
    return greedy_decode(logp, n_frames, run.charmap)


def diagnose(losses: list[float], decoded: list[list[Hypothesis]]) -> str:
    """What a failure to overfit looks like, in words."""
    first, last = losses[0], losses[-1]
    if not math.isfinite(last):
        return "The loss is not finite: lower --base_lr, or set --grad_clip."
    if len(losses) < DEBUG_CHECK_EVERY:
        return "So few steps tell nothing: give more (--debug_steps)."
    if last > 0.9 * first:
        return f"The loss did not fall ({first:.3f} to {last:.3f}): lower or raise --base_lr."
    if all(not hyps[0].labels for hyps in decoded):
        return (
            f"Only blanks are predicted yet (loss {first:.3f} to {last:.3f}), the usual first "
            "stage: more steps (--debug_steps), or a higher --base_lr."
        )
    return (
        f"The loss fell from {first:.3f} to {last:.3f} but not far enough: more steps "
        "(--debug_steps), another --base_lr, or a larger model."
    )
