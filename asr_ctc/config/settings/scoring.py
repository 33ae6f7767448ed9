"""Settings: how transcripts are scored."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class ScoringConfig:
    """how transcripts are scored"""

    by: list[str] = setting(
        ["duration"],
        "slice the scores by: duration, speaker, or columns of the split's table, such as gender "
        "age accents",
        value="COLUMN",
    )
    case: bool = setting(False, "score upper and lower case as different")
    accents: bool = setting(
        False,
        "score letters with and without accents as different (default: on if the model writes "
        "accents)",
        help_of={
            "compare": "score letters with and without accents as different (default: as both were "
            "scored)"
        },
    )
    punctuation: bool = setting(False, "score punctuation too")
