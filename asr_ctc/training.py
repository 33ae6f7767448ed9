"""Training: the loop, from a configuration to a model file. Read ``fit`` first."""

import contextlib
import logging
import logging.handlers
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from asr_ctc import compute
from asr_ctc.checkpoint import save_model
from asr_ctc.config import Config, TrainingConfig
from asr_ctc.corpus import refuse_if_mostly_broken
from asr_ctc.data import Batch, make_loader
from asr_ctc.evaluation import ctc_losses, evaluate
from asr_ctc.models import CTCModel
from asr_ctc.progress import bar
from asr_ctc.reporting import N_SHOWN, record
from asr_ctc.runs import Run, check_run_folder, make_run_folder, setup, write_description
from asr_ctc.sampling import DurationBatchSampler

log = logging.getLogger("asr_ctc")


def train(config: Config, command: list[str]) -> int:
    """`main_ctc.py train`: exit status 0, or 130 after Ctrl-C."""
    # What is said before there is a folder, such as which clips are left out, is kept for its log.
    early = logging.handlers.MemoryHandler(10**6, flushLevel=logging.CRITICAL + 1)
    log.addHandler(early)
    try:
        check_run_folder(config)
        run = setup(config, command)
        folder = make_run_folder(config)
    finally:
        log.removeHandler(early)
    handler = logging.FileHandler(folder / "train.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    early.setTarget(handler)
    early.close()
    log.addHandler(handler)
    try:
        with contextlib.closing(SummaryWriter(folder)) as writer:
            write_description(run, folder)
            return fit(run, folder, writer)
    finally:
        log.removeHandler(handler)
        handler.close()


def fit(run: Run, folder: Path, writer) -> int:
    """The training loop: an epoch, an evaluation, the figures, the files; until done or Ctrl-C."""
    training = run.config.training
    n_threads = run.config.corpus.nthreads
    sampler = make_sampler(run.train_corpus.durations, training)
    log.info(
        "%d batches per epoch, %.1f %% of them padding", len(sampler), 100 * sampler.padding_share()
    )
    train_loader = make_loader(run.train, sampler, n_threads)
    dev_batches = make_sampler(run.dev.corpus.durations, training, shuffle=False)
    dev_loader = make_loader(run.dev, dev_batches, n_threads)
    optimizer = make_optimizer(run.model, run.config)
    scheduler = None
    if training.scheduler:
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, training.scheduler_step, 0.5)
    best, epoch = None, 0
    try:
        try_evaluation(run, dev_batches)
        for epoch in range(1, training.num_epochs + 1):
            sampler.epoch = epoch - 1
            figures = train_epoch(run, train_loader, optimizer, f"epoch {epoch}")
            dev = evaluate(run.model, dev_loader, run.device, progress="dev")
            run.name_left_out(dev.left_out)
            refuse_if_mostly_broken(run.dev.corpus.name, dev.left_out, len(run.dev))
            scores = dev.score()
            figures |= {
                "epoch": epoch,
                "dev_loss": dev.loss,
                "dev_cer": scores.cer,
                "dev_wer": scores.wer,
                "lr": optimizer.param_groups[0]["lr"],
            }
            rank = (scores.cer, dev.loss)
            is_best = best is None or rank < best
            kept = ("epoch", "dev_cer", "dev_wer", "dev_loss")
            file = run.model_file({name: figures[name] for name in kept})
            if is_best:
                save_model(folder / "best_model.pt", file)
                best = rank
            save_model(folder / "last.pt", file)
            record(run, folder, writer, figures, dev, is_best)  # what it announces is on the disk
            if scheduler:
                scheduler.step()
    except KeyboardInterrupt:
        save_model(folder / "last.pt", run.model_file({"epoch": epoch, "interrupted": True}))
        kept = "best_model.pt is the best so far; " if best else ""
        log.info(
            "stopped by Ctrl-C in epoch %d. %sgo on from the last weights with:\n"
            "  python main_ctc.py train --config %s --resume_from %s",
            epoch,
            kept,
            folder / "config.yaml",
            folder / "last.pt",
        )
        return 130
    cer, loss = best
    log.info(
        "done: best dev CER %.2f %% (dev loss %.4f) in %s",
        100 * cer,
        loss,
        folder / "best_model.pt",
    )
    return 0


def try_evaluation(run: Run, dev_batches: DurationBatchSampler) -> None:
    """Scores two dev batches before any training, so that a broken evaluation fails at once."""
    loader = make_loader(run.dev, list(dev_batches)[-2:], 0)
    evaluation = evaluate(run.model, loader, run.device)
    scores = evaluation.score()
    log.info(
        "before training, on %d dev clips: loss %.3f, CER %.1f %%",
        len(evaluation.clips),
        evaluation.loss,
        100 * scores.cer,
    )
    for clip in evaluation.clips[:N_SHOWN]:
        log.info("  %r is read as %r", clip.reference, clip.hypotheses[0].text)


def train_epoch(run: Run, loader: DataLoader, optimizer, title: str) -> dict:
    """One pass over the training split; returns its figures."""
    run.model.train()
    clip_losses, grad_norms, seconds, n_skipped, left_out = [], [], 0.0, 0, []
    started, waited = time.perf_counter(), 0.0
    with bar(title=title, unit="batch", total=len(loader)) as batches:
        asked = time.perf_counter()
        for batch in loader:
            waited += time.perf_counter() - asked
            left_out += batch.left_out
            run.name_left_out(batch.left_out)
            refuse_if_mostly_broken(run.train_corpus.name, left_out, len(run.train))
            if batch.ids:
                step = train_step(
                    run.model,
                    batch.to(run.device),
                    optimizer,
                    run.config.training.grad_clip,
                    run.device,
                    run.precision,
                )
                n_skipped += not step.taken
                if step.taken:
                    clip_losses += [step.loss] * len(batch.ids)
                    grad_norms.append(step.grad_norm)
                seconds += batch.duration_s
                rate = seconds / (time.perf_counter() - started)
                batches.set_postfix_str(
                    f"loss {step.loss:.3f}, grad {step.grad_norm:.2f}, {rate:.0f} audio s/s"
                )
            batches.update()
            asked = time.perf_counter()
    elapsed = time.perf_counter() - started
    return {
        "train_loss": float(np.mean(clip_losses)) if clip_losses else math.nan,
        "grad_norm": float(np.mean(grad_norms)) if grad_norms else math.nan,
        "audio_s_per_s": seconds / elapsed,
        "data_wait_share": waited / elapsed,
        "epoch_s": elapsed,
        "clips_left_out": len(left_out),
        "steps_skipped": n_skipped,
    }


@dataclass
class Step:
    """What one optimiser step did: mean loss, gradient norm before clipping, was it taken."""

    loss: float
    grad_norm: float
    taken: bool


def train_step(model, batch: Batch, optimizer, grad_clip, device, precision) -> Step:
    """One step on a batch. A loss or gradient that is not finite leaves the weights as they are."""
    with compute.autocast(device, precision):
        logits = model(batch[0])
    losses = ctc_losses(logits, batch[1])
    objective = losses.mean() + model.penalty()
    optimizer.zero_grad(set_to_none=True)
    objective.backward()
    limit = math.inf if grad_clip is None else grad_clip
    grad_norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), limit))
    loss = float(losses.detach().mean())
    taken = math.isfinite(loss) and math.isfinite(grad_norm)
    if taken:
        optimizer.step()
    else:
        pairs = zip(batch.ids, losses.tolist())
        named = [f"{clip} ({loss:.3g})" for clip, loss in pairs if not math.isfinite(loss)]
        log.warning(
            "step skipped: the loss or gradient is not finite; clips: %s",
            ", ".join(named or batch.ids),
        )
    return Step(loss, grad_norm, taken)


def make_sampler(durations, training: TrainingConfig, shuffle: bool = True) -> DurationBatchSampler:
    return DurationBatchSampler(
        durations,
        training.batch_size,
        training.seed,
        shuffle,
        training.batch_seconds,
        training.sortagrad,
    )


def make_optimizer(model: CTCModel, config: Config) -> torch.optim.Optimizer:
    """Adam, or AdamW when there is weight decay."""
    decay = config.training.weight_decay
    kind = torch.optim.Adam if decay == 0 else torch.optim.AdamW
    return kind(model.parameters(), config.training.base_lr, weight_decay=decay, fused=True)
