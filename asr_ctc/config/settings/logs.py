"""Settings: where the runs are."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class LogsConfig:
    """where the runs are"""

    baselogdir: str = setting(
        "./logs",
        "folder that holds the runs",
        value="FOLDER",
    )
    logname: str | None = setting(
        None,
        "name of the run's folder below --baselogdir (default: a new name)",
        value="NAME",
    )
