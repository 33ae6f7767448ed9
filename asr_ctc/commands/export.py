"""`export`: writes a model in the form of another program."""

import sys
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.base.printable import one_line
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config


def run_export(config: Config, words: list[str], command: list[str]) -> int:
    if config.output.format != "huggingface":
        raise UserError("export needs --format huggingface: a folder that transformers loads")
    from asr_ctc.acoustic.model_file import load_model, newest_model
    from asr_ctc.export.huggingface_folder import export_folder

    path = config.input.modelpath or newest_model(config.logs.baselogdir)
    note = export_folder(load_model(path), Path(words[0]))
    print(f"{one_line(str(path))} written to {one_line(words[0])}", file=sys.stderr)
    if note:
        print(f"note: {note}", file=sys.stderr)
    return 0


COMMAND = Command(
    name="export",
    summary="write a model in the form of another program (--format huggingface)",
    run=run_export,
    words="FOLDER",
    takes_words="a folder to write",
    min_words=1,
    max_words=1,
    common=("format", "modelpath", "baselogdir"),
    details="huggingface: a fine-tuned encoder with a linear layer on it, as transformers loads it "
    "(AutoModelForCTC, AutoProcessor).",
    examples=(
        "export --format huggingface my-model",
        "export --format huggingface my-model --modelpath logs/RUN/best_model.pt",
    ),
)
