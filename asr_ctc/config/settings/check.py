"""Settings: what `check` looks for."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class CheckConfig:
    """what `check` looks for"""

    check_clips: int | None = setting(
        None, "decode at most N clips of each split, drawn at random (default: all)", at_least=1
    )
    silent_dbfs: float = setting(
        -60.0, "a clip is silent if its loudest 300 ms are below this level in dBFS", at_most=0
    )
    near_silent_dbfs: float = setting(
        -43.0, "a clip is near-silent if its loudest 300 ms are below this level", at_most=0
    )
