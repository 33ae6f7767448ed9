"""Training: the loop, from a configuration to a model file. Read ``fit`` first."""

import contextlib
import itertools
import logging
import logging.handlers
import math
import time
from pathlib import Path

from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.model_file import load_model, save_model
from asr_ctc.base.errors import LIMITS, UserError
from asr_ctc.base.files import open_own, refuse_links, remove_unfinished, take
from asr_ctc.base.progress import bar
from asr_ctc.config.load import Config
from asr_ctc.config.settings import TrainingConfig
from asr_ctc.corpus.corpus import refuse_if_mostly_broken
from asr_ctc.loading.batch import Batch
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.sampling import DurationBatchSampler
from asr_ctc.scoring.evaluation import Evaluation, evaluate
from asr_ctc.training import averages as averaging
from asr_ctc.training import distributed
from asr_ctc.training.averages import WeightAverage
from asr_ctc.training.best_epochs import Best
from asr_ctc.training.distributed import ALONE, World
from asr_ctc.training.doctor import Doctor
from asr_ctc.training.epoch_log import METRICS, N_SHOWN, record, record_end
from asr_ctc.training.interruption import Interruption
from asr_ctc.training.optimiser import make_optimizer, train_mode
from asr_ctc.training.resume import LAST, PREVIOUS, Start, find_start, restore, save_last
from asr_ctc.training.run_folder import (
    DESCRIPTION,
    SUMMARY,
    check_run_folder,
    make_run_folder,
    repeatable,
    write_description,
)
from asr_ctc.training.schedule import make_schedule
from asr_ctc.training.setup import Run, facts_at_start, refuse_lost_masks, setup
from asr_ctc.training.state import State, seed_step
from asr_ctc.training.step import train_step

log = logging.getLogger("asr_ctc")

BEST = "best_model.pt"
MAX_SKIPPED_IN_A_ROW = 10


def train(config: Config, command: list[str]) -> int:
    """`main_ctc.py train`: exit status 0, or 128 + signal after Ctrl-C (130) or SIGTERM (143)."""
    # What is said before there is a folder, such as which clips are left out, is kept for its log.
    early = logging.handlers.MemoryHandler(10**6, flushLevel=logging.CRITICAL + 1)
    log.addHandler(early)
    with contextlib.ExitStack() as at_end:
        try:
            start = find_start(config)
            refuse_lost_masks(start.config)
            world = distributed.join(start.config.runtime.device)
            at_end.callback(distributed.leave)
            if start.folder is None:
                check_run_folder(config)
            with distributed.others_may_end():
                run = setup(start, command, world)
                folder = start.folder or world.from_main(lambda: make_run_folder(run.config))
        finally:
            log.removeHandler(early)
        writer = None
        if world.is_main:
            at_end.enter_context(_log_to(folder / "train.log", early))
            if start.folder is None:
                write_description(run, folder)
            epoch = start.file.training["state"]["epoch"] if start.folder else None
            at_end.enter_context(_naming(folder))
            writer = at_end.enter_context(SummaryWriter(folder, purge_step=epoch))
        at_end.enter_context(distributed.others_may_end())
        return fit(run, start, folder, writer)


@contextlib.contextmanager
def _naming(folder: Path):
    """Tensorboard's writer does not say which file could not be written."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno in LIMITS:
            raise
        raise UserError(f"cannot write the curves in {folder}: {error.strerror}") from None


@contextlib.contextmanager
def _log_to(file: Path, early: logging.handlers.MemoryHandler):
    """Writes the log to the run's folder too, which is taken as long as the log is open."""
    stream = open_own(file)
    if not take(stream):
        stream.close()
        raise UserError(f"{file.parent}: another process trains in this folder; wait, or stop it")
    refuse_links(file.parent, (BEST, LAST, PREVIOUS, DESCRIPTION, SUMMARY, METRICS))
    remove_unfinished(file.parent)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    early.setTarget(handler)
    early.close()
    log.addHandler(handler)
    try:
        yield
    except UserError as error:  # which the command line prints
        handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, str(error), (), None))
        raise
    finally:
        log.removeHandler(handler)
        with contextlib.suppress(OSError):  # a full disk, of which has been told
            stream.close()


def fit(run: Run, start: Start, folder: Path, writer: SummaryWriter | None) -> int:
    """Epochs of training, each scored, recorded and saved; until done, early stop or Ctrl-C."""
    training, world = run.config.training, run.world
    sampler = make_sampler(run.train_corpus.durations, training, world)
    n_threads, on_gpu = run.config.corpus.nthreads, run.device.type == "cuda"
    loader = make_loader(run.train, sampler, n_threads, pin_memory=on_gpu)
    dev_batches = make_sampler(run.dev.corpus.durations, training, world, shuffle=False)
    dev_loader = make_loader(run.dev, dev_batches, n_threads, pin_memory=on_gpu)
    state = make_state(run, math.ceil(len(sampler) / training.accumulate))
    restore(start, state, sampler, world)
    model = world.wrap(run.model, run.device, training.sync_batchnorm)
    log.info(
        "%d batches per epoch, %.1f %% of them padding", len(sampler), 100 * sampler.padding_share()
    )
    if start.folder is None:
        for sentence in state.doctor.at_start(facts_at_start(run)):
            log.warning("%s", sentence)
        try_evaluation(run, dev_batches)
    with Interruption(is_agreed=world.size > 1) as interruption:

        def save() -> None:
            if world.is_main:
                with interruption.postponed():
                    file = run.model_file({"epoch": state.epoch - 1})
                    save_last(folder, file, repeatable(run), state, sampler)

        try:
            if start.folder is None:
                save()  # from now on the run can be resumed, whatever happens
            while state.epoch <= training.num_epochs and not state.best.should_stop:
                train_epoch(run, state, model, loader, interruption, save)
                if world.size > 1:
                    interruption.agree(world.sum(interruption.asked, run.device))
                    save()  # whoever asks during the evaluation may not wait for its end
                dev = evaluate_dev(run, scored_model(run, state), dev_loader)
                with interruption.postponed():
                    end_epoch(run, state, dev, folder, writer)
                save()
                drop_kept(run, state, folder)
        except RuntimeError as error:
            if distributed.others_have_ended(error):
                with contextlib.suppress(UserError):  # the first error is the one to read
                    save()
            raise
        except KeyboardInterrupt:
            save()
            log.info(
                "stopped by %s in epoch %d, after %d of its batches; go on with:\n"
                "  python main_ctc.py train --resume_from %s",
                interruption.name,
                state.epoch,
                state.n_batches,
                folder,
            )
            return interruption.exit_status
    finish(run, state, dev_loader, folder, writer)
    return 0


def make_state(run: Run, steps_per_epoch: int) -> State:
    """Optimiser, schedule and all else that changes, at the start of a run."""
    training = run.config.training
    optimizer = make_optimizer(run.model, training)
    return State(
        optimizer,
        make_schedule(optimizer, training, steps_per_epoch),
        Best(training.best_by, training.early_stopping),
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
        "before training, on %d dev clips: loss %.3f, CER %.1f %%",
        len(evaluation.clips),
        evaluation.loss,
        100 * scores.cer,
    )
    for clip in evaluation.clips[:N_SHOWN]:
        log.info("  %r is read as %r", clip.reference, clip.hypotheses[0].text)


def train_epoch(run: Run, state: State, model, loader: DataLoader, interruption, save) -> None:
    """The rest of an epoch, which ``state`` counts; ``save`` is called every --save_every_s."""
    training, world, sums = run.config.training, run.world, state.sums
    train_mode(run.model, training.freeze)
    batches, saved = iter(loader), time.perf_counter()
    title = f"epoch {state.epoch}"
    with bar(title=title, unit="batch", total=len(loader), initial=state.n_batches) as shown:
        while True:
            started = time.perf_counter()
            group = list(itertools.islice(batches, training.accumulate))
            if not group:
                break
            fetched = time.perf_counter()
            with interruption.postponed():
                seed_step(training.seed, state, world)
                is_first = state.epoch == 1 and state.n_batches == 0
                with report_activations(run, group) if is_first else contextlib.nullcontext():
                    step = train_step(
                        model,
                        group,
                        state.optimizer,
                        training.grad_clip,
                        run.device,
                        run.precision,
                        state.scaler,
                        world,
                        interruption,
                    )
                state.count(step, group, training.grad_clip)
                sums.waited_s += fetched - started
                sums.elapsed_s += time.perf_counter() - started
            name_left_out(run, state)
            shown.set_postfix_str(
                f"loss {step.loss:.3f}, grad {step.grad_norm:.2f}, "
                f"{world.size * sums.audio_s / sums.elapsed_s:.0f} audio s/s"
            )
            shown.update(len(group))
            if state.n_skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
                world.from_main(save)  # the first to end is the end of all
                raise UserError(diagnose_skipping(state))
            if time.perf_counter() - saved > training.save_every_s:
                save()
                saved = time.perf_counter()


@contextlib.contextmanager
def report_activations(run: Run, group: list[Batch]):
    """Says what a batch of the first step, the longest as a rule, keeps for the backward pass."""
    with compute.SavedActivations(run.model) as activations:
        yield
    seconds = [max(batch.durations) * len(batch.ids) for batch in group if batch.ids]
    log.info(
        "the %s batch, %.0f s of audio with padding, keeps %.0f MB of activations",
        "first" if run.config.training.sortagrad else "longest",
        max(seconds, default=0.0),
        activations.megabytes,
    )


def name_left_out(run: Run, state: State) -> None:
    """Says once of each clip why it is not used; UserError when most are not."""
    run.name_left_out(state.sums.left_out)
    refuse_if_mostly_broken(run.train_corpus.name, state.sums.left_out, len(run.train))


def evaluate_dev(run: Run, model: CTCModel, loader: DataLoader) -> Evaluation:
    """The dev split, of which each process decodes a part, as all of them see it."""
    run.world.share_buffers(model)
    part = evaluate(model, loader, run.device, progress="dev")
    dev = Evaluation.joined(run.world.gather([part]))
    run.name_left_out(dev.left_out)
    refuse_if_mostly_broken(run.dev.corpus.name, dev.left_out, len(run.dev))
    return dev


def end_epoch(run: Run, state: State, dev: Evaluation, folder: Path, writer) -> None:
    """Figures, advice and the best model of an epoch; ``state`` moves on to the next."""
    run.name_left_out(run.world.gather(state.sums.left_out))
    figures = {
        "epoch": state.epoch,
        **state.sums.figures(run.world, run.device),
        **dev_figures(dev),
        "dev_blank_share": dev.blank_share,
        "dev_empty_share": dev.empty_share,
        "lr": state.optimizer.param_groups[0]["lr"],
        "memory_mb": compute.peak_memory_mb(run.device),
    }
    is_best = state.best.update(figures)
    state.schedule.step_epoch(improved=is_best)
    advice = state.doctor.after_epoch(figures)
    if run.world.is_main:
        file = run.model_file(scores_of(figures), scored_model(run, state))
        if is_best:
            save_model(folder / BEST, file)
        if run.config.training.average_best:
            averaging.keep(folder, file)
        record(run, folder, writer, figures, dev, is_best)  # what it announces is on the disk
        for sentence in advice:
            log.warning("%s", sentence)
    state.next_epoch()


def dev_figures(dev: Evaluation) -> dict:
    """What epochs are compared by."""
    scores = dev.score()
    return {"dev_loss": dev.loss, "dev_cer": scores.cer, "dev_wer": scores.wer}


def scored_model(run: Run, state: State) -> CTCModel:
    """The weights that are scored and kept: the model's, or their moving average."""
    return state.average.model if state.average else run.model


def scores_of(figures: dict) -> dict:
    """The figures that a model file carries."""
    return {name: figures[name] for name in ("epoch", "dev_cer", "dev_wer", "dev_loss")}


def finish(run: Run, state: State, dev_loader: DataLoader, folder: Path, writer) -> None:
    """The last words; with --average_best, first the average of the best epochs."""
    if run.config.training.average_best:
        average_best(run, state, dev_loader, folder)
    if not run.world.is_main:
        return
    best = load_model(folder / BEST).scores
    record_end(run, writer, best)
    if state.best.should_stop:
        log.info("stopped early: no better epoch in %d", state.best.epochs_since)
    log.info(
        "done: best dev CER %.2f %% (dev loss %.4f, epoch %d) in %s",
        100 * best["dev_cer"],
        best["dev_loss"],
        best["epoch"],
        folder / BEST,
    )


def drop_kept(run: Run, state: State, folder: Path) -> None:
    n_kept = run.config.training.average_best
    if n_kept and run.world.is_main:
        averaging.keep_only(folder, state.best.epochs(n_kept))


def average_best(run: Run, state: State, dev_loader: DataLoader, folder: Path) -> None:
    """Averages the weights of the best epochs; the model becomes the best one if it is better."""
    drop_kept(run, state, folder)  # a run that was killed here did not get to it
    epochs = sorted(state.best.epochs(run.config.training.average_best))
    run.model.load_state_dict(run.world.from_main(lambda: averaging.average(folder, epochs)))
    dev = evaluate_dev(run, run.model, dev_loader)
    figures = {"epoch": state.best.epoch, **dev_figures(dev)}
    is_better = state.best.rank_of(figures) < state.best.rank
    log.info(
        "average of epochs %s: dev loss %.4f  dev CER %.2f %%  dev WER %.2f %%%s",
        ", ".join(map(str, epochs)),
        figures["dev_loss"],
        100 * figures["dev_cer"],
        100 * figures["dev_wer"],
        "  best" if is_better else "",
    )
    if is_better and run.world.is_main:
        save_model(folder / BEST, run.model_file({**figures, "averaged": epochs}))


def diagnose_skipping(state: State) -> str:
    """Why a run stops whose every step is skipped, and what helps."""
    return (
        f"{MAX_SKIPPED_IN_A_ROW} steps in a row were skipped, in epoch {state.epoch} after "
        f"{state.n_batches} batches (the log names their clips). The weights before them are in "
        f"{LAST}. When other clips come each time, training has diverged: start again with a lower "
        "--base_lr, or with --grad_clip; when the same clips come, leave them out (--exclude)"
    )


def make_sampler(
    durations, training: TrainingConfig, world: World = ALONE, shuffle: bool = True
) -> DurationBatchSampler:
    """Batches of this process; UserError when there are fewer clips than processes."""
    try:
        return DurationBatchSampler(
            durations,
            training.batch_size,
            training.seed,
            shuffle,
            training.batch_seconds,
            training.sortagrad,
            world.rank,
            world.size,
        )
    except ValueError as error:
        raise UserError(f"{error}: start fewer processes (torchrun --nproc_per_node)") from None
