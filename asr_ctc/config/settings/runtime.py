"""Settings: the machine."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class RuntimeConfig:
    """the machine"""

    device: str = setting(
        "auto",
        "where to compute; auto is cuda if there is one, else cpu",
        choices=("auto", "cpu", "cuda"),
    )
    nthreads: int = setting(
        6,
        "data loading processes, at most the machine's cores (0 loads in the main one), and "
        "threads that measure the lengths of the clips",
        at_least=0,
    )
    seed: int | None = setting(
        None,
        "seed of all randomness (default: drawn, and written down)",
        help_of={"split": "seed of the draw (default: 0)"},
        at_least=0,
        at_most=2**32 - 1,
    )
