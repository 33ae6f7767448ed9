"""`train --debug`: can the model learn one batch by heart? If not, something is broken."""

import logging
import signal

import torch
from torch.nn.utils.rnn import pad_packed_sequence

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.log_posteriors import log_posteriors
from asr_ctc.base.errors import UserError
from asr_ctc.base.progress import bar
from asr_ctc.config.load import Config
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import Hypothesis
from asr_ctc.display.terminal import several
from asr_ctc.loading.batch import Batch
from asr_ctc.loading.loader import make_loader
from asr_ctc.training import distributed
from asr_ctc.training.epoch_log import N_SHOWN
from asr_ctc.training.loop import make_sampler
from asr_ctc.training.optimiser import make_optimizer, train_mode
from asr_ctc.training.result import OverfitResult
from asr_ctc.training.resume import find_start
from asr_ctc.training.run import Run
from asr_ctc.training.setup import set_up_run
from asr_ctc.training.step import Reason, Skipped, Step, train_step

log = logging.getLogger(__name__)

DEBUG_CHECK_EVERY = 10


def overfit_one_batch(config: Config) -> OverfitResult:
    """`main_ctc.py train --debug`: trains on one batch until it is decoded perfectly.

    Dropout, penalties, weight decay, masks and the scheduler are off, so that nothing stands
    between the model and the batch. UserError when torchrun started several processes, each of
    which would do the same.
    """
    if distributed.n_processes() > 1:
        raise UserError("--debug trains in one process: start it with python, not with torchrun")
    n_steps = n_steps_of(config)
    run = set_up_run(find_start(without_regularisation(config)))
    config = run.config
    batch = first_batch(run)
    optimizer = make_optimizer(run.model, config.training)
    scaler = compute.make_scaler(run.device, run.precision)
    assert batch.transcripts is not None  # it has clips
    labels, n_labels = pad_packed_sequence(batch.transcripts.cpu(), batch_first=True)
    references = [tuple(row[:n].tolist()) for row, n in zip(labels, n_labels, strict=True)]
    steps: list[Step | Skipped] = []
    try:
        with bar(title="debug", unit="step", total=n_steps) as progress:
            for number in range(1, n_steps + 1):
                train_mode(run.model, run.frozen)
                step = train_step(
                    run.model,
                    [batch],
                    optimizer,
                    device=run.device,
                    precision=run.precision,
                    scaler=scaler,
                    objective=run.objective,
                    grad_clip=config.training.grad_clip,
                )
                steps.append(step)
                progress.update()
                if number % DEBUG_CHECK_EVERY and number < n_steps:
                    continue
                decoded = decode_batch(run, batch)
                n_right = sum(
                    hyps[0].labels == reference
                    for hyps, reference in zip(decoded, references, strict=True)
                )
                progress.set_postfix_str(f"{outcome_of(step)}, {n_right}/{len(references)} perfect")
                if n_right == len(references):
                    log.info(
                        "PASSED: all %s of the batch decoded perfectly after %s (%s): "
                        "the model can learn.",
                        several(len(references), "clip"),
                        several(number, "step"),
                        outcome_of(step),
                    )
                    return OverfitResult(passed=True, n_steps=number)
    except KeyboardInterrupt:
        log.info(
            "stopped by Ctrl-C after %s%s; nothing is saved",
            several(len(steps), "step"),
            f", {outcome_of(steps[-1])}" if steps else "",
        )
        return OverfitResult(passed=False, n_steps=len(steps), signal=signal.SIGINT)
    for hyps, sentence in list(zip(decoded, batch.sentences, strict=True))[:N_SHOWN]:
        log.info("  ref %s\n  hyp %s", sentence, hyps[0].text)
    log.info(
        "FAILED: %d of %s decoded perfectly after %s. %s",
        n_right,
        several(len(references), "clip"),
        several(n_steps, "step"),
        diagnose(steps, decoded),
    )
    return OverfitResult(passed=False, n_steps=n_steps)


def n_steps_of(config: Config) -> int:
    """The steps within which the batch must be learnt; earlier, --num_epochs said so."""
    if "num_epochs" in config.typed and "debug_steps" not in config.given:
        return config.training.num_epochs
    return config.training.debug_steps


def first_batch(run: Run) -> Batch:
    """The first batch that has clips, on the run's device; UserError if none has."""
    batches = make_loader(run.train, make_sampler(run.train_corpus, run.model, run.config), 0)
    batch = next((batch for batch in batches if batch.ids), None)
    if batch is None:
        raise UserError("--debug: no clip of the training split can be used")
    run.report_excluded_once(batch.excluded)
    return batch.to(run.device)


def without_regularisation(config: Config) -> Config:
    """The settings with nothing that keeps a model from learning a batch by heart."""
    return config.replace(
        cache_dir=None,
        train_augment=False,
        augment=[],
        dropout=0.0,
        rnn_dropout=0.0,
        mask_time=0.0,
        mask_feature=0.0,
        layer_drop=0.0,
        encoder_copies=1,
        l1=0.0,
        l2=0.0,
        weight_decay=0.0,
        scheduler=None,
    )


def outcome_of(step: Step | Skipped) -> str:
    if isinstance(step, Skipped):
        return f"step skipped: {step.reason.value}"
    return f"loss {step.loss:.4f}"


@torch.inference_mode()
def decode_batch(run: Run, batch: Batch) -> list[list[Hypothesis]]:
    run.model.eval()
    with compute.autocast(run.device, run.precision):
        assert batch.spectrograms is not None
        logp, n_frames = log_posteriors(run.model, batch.spectrograms)
    return greedy_decode(logp, n_frames, run.charmap)


def diagnose(steps: list[Step | Skipped], decoded: list[list[Hypothesis]]) -> str:
    """What a failure to overfit looks like, in words."""
    if isinstance(steps[-1], Skipped):
        if steps[-1].reason is Reason.OUT_OF_MEMORY:
            return "The batch needs more memory than there is: lower --batch_size."
        return "The loss or its gradient is not finite: lower --base_lr or --grad_clip."
    losses = [step.loss for step in steps if isinstance(step, Step)]
    first, last = losses[0], losses[-1]
    if len(steps) < DEBUG_CHECK_EVERY:
        return (
            "So few steps tell nothing: give more (--debug_steps, or with --debug --num_epochs, "
            "which then counts steps)."
        )
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
