"""Settings: what `inspect` shows."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class InspectConfig:
    """what `inspect` shows"""

    layers: bool = setting(
        False, "show each layer too, and what the output layer would read from it"
    )
    start_s: float = setting(
        0.0, "second from which a recording is shown, at most 20 s of it", at_least=0
    )
    pages: int = setting(
        100, "with --split, pages of the N worst clips; the index lists all", at_least=0
    )
