"""Settings: how `split` makes train, dev and test."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class SplitConfig:
    """how `split` makes train, dev and test"""

    from_: str | None = setting(
        None,
        "table to split, without its ending (default: validated; metadata with --corpus ljspeech; "
        "all with --corpus manifest or spontaneous)",
        value="TABLE",
    )
    dev: str = setting(
        "0.1",
        "size of dev: a share below 1, or hours such as 2h",
        value="SIZE",
    )
    test: str = setting(
        "0.1",
        "size of test: a share below 1, or hours such as 2h",
        value="SIZE",
    )
    keep_test: bool = setting(
        False, "keep dev and test; make train of all clips that share nothing with them"
    )
    force: bool = setting(False, "overwrite existing splits")
