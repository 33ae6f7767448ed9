"""All that changes while a run trains: what a resumed run needs to go on as if never interrupted.

Randomness is not part of it: it follows from the seed and from what is drawn, see ``seed_step`` and
``ClipDataset``.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch

from asr_ctc.corpus.corpus import ExcludedClip
from asr_ctc.loading.batch import Batch
from asr_ctc.loading.dataset import mix_seeds
from asr_ctc.training.averages import WeightAverage
from asr_ctc.training.best_epochs import Best
from asr_ctc.training.distributed import World
from asr_ctc.training.doctor import Doctor
from asr_ctc.training.schedule import Schedule
from asr_ctc.training.step import Skipped, Step

DEVICE_CHOICES = {"foreach", "fused", "capturable"}  # of an optimizer: how it computes, not what


@dataclass
class EpochSums:
    """What an epoch adds up, step by step."""

    loss: float = 0.0
    n_clips: int = 0
    grad_norm: float = 0.0
    grad_norm_max: float = 0.0
    n_steps: int = 0
    n_clipped: int = 0
    n_skipped: int = 0
    excluded: list[ExcludedClip] = field(default_factory=list)
    audio_s: float = 0.0
    elapsed_s: float = 0.0
    waited_s: float = 0.0

    def add(self, step: Step | Skipped, batches: Sequence[Batch], grad_clip: float | None) -> None:
        """Counts a step and the batches of this process that it was made of."""
        self.audio_s += sum(batch.duration_s for batch in batches)
        self.excluded += [item for batch in batches for item in batch.excluded]
        if isinstance(step, Skipped):
            self.n_skipped += step.is_failure
            return
        self.loss += step.loss * step.n_clips
        self.n_clips += step.n_clips
        self.grad_norm += step.grad_norm
        self.grad_norm_max = max(self.grad_norm_max, step.grad_norm)
        self.n_steps += 1
        self.n_clipped += grad_clip is not None and step.grad_norm > grad_clip

    def metrics(self, world: World, device: torch.device) -> dict:
        """The epoch's metrics; audio and excluded clips are those of all processes."""
        audio_s, n_excluded = world.sum([self.audio_s, len(self.excluded)], device)
        elapsed_s = max(self.elapsed_s, 1e-9)
        return {
            "train_loss": self.loss / self.n_clips if self.n_clips else math.nan,
            "grad_norm": self.grad_norm / self.n_steps if self.n_steps else math.nan,
            "grad_norm_max": self.grad_norm_max if self.n_steps else math.nan,
            "clipped_share": self.n_clipped / self.n_steps if self.n_steps else 0.0,
            "audio_s_per_s": audio_s / elapsed_s,
            "data_wait_share": self.waited_s / elapsed_s,
            "epoch_s": self.elapsed_s,
            "clips_left_out": int(n_excluded),
            "steps_skipped": self.n_skipped,
        }


@dataclass
class State:
    """What changes while a run trains.

    ``epoch`` is under way, ``n_batches`` of its batches are done by each process; with ``epoch``
    past the last, the run is finished.
    """

    optimizer: torch.optim.Optimizer
    schedule: Schedule
    best: Best
    doctor: Doctor
    scaler: torch.amp.GradScaler
    average: WeightAverage | None = None
    epoch: int = 1
    n_batches: int = 0
    n_skipped_in_a_row: int = 0
    sums: EpochSums = field(default_factory=EpochSums)

    def count_step(
        self, step: Step | Skipped, batches: Sequence[Batch], grad_clip: float | None
    ) -> None:
        """Counts a step on these batches of this process; schedule and average follow it."""
        self.n_batches += len(batches)
        self.sums.add(step, batches, grad_clip)
        if isinstance(step, Skipped):
            self.n_skipped_in_a_row += step.is_failure
            return
        self.n_skipped_in_a_row = 0
        self.schedule.step_batch()
        if self.average:
            self.average.update()

    def begin_next_epoch(self) -> None:
        self.epoch, self.n_batches, self.sums = self.epoch + 1, 0, EpochSums()

    def _parts(self) -> dict:
        names = ("optimizer", "schedule", "best", "doctor", "scaler", "average")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def state_dict(self) -> dict:
        """Plain values and tensors; the model's own are in the model file."""
        counts = ("epoch", "n_batches", "n_skipped_in_a_row")
        sums = asdict(self.sums)
        # "left_out" is what files of earlier versions call the excluded clips.
        sums["left_out"] = [tuple(item) for item in sums.pop("excluded")]
        return {
            **{name: getattr(self, name) for name in counts},
            "sums": sums,
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def load_state_dict(self, state: dict) -> None:
        """Continues where ``state_dict`` stood; ValueError when it has other parts."""
        state = dict(state)
        sums = dict(state.pop("sums"))
        excluded = [ExcludedClip(*item) for item in sums.pop("left_out")]
        self.sums = EpochSums(**sums, excluded=excluded)
        parts = self._parts()
        for name in ("epoch", "n_batches", "n_skipped_in_a_row"):
            setattr(self, name, state.pop(name))
        if state.keys() != parts.keys():
            raise ValueError(f"holds {', '.join(state)}; needed {', '.join(parts)}")
        _check_optimizer(state["optimizer"], self.optimizer)
        for name, part in parts.items():
            if state[name]:  # that of an idle scaler is empty: one at work starts anew
                part.load_state_dict(state[name])


def check_state(state: dict) -> None:
    """ValueError, or another exception, unless ``state`` is of the kind of State.state_dict()."""
    counts = [state[name] for name in ("epoch", "n_batches", "n_skipped_in_a_row")]
    counts += [state["schedule"][name] for name in ("step", "epoch", "n_halvings", "epochs_since")]
    if not all(type(count) is int and count >= 0 for count in counts) or state["epoch"] < 1:
        raise ValueError("its counters are damaged")
    sums = dict(state["sums"])
    for clip, reason in sums.pop("left_out"):
        _refuse_unless(type(clip) is type(reason) is str, "sums")
    _refuse_unless(all(_is_number(value) for value in sums.values()), "sums")
    for epoch, rank in state["best"]["ranks"].items():
        _refuse_unless(type(epoch) is int and all(map(_is_number, rank)) and len(rank) == 2, "best")
    for metrics in state["doctor"]["history"]:
        _refuse_unless(all(map(_is_number, metrics.values())), "doctor")
    _refuse_unless(all(type(name) is str for name in state["doctor"]["told"]), "doctor")
    if "average" in state:
        n_updates = state["average"]["n_updates"]
        _refuse_unless(type(n_updates) is int and n_updates >= 0, "average")


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _refuse_unless(holds: bool, part: str) -> None:
    if not holds:
        raise ValueError(f"its state of {part!r} is damaged")


def _check_optimizer(state: dict, optimizer: torch.optim.Optimizer) -> None:
    """ValueError for settings that are not the run's, and for tensors of other shapes.

    The optimizer itself compares only how many parameters there are.
    """
    for group, own in zip(state["param_groups"], optimizer.param_groups, strict=True):
        names = (group.keys() & own.keys()) - {"params", "lr"} - DEVICE_CHOICES
        _refuse_unless(all(group[n] in (None, False, True) for n in DEVICE_CHOICES), "optimizer")
        _refuse_unless(all(group[name] == own[name] for name in names), "optimizer")
        for number, parameter in zip(group["params"], own["params"], strict=True):
            for value in state["state"].get(number, {}).values():
                is_count = isinstance(value, torch.Tensor) and value.dim() == 0
                _refuse_unless(is_count or value.shape == parameter.shape, "optimizer")


def seed_step(seed: int, state: State, world: World) -> None:
    """Sets torch's randomness, which dropout draws from, by the place of a step in the run."""
    torch.manual_seed(mix_seeds(seed, state.epoch, state.n_batches, world.rank))
