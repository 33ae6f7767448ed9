"""Settings: what is written, and where."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class OutputConfig:
    """what is written, and where"""

    out: str | None = setting(
        None,
        "write one file per recording to this folder (default: print)",
        help_of={
            "check": "folder of the report (default: ./check-VERSION-LANG)",
            "lm": "language model to write, FILE.arpa or FILE.arpa.gz (default: ./LANG.arpa)",
            "inspect": "folder of the pages (default: ./inspect)",
        },
        value={
            **dict.fromkeys(("test", "align", "check", "inspect"), "FOLDER"),
            "lm": "FILE.arpa",
        },
    )
    format: str | None = setting(
        None,
        "format of the transcripts (default: a table of hypotheses)",
        help_of={
            "align": "format of the aligned transcripts (default: json, or jsonl if several are "
            "printed)",
            "export": "form of the model; huggingface is the only one",
        },
        choices=("text", "json", "jsonl", "tsv", "ctm", "srt", "vtt", "textgrid", "huggingface"),
    )
    json: bool = setting(False, "print JSON, for scripts, in place of tables")
    csv: str | None = setting(
        None,
        "write a table with one row per scored clip to this file",
        value="FILE.csv",
    )
    html: str | None = setting(
        None,
        "write a page with all scores to this file",
        value="FILE.html",
    )
    hypotheses: str | None = setting(
        None,
        "write reference and hypothesis of each clip to this file, for `compare`",
        value="FILE.jsonl",
    )
