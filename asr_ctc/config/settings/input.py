"""Settings: the model, and what it is applied to."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class InputConfig:
    """the model, and what it is applied to"""

    modelpath: str | None = setting(
        None,
        "model file (default: the newest best_model.pt below --baselogdir)",
        help_of={
            "check": "model file: ranks the clips by how well their transcripts fit "
            "(default: no ranking)",
            "lm": "model file whose character map spells the words; with --tune, the model to "
            "tune for (default: the newest below --baselogdir; without --tune only if it is of "
            "--lang and no --charset is given, else the map that `train` would make)",
            "inspect": "model file; further ones may follow, to be shown beside it (default: the "
            "newest best_model.pt below --baselogdir)",
        },
        value="FILE.pt",
    )
    audiofile: list[str] = setting(
        [],
        "recordings of any format, rate and length: files, folders, patterns such as '*.mp3'",
        help_of={
            "test": "recordings of any format, rate and length: files, folders, patterns such as "
            "'*.mp3', or - (standard input)"
        },
        value="FILE",
    )
    split: str = setting(
        "test",
        "split of the corpus: the name of its table without its ending",
        help_of={
            "test": "without --audiofile, split of the corpus to score: the name of its table "
            "without its ending",
            "align": "without --audiofile, split of the corpus to align: the name of its table "
            "without its ending",
            "inspect": "without --audiofile, split of the corpus to look at, worst clips first: "
            "the name of its table without its ending",
        },
        value="NAME",
    )
    text: list[str] = setting(
        [],
        "texts",
        help_of={
            "lm": "text files to learn from, one sentence per line, plain or .gz; sentences of "
            "dev and test are excluded",
            "align": "the words spoken in the one --audiofile (default: those of the .txt beside "
            "each file)",
            "inspect": "the words spoken in the one --audiofile (default: not known)",
        },
        value={"lm": "FILE", "align": "WORD", "inspect": "WORD"},
    )
    run: str | None = setting(
        None,
        "folder of a run whose models are shown beside each other: the best, the last, and with "
        "--average_best the best epochs",
        value="FOLDER",
    )
