"""`pretrained list`: the published models that are known by name."""

import json

from asr_ctc.base.errors import UserError
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config


def run_pretrained(config: Config, words: list[str], command: list[str]) -> int:
    if words != ["list"]:
        raise UserError(f"pretrained {words[0]}: only `pretrained list` is known")
    from asr_ctc.acoustic.encoders.catalogue import BUNDLES, HUB, RATE_HZ

    models = [*BUNDLES, *HUB]
    if config.output.json:
        print(json.dumps([{**m._asdict(), "rate_hz": RATE_HZ} for m in models], indent=1))
        return 0
    header = "name", "language", "rate", "size", "licence", "transcribes", "for"
    rows = [header] + [
        (
            m.name,
            m.language,
            f"{RATE_HZ // 1000} kHz",
            f"{m.size_m:,} M",
            m.licence,
            "yes" if m.transcribes else "no",
            m.purpose,
        )
        for m in models
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    return 0


COMMAND = Command(
    name="pretrained",
    summary="list the published models: language, sampling rate, size, licence and use",
    run=run_pretrained,
    words="list",
    takes_words="the word list",
    min_words=1,
    max_words=1,
    common=("json",),
    details="--encoder takes any of them, and --pretrained those that transcribe; both take "
    "folders of the Hugging Face kind, and other names of its hub, too.",
    examples=("pretrained list", "pretrained list --json"),
)
