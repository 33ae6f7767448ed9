"""The training loop, from settings to a model file. Read ``fit`` first."""

import contextlib
import functools
import itertools
import logging
import logging.handlers
import math
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import nn
from torch.utils.data import DataLoader

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.model_file import load_model, save_model
from asr_ctc.acoustic.model_kinds import AnyModel, computed_s
from asr_ctc.base.errors import UserError
from asr_ctc.base.progress import bar
from asr_ctc.config.load import Config
from asr_ctc.corpus.corpus import Corpus, refuse_if_mostly_broken
from asr_ctc.display.terminal import several
from asr_ctc.loading.loader import WorkerDied, make_loader
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.scoring.evaluation import Evaluation, evaluate
from asr_ctc.training import averages, distributed
from asr_ctc.training.averages import WeightAverage
from asr_ctc.training.best_epochs import Best
from asr_ctc.training.curves import CurveWriter
from asr_ctc.training.distributed import ALONE, PACKAGE_LOG, World
from asr_ctc.training.doctor import Doctor
from asr_ctc.training.early_stopping import should_stop
from asr_ctc.training.epoch_log import (
    N_SHOWN,
    dev_wer_text,
    log_end_of_run,
    log_epoch,
)
from asr_ctc.training.interruption import Interruption
from asr_ctc.training.memory import report_activations, report_clip_memory
from asr_ctc.training.optimiser import make_optimizer, train_mode, without_encoder
from asr_ctc.training.refusals import refuse_unused_masks
from asr_ctc.training.result import BestEpoch, RunResult
from asr_ctc.training.resume import (
    LAST,
    Start,
    find_start,
    refuse_if_gone_on,
    restore,
    save_last,
)
from asr_ctc.training.run import Run, seed_of
from asr_ctc.training.run_folder import (
    BEST,
    check_run_folder,
    make_run_folder,
    refuse_if_in_use,
    repeatable,
    write_description,
    write_settings,
)
from asr_ctc.training.run_log import info_is_logged, log_to
from asr_ctc.training.schedule import make_schedule
from asr_ctc.training.setup import facts_at_start, set_up_run
from asr_ctc.training.state import State, seed_step
from asr_ctc.training.step import Step, train_step

log = logging.getLogger(__name__)

MAX_SKIPPED_IN_A_ROW = 10


def train(config: Config, *, command: Sequence[str] = ()) -> RunResult:
    """A run, from settings to best_model.pt; the model file tells of the ``command`` behind it.

    Ctrl-C and SIGTERM interrupt it, after which it can be resumed. It seeds torch, sets the threads
    of this process, and catches these two signals while it lasts. UserError says what is wrong with
    settings, corpus or folder.
    """
    # Early messages, such as which clips are excluded, wait for the log of the run's folder.
    early = logging.handlers.MemoryHandler(10**6, flushLevel=logging.CRITICAL + 1)
    with contextlib.ExitStack() as at_end:
        at_end.enter_context(info_is_logged())
        PACKAGE_LOG.addHandler(early)
        try:
            start = find_start(config)
            refuse_unused_masks(start.config)
            world = distributed.join_processes(start.config.runtime.device)
            at_end.callback(distributed.leave_processes)
            folder = start.folder
            if folder is None:
                check_run_folder(config)
            elif world.is_main:
                refuse_if_in_use(folder)
            with distributed.as_user_error_when_a_peer_dies():
                run = set_up_run(start, command=command, world=world)
                folder = folder or world.broadcast_from_main(lambda: make_run_folder(run.config))
        finally:
            PACKAGE_LOG.removeHandler(early)
        writer = None
        if world.is_main:
            at_end.enter_context(log_to(folder / "train.log", early))
            refuse_if_gone_on(start)
            write_settings(run, folder)
            if start.folder is None:
                write_description(run, folder)
            epoch = start.saved["state"]["epoch"] if start.folder else None
            writer = at_end.enter_context(CurveWriter(folder, purge_step=epoch))
        at_end.enter_context(distributed.as_user_error_when_a_peer_dies())
        return fit(run, start, folder=folder, writer=writer)


def fit(run: Run, start: Start, *, folder: Path, writer: CurveWriter | None) -> RunResult:
    """Epochs of training, each scored, logged and saved; until done, early stop or Ctrl-C."""
    training, world = run.config.training, run.world
    patience = training.early_stopping
    sampler = make_sampler(
        run.train_corpus, run.model, run.config, world, stretches=run.train.stretches
    )
    n_threads, on_gpu = run.config.runtime.nthreads, run.device.type == "cuda"
    loader = make_loader(run.train, sampler, n_threads, pin_memory=on_gpu, gives_way=not on_gpu)
    dev_batches = make_sampler(run.dev.corpus, run.model, run.config, world, shuffle=False)
    dev_loader = make_loader(run.dev, dev_batches, n_threads, pin_memory=on_gpu)
    state = make_state(run, math.ceil(len(sampler) / training.accumulate))
    restore(start, state, sampler, world)
    model = world.wrap(run.model, run.device, training.sync_batchnorm)
    log.info(
        "%s per epoch, %.1f %% of them padding",
        several(len(sampler), "batch", "batches"),
        100 * sampler.padding_share(sampler.epoch),
    )
    report_clip_memory(run, sampler, state.optimizer)
    if start.folder is None:
        for sentence in state.doctor.at_start(facts_at_start(run)):
            log.warning("%s", sentence)
        try_evaluation(run, dev_batches)
    with Interruption(is_agreed=world.size > 1) as interruption:
        saver = Saver(run, state, sampler, folder=folder, interruption=interruption)
        try:
            if start.folder is None:
                saver.save()  # from now on the run can be resumed, whatever happens
            while state.epoch <= training.num_epochs and not should_stop(state.best, patience):
                train_epoch(run, state, loader, model=model, saver=saver)
                if world.size > 1:
                    saver.interrupt_together()
                    saver.save()  # whoever interrupts the evaluation may not wait for its end
                dev = evaluate_dev(run, scored_model(run, state), dev_loader)
                with interruption.postponed():
                    end_epoch(run, state, dev, folder=folder, writer=writer)
                saver.save()
                delete_surplus_epochs(run, state, folder)
        except RuntimeError as error:
            if distributed.is_dead_peer(error):
                with contextlib.suppress(UserError):  # the first error is the one to read
                    saver.save()
            raise
        except WorkerDied as error:
            saver.save()
            raise UserError(
                f"{error}; the run is saved: go on with --resume_from {folder}"
            ) from None
        except KeyboardInterrupt:
            saver.save()
            log.info(
                "stopped by %s in epoch %d, after %d of its batches; go on with:\n"
                "  python main_ctc.py train --resume_from %s",
                interruption.name,
                state.epoch,
                state.n_batches,
                folder,
            )
            return result_of(run, state, folder, signal=interruption.signal or signal.SIGINT)
    if training.average_best:
        average_best(run, state, dev_loader, folder)
    result = result_of(run, state, folder)
    if writer is not None and result.best is not None:
        log_end_of_run(run, writer, result.best)
        log_result(run, state, result.best, folder=folder)
    return result


class Saver:
    """Writes last.pt, which resumes the run; only the main process does.

    A signal never falls into the middle of it.
    """

    def __init__(
        self,
        run: Run,
        state: State,
        sampler: DurationBatchSampler,
        *,
        folder: Path,
        interruption: Interruption,
    ):
        self.run, self.state, self.sampler = run, state, sampler
        self.folder, self.interruption = folder, interruption
        self._saved_s = time.perf_counter()

    def save(self) -> None:
        if self.run.world.is_main:
            with self.interruption.postponed():
                file = self.run.model_file({"epoch": self.state.epoch - 1})
                save_last(
                    self.folder,
                    file,
                    config=repeatable(self.run),
                    state=self.state,
                    sampler=self.sampler,
                )
        self._saved_s = time.perf_counter()

    def save_if_due(self) -> None:
        """Saves when --save_every_s have gone by since the last time."""
        if time.perf_counter() - self._saved_s > self.run.config.training.save_every_s:
            self.save()

    def interrupt_together(self) -> None:
        """KeyboardInterrupt, in all processes alike, when one of them is asked to stop."""
        requests = self.interruption.requested_by_signal
        self.interruption.agree(self.run.world.sum(requests, self.run.device))


def make_state(run: Run, steps_per_epoch: int) -> State:
    """Optimiser, schedule and all else that changes, at the start of a run."""
    training = run.config.training
    optimizer = make_optimizer(run.model, training)
    return State(
        optimizer,
        make_schedule(optimizer, training, steps_per_epoch),
        Best(training.best_by),
        Doctor(run.config, steps_per_epoch),
        compute.make_scaler(run.device, run.precision),
        WeightAverage(run.model, training.ema) if training.ema else None,
    )


def try_evaluation(run: Run, dev_batches: DurationBatchSampler) -> None:
    """Scores two dev batches before any training, so that a broken evaluation fails at once."""
    loader = make_loader(run.dev, list(dev_batches)[-2:], 0)
    evaluation = evaluate(run.model, loader, run.device)
    scores = evaluation.score()
    log.info(
        "before training, on %d dev clips: loss %.3f, %s %.1f %%",
        len(evaluation.clips),
        evaluation.loss,
        run.charmap.rates.of_symbols,
        100 * scores.cer,
    )
    for clip in evaluation.clips[:N_SHOWN]:
        log.info("  %r is decoded as %r", clip.reference, clip.hypotheses[0].text)


def train_epoch(
    run: Run, state: State, loader: DataLoader, *, model: nn.Module, saver: Saver
) -> None:
    """The rest of an epoch, which ``state`` counts; it is saved every --save_every_s.

    ``model`` is the run's, or what wraps it for several processes.
    """
    training, world, sums = run.config.training, run.world, state.sums
    train_mode(run.model, run.frozen)
    batches = iter(loader)
    title = f"epoch {state.epoch}"
    with bar(title=title, unit="batch", total=len(loader), initial=state.n_batches) as progress:
        while True:
            started = time.perf_counter()
            group = list(itertools.islice(batches, training.accumulate))
            if not group:
                break
            fetched = time.perf_counter()
            with saver.interruption.postponed():
                saver.interrupt_together()
                seed_step(run.seed, state, world)
                is_first = state.epoch == 1 and state.n_batches == 0
                is_held = state.schedule.step < training.freeze_encoder_steps
                with (
                    without_encoder(run.model, is_held),
                    report_activations(run, group) if is_first else contextlib.nullcontext(),
                ):
                    step = train_step(
                        model,
                        group,
                        state.optimizer,
                        device=run.device,
                        precision=run.precision,
                        scaler=state.scaler,
                        objective=run.objective,
                        grad_clip=training.grad_clip,
                        world=world,
                    )
                state.count_step(step, group, training.grad_clip)
                sums.waited_s += fetched - started
                sums.elapsed_s += time.perf_counter() - started
            report_excluded(run, state)
            what = "skipped"
            if isinstance(step, Step):
                what = f"loss {step.loss:.3f}, grad {step.grad_norm:.2f}"
            speed = world.size * sums.audio_s / sums.elapsed_s
            progress.set_postfix_str(f"{what}, {speed:.0f} audio s/s")
            progress.update(len(group))
            if state.n_skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
                world.broadcast_from_main(saver.save)  # the first to end is the end of all
                raise UserError(diagnose_skipping(state))
            saver.save_if_due()


def report_excluded(run: Run, state: State) -> None:
    """Says once of each clip why it is not used; UserError when most are not."""
    run.report_excluded_once(state.sums.excluded)
    refuse_if_mostly_broken(run.train_corpus.name, state.sums.excluded, len(run.train))


def evaluate_dev(run: Run, model: AnyModel, loader: DataLoader) -> Evaluation:
    """The whole dev split, of which each process decodes a part."""
    run.world.share_buffers(model)
    part = evaluate(model, loader, run.device, progress="dev")
    dev = Evaluation.joined(run.world.gather([part]))
    run.report_excluded_once(dev.excluded)
    refuse_if_mostly_broken(run.dev.corpus.name, dev.excluded, len(run.dev))
    return dev


def end_epoch(
    run: Run, state: State, dev: Evaluation, *, folder: Path, writer: CurveWriter | None
) -> None:
    """Finishes an epoch: metrics, diagnostics, best model; advances ``state``."""
    run.report_excluded_once(run.world.gather(state.sums.excluded))
    metrics = {
        "epoch": state.epoch,
        "step": state.schedule.step,
        **state.sums.metrics(run.world, run.device),
        **dev_metrics(dev),
        "dev_clips_left_out": len(dev.excluded),
        "dev_blank_share": dev.blank_share,
        "dev_empty_share": dev.empty_share,
        "lr": state.optimizer.param_groups[0]["lr"],
        "memory_mb": compute.peak_memory_mb(run.device),
    }
    is_best = state.best.update(metrics)
    state.schedule.step_epoch(improved=is_best)
    advice = state.doctor.after_epoch(metrics)
    if writer is not None:  # of the main process
        model = scored_model(run, state)
        file = run.model_file(scores_of(metrics), model)
        if is_best and run.config.training.average_best:
            average = scores_of_average(folder)
            is_best = not average or state.best.rank_of(metrics) < state.best.rank_of(average)
        if is_best:
            save_model(folder / BEST, file)
        if run.config.training.average_best:
            averages.keep_epoch(folder, file)
        # Only now: what it announces is on the disk.
        log_epoch(run, metrics, dev, model=model, folder=folder, writer=writer, is_best=is_best)
        for sentence in advice:
            log.warning("%s", sentence)
    state.begin_next_epoch()


def dev_metrics(dev: Evaluation) -> dict:
    """What epochs are compared by; dev_cer of a model of phonemes is its PER.

    ``dev_aux_per``: the PER of a second output layer.
    """
    scores = dev.score()
    metrics = {"dev_loss": dev.loss, "dev_cer": scores.cer, "dev_wer": scores.wer}
    if dev.aux is not None:
        metrics["dev_aux_per"] = dev.aux.score().cer
    return metrics


def scored_model(run: Run, state: State) -> AnyModel:
    """The weights that are scored and saved: the model's, or their moving average."""
    return state.average.model if state.average else run.model


def scores_of(metrics: dict) -> dict:
    """The metrics that a model file has."""
    names = ("epoch", "dev_cer", "dev_wer", "dev_loss", "dev_aux_per")
    return {name: metrics[name] for name in names if name in metrics}


def result_of(run: Run, state: State, folder: Path, *, signal: int | None = None) -> RunResult:
    """What the run has come to: the best epoch is that of best_model.pt."""
    best = None
    if run.world.is_main and state.best.epoch is not None:
        best = BestEpoch.of_scores(load_model(folder / BEST).scores)
    return RunResult(folder=folder, best=best, n_epochs=state.epoch - 1, signal=signal)


def log_result(run: Run, state: State, best: BestEpoch, *, folder: Path) -> None:
    """The last lines of a run's log."""
    if should_stop(state.best, run.config.training.early_stopping):
        log.info("stopped early: no better epoch in %d", state.best.epochs_since)
    log.info(
        "done: best dev %s %.2f %% (dev loss %.4f, epoch %d) in %s",
        run.charmap.rates.of_symbols,
        100 * best.cer,
        best.loss,
        best.epoch,
        folder / BEST,
    )


def delete_surplus_epochs(run: Run, state: State, folder: Path) -> None:
    """Deletes the models that --average_best saved of epochs no longer among the best."""
    n_averaged = run.config.training.average_best
    if n_averaged and run.world.is_main:
        averages.delete_epochs_except(folder, state.best.epochs(n_averaged))


def scores_of_average(folder: Path) -> dict:
    """Those of best_model.pt where it is an average, as of a run that is extended; else none."""
    path = folder / BEST
    scores = load_model(path).scores if path.exists() else {}
    return scores if "averaged" in scores else {}


def average_best(run: Run, state: State, dev_loader: DataLoader, folder: Path) -> None:
    """Averages the weights of the best epochs; the model becomes the best one if it is better."""
    delete_surplus_epochs(run, state, folder)  # a run that was killed here did not get to it
    epochs = sorted(state.best.epochs(run.config.training.average_best or 0))
    average = run.world.broadcast_from_main(lambda: scores_of_average(folder))
    if average and average["averaged"] == epochs:
        log.info("average of epochs %s: is in %s", ", ".join(map(str, epochs)), folder / BEST)
        return  # the file may hold more by now, such as a language model
    weights = run.world.broadcast_from_main(lambda: averages.average_epochs(folder, epochs))
    run.model.load_state_dict(weights)
    dev = evaluate_dev(run, run.model, dev_loader)
    metrics = {"epoch": state.best.epoch, **dev_metrics(dev)}
    rank_of = state.best.rank_of
    ranks = filter(None, (state.best.rank, rank_of(average) if average else None))
    is_better = all(rank_of(metrics) < rank for rank in ranks)
    log.info(
        "average of epochs %s: dev loss %.4f  dev %s %.2f %%%s%s",
        ", ".join(map(str, epochs)),
        metrics["dev_loss"],
        run.charmap.rates.of_symbols,
        100 * metrics["dev_cer"],
        dev_wer_text(metrics["dev_wer"], run.charmap.rates.of_words),
        "  best" if is_better else "",
    )
    if is_better and run.world.is_main:
        save_model(folder / BEST, run.model_file({**metrics, "averaged": epochs}))


def diagnose_skipping(state: State) -> str:
    """Why a run stops whose every step is skipped, and what helps."""
    return (
        f"{MAX_SKIPPED_IN_A_ROW} steps in a row were skipped, in epoch {state.epoch} after "
        f"{state.n_batches} batches (the log names their clips). The weights before them are in "
        f"{LAST}. When other clips come each time, training has diverged: start again with a lower "
        "--base_lr, or with --grad_clip; when the same clips come, exclude them (--exclude)"
    )


def make_sampler(
    corpus: Corpus,
    model: AnyModel,
    config: Config,
    world: World = ALONE,
    *,
    shuffle: bool = True,
    stretches: Callable[[int], np.ndarray] | None = None,
) -> DurationBatchSampler:
    """Batches of this process; UserError when there are fewer clips than processes."""
    training = config.training
    try:
        return DurationBatchSampler(
            corpus.durations,
            training.batch_size,
            seed=seed_of(config),
            shuffle=shuffle,
            batch_seconds=training.batch_seconds,
            computed_s=functools.partial(computed_s, model),
            stretches=stretches,
            sortagrad=training.sortagrad,
            rank=world.rank,
            world_size=world.size,
        )
    except ValueError as error:
        raise UserError(f"{error}: start fewer processes (torchrun --nproc_per_node)") from None
