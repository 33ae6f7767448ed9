"""What tests of training do without."""

from types import SimpleNamespace


def draw_no_figures() -> None:
    """From now on runs of this process write grey pictures, as where matplotlib is missing.

    Its figures take a second of an epoch; that they are written is shown in training/test_training.
    """
    from asr_ctc.training import epoch_log

    epoch_log.plots = SimpleNamespace(is_installed=lambda: False)
