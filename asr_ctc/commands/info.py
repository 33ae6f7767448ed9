"""`info`: describes a model file."""

import math
from typing import TYPE_CHECKING

from asr_ctc.base.errors import UserError
from asr_ctc.base.printable import one_line
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config

if TYPE_CHECKING:
    from asr_ctc.text.units import Units


def run_info(config: Config, words: list[str], command: list[str]) -> int:
    if words and config.typed & {"modelpath", "baselogdir"}:
        raise UserError(f"info {words[0]}: names the file; omit --modelpath and --baselogdir")
    from asr_ctc.acoustic.model_file import load_model, newest_model
    from asr_ctc.base.printable import visible_text

    path = words[0] if words else config.input.modelpath or newest_model(config.logs.baselogdir)
    file = load_model(path)
    n_params = sum(p.numel() for p in file.build_model().parameters())
    rows = [
        ("model file", str(path)),
        ("architecture", f"{file.architecture}, {n_params:,} parameters"),
        ("features", str(file.features)),
        (
            "normalisation",
            "mean {:.2f} dB, deviation {:.2f} dB".format(*file.normalization)
            if file.normalization
            else "none",
        ),
        *(_units(units) for units in (file.charmap, file.other_units) if units is not None),
        ("writing", visible_text(str(file.charmap.writing))),
    ]
    heads = (
        (file.charmap, file.language_model),
        (file.other_units, file.other_language_model),
    )
    for units, stored in heads:
        if units and stored:
            whose = f"for {units.noun}s: " if file.other_units else ""
            rows.append(("language model", f"{whose}{stored}"))
    if file.scores:
        rate = file.charmap.rates.of_symbols.lower()
        scores = {name.replace("dev_cer", f"dev_{rate}"): v for name, v in file.scores.items()}
        rows.append(("scores", ", ".join(_score(k, v) for k, v in scores.items())))
    rows += [(name.replace("_", " "), _flat(value)) for name, value in file.origin.items() if value]
    if file.assumed:
        rows.append(("note", file.assumed))
    for name, value in rows:
        print(f"{name:14} {one_line(value)}")
    return 0


def _units(units: "Units") -> tuple[str, str]:
    from asr_ctc.base.printable import visible_text
    from asr_ctc.text.phonemes import Phonemes

    of_language = f" of {units.language}" if isinstance(units, Phonemes) else ""
    listing = visible_text(units.listing)
    return f"{units.noun}s", f"{units.vocab_size} classes{of_language}: {listing:.2000}"


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return str(value)


def _score(name: str, value: object) -> str:
    if isinstance(value, float):
        is_rate = name.endswith(("cer", "wer", "per"))
        if is_rate and math.isnan(value):  # of a writing without spaces between words
            return f"{name} none"
        return f"{name} {100 * value:.2f} %" if is_rate else f"{name} {value:.4f}"
    return f"{name} {value}"


COMMAND = Command(
    name="info",
    summary="describe a model file",
    run=run_info,
    words="[FILE]",
    takes_words="one model file",
    max_words=1,
    common=("modelpath", "baselogdir"),
    examples=("info", "info logs/RUN/best_model.pt"),
)
