"""Which epoch is the best so far, and when to stop waiting for a better one."""

import math


class Best:
    """The best epoch by a dev figure; ``early_stopping`` epochs without a better one are enough.

    ``by`` is cer, wer or loss. Where error rates are equal, as in the first epochs, when nothing
    is recognised yet, the lower dev loss is better; a figure that is not a number is the worst.
    """

    def __init__(self, by: str = "cer", early_stopping: int | None = None):
        self.by, self.early_stopping = by, early_stopping
        self.rank: tuple[float, float] | None = None
        self.epoch: int | None = None
        self.epochs_since = 0

    def update(self, figures: dict) -> bool:
        """Takes note of an epoch's figures (epoch, dev_cer, dev_wer, dev_loss): is it the best?"""
        rank = self.rank_of(figures)
        if self.rank is not None and rank >= self.rank:
            self.epochs_since += 1
            return False
        self.rank, self.epoch, self.epochs_since = rank, figures["epoch"], 0
        return True

    def rank_of(self, figures: dict) -> tuple[float, float]:
        """What epochs are compared by; the lower is the better."""
        values = figures[f"dev_{self.by}"], figures["dev_loss"]
        return tuple(math.inf if math.isnan(value) else value for value in values)

    @property
    def should_stop(self) -> bool:
        return self.early_stopping is not None and self.epochs_since >= self.early_stopping

    def state_dict(self) -> dict:
        rank = None if self.rank is None else list(self.rank)
        return {"rank": rank, "epoch": self.epoch, "epochs_since": self.epochs_since}

    def load_state_dict(self, state: dict) -> None:
        self.rank = None if state["rank"] is None else tuple(state["rank"])
        self.epoch, self.epochs_since = state["epoch"], state["epochs_since"]
