"""What a run has come to."""

from dataclasses import dataclass
from pathlib import Path

from asr_ctc.recognition.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True)
class BestEpoch:
    """The epoch whose model best_model.pt holds; error rates are shares, the loss is per label."""

    epoch: int
    cer: float
    wer: float
    loss: float

    @classmethod
    def of_scores(cls, scores: dict) -> "BestEpoch":
        """Of what training writes into a model file."""
        values = {name: scores[f"dev_{name}"] for name in ("cer", "wer", "loss")}
        return cls(epoch=scores["epoch"], **values)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run that has ended, or was interrupted by ``signal``.

    n_epochs: finished epochs, those before a resumption included. best: of the main
    process, None in others and before the first epoch has ended.
    """

    folder: Path
    best: BestEpoch | None
    n_epochs: int
    signal: int | None = None

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended the run before its last epoch."""
        return self.signal is not None

    def recognizer(self, device: str = "auto") -> Recognizer:
        """The best model so far; UserError when no epoch has ended."""
        return Recognizer.load(self.folder / "best_model.pt", device)


@dataclass(frozen=True, kw_only=True)
class OverfitResult:
    """Whether one batch was learnt by heart, after how many steps; ``signal`` interrupted it."""

    passed: bool
    n_steps: int
    signal: int | None = None
