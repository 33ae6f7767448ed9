"""Which epochs are the best so far."""

import math


class Best:
    """The best epochs by a dev metric.

    ``by`` is cer, wer or loss. Where error rates are equal, as in the first epochs, when nothing
    is recognised yet, the lower dev loss is better; a metric that is not a number is the worst.
    """

    def __init__(self, by: str = "cer"):
        self.by = by
        self.ranks: dict[int, tuple[float, float]] = {}  # of each epoch, in order

    def update(self, metrics: dict) -> bool:
        """Takes note of an epoch's metrics (epoch, dev_cer, dev_wer, dev_loss): is it the best?"""
        self.ranks[metrics["epoch"]] = self.rank_of(metrics)
        return self.epoch == metrics["epoch"]

    def rank_of(self, metrics: dict) -> tuple[float, float]:
        """What epochs are compared by; the lower is the better."""
        rate, loss = (
            math.inf if math.isnan(value) else value
            for value in (metrics[f"dev_{self.by}"], metrics["dev_loss"])
        )
        return rate, loss

    def epochs(self, n: int) -> list[int]:
        """The ``n`` best epochs, the best first; of equal ones the earlier."""
        return sorted(self.ranks, key=self.ranks.__getitem__)[:n]

    @property
    def epoch(self) -> int | None:
        """The best epoch; None before the first."""
        return min(self.ranks, key=self.ranks.__getitem__, default=None)

    @property
    def rank(self) -> tuple[float, float] | None:
        """That of the best epoch; None before the first."""
        return None if self.epoch is None else self.ranks[self.epoch]

    @property
    def epochs_since(self) -> int:
        """How many epochs came after the best one."""
        best = self.epoch
        return 0 if best is None else sum(epoch > best for epoch in self.ranks)

    def state_dict(self) -> dict:
        return {"ranks": {epoch: list(rank) for epoch, rank in self.ranks.items()}}

    def load_state_dict(self, state: dict) -> None:
        self.ranks = {epoch: tuple(rank) for epoch, rank in state["ranks"].items()}
