"""A training doctor: says in plain words when a run shows one of the known failures.

Every sentence tells what is seen, what it means, and which flag helps. A healthy run hears nothing.
"""

import math
import statistics

from asr_ctc.base.processors import n_usable_cores
from asr_ctc.config.load import Config

BLANK_STEPS = 2_000  # optimiser steps after the warm-up in which only blanks are no bad sign
MOST_FILLED = 0.6  # of the frames, by labels; docs/experiments.md, "Frames per second"
PATIENCE = 3  # epochs for which the dev metrics may get worse
WATCHED = (
    "epoch", "train_loss", "dev_loss", "dev_cer", "dev_blank_share", "dev_empty_share",
    "grad_norm", "grad_norm_max", "clipped_share", "data_wait_share", "epoch_s",
)  # fmt: skip


class Doctor:
    """Watches the metrics of a run; tells each failure once, until it has ended.

    ``steps_per_epoch`` counts optimiser steps. Metrics that are missing, or no numbers, are not
    judged.
    """

    def __init__(self, config: Config, steps_per_epoch: int):
        self.config, self.steps_per_epoch = config, steps_per_epoch
        self.history: list[dict] = []
        self.reported: set[str] = set()

    def at_start(self, facts: dict) -> list[str]:
        """What the corpus shows before any training.

        ``unlearnable_share``: training clips excluded because their transcript is too long for
        their frames; ``filled_share``: of a clip's output frames, the part that its labels need, in
        the tenth of the clips that need most; ``unknown_share``: characters of the transcripts that
        the character map lacks.
        """
        sentences = (
            _labels_too_long(facts),
            self._frames_filled(facts),
            self._unknown_characters(facts),
        )
        return [sentence for sentence in sentences if sentence]

    def after_epoch(self, metrics: dict) -> list[str]:
        """What the metrics of an epoch, those of ``WATCHED``, show beside those before."""
        self.history.append({name: metrics.get(name, math.nan) for name in WATCHED})
        advice = {
            rule.__name__: sentence
            for rule in (
                self._only_blanks,
                self._loss_rising,
                self._gradient_exploding,
                self._always_clipped,
                self._overfitting,
                self._waiting_for_data,
            )
            if (sentence := rule())
        }
        new = [sentence for name, sentence in advice.items() if name not in self.reported]
        self.reported = set(advice)
        return new

    def state_dict(self) -> dict:
        return {"history": [dict(epoch) for epoch in self.history], "told": sorted(self.reported)}

    def load_state_dict(self, state: dict) -> None:
        self.history = [dict(epoch) for epoch in state["history"]]
        self.reported = set(state["told"])

    # -------------------------------------------------------------------------- the failures

    def _frames_filled(self, facts: dict) -> str | None:
        share, model = facts.get("filled_share", math.nan), self.config.model
        if not share > MOST_FILLED or (model.encoder and model.frame_stack == 1):
            return None
        win_step = self.config.features.win_step
        remedy = f"--win_step {0.75 * win_step:.2g} (now {win_step:g})"
        if model.encoder:
            remedy = f"--frame_stack 1 (now {model.frame_stack})"
        return (
            f"in every tenth clip the labels need {share:.0%} or more of the frames that the model "
            f"gives, which leaves few for the blanks between them: letters will be missing. "
            f"{remedy} gives more frames"
        )

    def _unknown_characters(self, facts: dict) -> str | None:
        share = facts.get("unknown_share", math.nan)
        if not share > 0.05:
            return None
        corpus = self.config.corpus
        remedy = "--charset auto makes a map of this corpus"
        if corpus.charset == "auto":
            remedy = f"lower --charset_min_count (now {corpus.charset_min_count})"
        return (
            f"{share:.0%} of the characters in the training transcripts are not in the character "
            f"map: they are learnt and written as the one unknown class; {remedy}"
        )

    def _only_blanks(self) -> str | None:
        now, training = self.history[-1], self.config.training
        empty, blank = now["dev_empty_share"], now["dev_blank_share"]
        n_steps = self.steps_per_epoch * now["epoch"]
        normal = BLANK_STEPS + training.warmup_steps
        if not (empty >= 0.95 or blank >= 0.99) or n_steps <= normal:
            return None
        symptom = f"{empty:.0%} of the dev hypotheses are empty"
        if not empty >= 0.95:
            symptom = f"{blank:.1%} of the dev frames are blank"
        return (
            f"{symptom} after {n_steps:,} steps: the model predicts blanks only. This is normal "
            f"during the first {normal:,} steps or so, but not now. See with --debug whether it "
            f"can learn one batch, with `check` whether the transcripts belong to the clips, then "
            f"try another --base_lr (now {training.base_lr:g}) or short clips first: --sortagrad"
        )

    def _loss_rising(self) -> str | None:
        now, training = self.history[-1], self.config.training
        lowest = _lowest(self.history[:-1], "train_loss")
        if lowest is None or not now["train_loss"] > max(
            1.2 * lowest["train_loss"], lowest["train_loss"] + 0.1
        ):
            return None
        clip = "" if training.grad_clip else ", or cut long steps with --grad_clip 5"
        return (
            f"the training loss rises: {now['train_loss']:.2f}, after {lowest['train_loss']:.2f} "
            f"in epoch {lowest['epoch']}. The steps are too long: lower --base_lr (now "
            f"{training.base_lr:g}) to {_about(training.base_lr / 3)}{clip}"
        )

    def _gradient_exploding(self) -> str | None:
        *before, now = self.history
        norms = [epoch["grad_norm"] for epoch in before if math.isfinite(epoch["grad_norm"])]
        if not norms:
            return None
        usual, limit = statistics.median(norms), self.config.training.grad_clip
        has_spikes = limit is None and now["grad_norm_max"] > 100 * usual
        if not (now["grad_norm"] > 10 * usual or has_spikes):
            return None
        remedy = f"lower --base_lr (now {self.config.training.base_lr:g})"
        if limit is None:
            remedy = f"set --grad_clip {_about(2 * usual)}"
        return (
            f"the gradient explodes: its norm is {now['grad_norm']:.3g} on average and "
            f"{now['grad_norm_max']:.3g} at most, where {usual:.3g} was usual. Such steps undo "
            f"what was learnt: {remedy}"
        )

    def _always_clipped(self) -> str | None:
        now, limit = self.history[-1], self.config.training.grad_clip
        if limit is None or now["epoch"] == 1:
            return None
        if not (now["clipped_share"] >= 0.98 and now["grad_norm"] > 2 * limit):
            return None
        return (
            f"--grad_clip {limit:g} cuts {now['clipped_share']:.0%} of the gradients, whose norm "
            f"is {now['grad_norm']:.3g} on average: clipping is meant for rare outliers; here "
            f"it rescales nearly every step. Raise it to {_about(2 * now['grad_norm'])}, "
            f"twice the average"
        )

    def _overfitting(self) -> str | None:
        now = self.history[-1]
        turn, best = _lowest(self.history, "dev_loss"), _lowest(self.history, "dev_cer")
        if turn is None or best is None:
            return None
        lowest = turn["dev_loss"]
        dev_rises = now["dev_loss"] > max(1.1 * lowest, lowest + 0.05)
        train_falls = now["train_loss"] < 0.95 * turn["train_loss"]
        is_long = now["epoch"] - max(turn["epoch"], best["epoch"]) >= PATIENCE
        if not (dev_rises and train_falls and is_long):
            return None
        augment = "" if self.config.features.train_augment else "--train_augment, "
        rate = "PER" if self.config.classes.units == "phoneme" else "CER"
        return (
            f"the dev loss rises ({now['dev_loss']:.2f}, after {lowest:.2f} in epoch "
            f"{turn['epoch']}) while the training loss falls ({now['train_loss']:.2f}), and the "
            f"dev {rate} has not improved since epoch {best['epoch']}: the model learns the "
            f"training clips by heart. Regularise: {augment}more --dropout (now "
            f"{self.config.model.dropout:g}) or --weight_decay; or train on more speech. "
            "--early_stopping ends such runs"
        )

    def _waiting_for_data(self) -> str | None:
        now, corpus = self.history[-1], self.config.corpus
        can_cache = self.config.features.augment in ([], ["none"])
        fills_cache = corpus.cache_dir is not None and can_cache and now["epoch"] == 1
        waited_s = now["data_wait_share"] * now["epoch_s"]
        if not (now["data_wait_share"] > 0.5 and waited_s > 10) or fills_cache:
            return None
        n_cores = n_usable_cores()
        remedies = []
        n_threads = self.config.runtime.nthreads
        if n_threads < n_cores:
            remedies.append(f"raise --nthreads (now {n_threads}, on {n_cores} cores)")
        if can_cache and corpus.cache_dir is None:
            remedies.append("keep the features with --cache_dir FOLDER")
        remedies = remedies or ["put the clips on a faster disk"]
        return (
            f"{now['data_wait_share']:.0%} of the epoch, {waited_s:.0f} s, were spent waiting for "
            f"clips, more than computing: {', or '.join(remedies)}"
        )


def _labels_too_long(facts: dict) -> str | None:
    share = facts.get("unlearnable_share", math.nan)
    if not share > 0.02:
        return None
    return (
        f"{share:.1%} of the training clips have more labels than the model has frames for "
        "them, and cannot be learnt: their transcripts may belong to other clips (`check` looks), "
        "or the speech is fast, and a smaller --win_step gives more frames"
    )


def _lowest(history: list[dict], name: str) -> dict | None:
    """The first epoch with the lowest figure; None when no epoch has it."""
    finite = [epoch for epoch in history if math.isfinite(epoch[name])]
    return min(finite, key=lambda epoch: epoch[name], default=None)


def _about(value: float) -> str:
    """One digit is enough for advice."""
    return f"{float(f'{value:.1g}'):g}"
