"""Early stopping: when a run has waited long enough for a better epoch (--early_stopping)."""

from asr_ctc.training.best_epochs import Best


def should_stop(best: Best, patience: int | None) -> bool:
    """Whether ``patience`` epochs came after the best one; with None a run goes on to its end."""
    return patience is not None and best.epochs_since >= patience
