"""A recogniser, its beam search and its language model, made from the settings.

Of the language model's weights and the beam's width, flags win over a --config file, the file over
those stored in the model file with its language model, and these over the defaults.
"""

import contextlib
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr_ctc.base.errors import UserError
from asr_ctc.base.printable import one_line
from asr_ctc.config.load import Config, settings
from asr_ctc.decoding.beam import DEFAULT_WEIGHTS, Beam, Decoder
from asr_ctc.decoding.greedy import Greedy
from asr_ctc.lm.stored import StoredModel

if TYPE_CHECKING:
    from asr_ctc.acoustic.encoders.published import PublishedModel
    from asr_ctc.acoustic.model_file import ModelFile
    from asr_ctc.recognition.recognizer import Recognizer

WEIGHTS = tuple(DEFAULT_WEIGHTS)


def make_decoder(
    config: Config, stored: StoredModel | None = None, n_best: int | None = None
) -> Decoder:
    """The decoder that the settings ask for, with at most ``n_best`` hypotheses where given.

    ``stored`` is the language model in the model file. UserError for settings that contradict.
    """
    decoding = config.decoding
    if not decoding.beamsearch:
        return Greedy()
    weights = {name: getattr(decoding, name) if config.has(name) else None for name in WEIGHTS}
    beam = Beam(
        width=decoding.beamwidth if config.has("beamwidth") else None,
        n_best=n_best or decoding.n_best,
        tokens=decoding.beam_tokens,
        threshold=decoding.beam_threshold,
        lm=decoding.lm,
        stored_lm=not config.has("lm"),
        lexicon=decoding.lexicon,
        hotwords=dict(map(parse_hotword, decoding.hotwords)),
        **weights,
    )
    if decoding.beam_device == "cpu":
        return beam
    if beam.lm or beam.hotwords or beam.lexicon or beam.uses(stored):
        raise UserError(
            "--beam_device cuda takes no language model and no hotwords: omit them (--lm none "
            "for that of the model file), or use --beam_device cpu"
        )
    from asr_ctc.acoustic import compute

    device = compute.pick_device("cuda", "--beam_device")
    return replace(beam, stored_lm=False, device=device)


def parse_hotword(text: str) -> tuple[str, float]:
    """(word, weight) of WORD:WEIGHT."""
    word, _, weight = text.rpartition(":")
    with contextlib.suppress(ValueError):
        if word and math.isfinite(float(weight)):
            return word, float(weight)
    raise UserError(f"--hotwords: WORD:WEIGHT is needed, such as marseille:5, found {text!r}")


def read_model(config: Config) -> "tuple[Path, ModelFile | PublishedModel]":
    """The published model of --pretrained, the model file of --modelpath, or the newest one."""
    from asr_ctc.acoustic.encoders.published import open_pretrained
    from asr_ctc.acoustic.model_file import load_model, newest_model

    published, typed = config.published, config.typed
    if published.pretrained is not None:
        if "modelpath" in typed:
            raise UserError("--pretrained names the model; omit --modelpath")
        if "units" in typed:
            raise UserError("--units: a published model has its own labels; omit it")
        return Path(published.pretrained), open_pretrained(
            published.pretrained, weights=published.encoder_weights, language=published.adapter
        )
    if of_pretrained := sorted(typed & {"encoder_weights", "adapter"}):
        raise UserError(f"--{of_pretrained[0]} needs --pretrained")
    path = Path(config.input.modelpath or newest_model(config.logs.baselogdir))
    return path, in_units_of(config, path, load_model(path))


def in_units_of(config: Config, path: Path, file: "ModelFile") -> "ModelFile":
    """A model read by the output layer whose units --units names; UserError if it has none."""
    if "units" not in config.typed:
        return file
    try:
        return file.with_units(config.classes.units)
    except ValueError as error:
        raise UserError(f"--units {config.classes.units}: {path}: {error}") from None


def make_recognizer(config: Config, path: Path, file: "ModelFile | PublishedModel") -> "Recognizer":
    """The recogniser of a model; says which it is, and what it makes of the flags."""
    from asr_ctc.acoustic import compute
    from asr_ctc.recognition.recognizer import Recognizer

    note_ignored(config)
    compute.use_processor()
    recognizer = Recognizer(file, config.runtime.device)
    print(f"model {one_line(str(path))}", file=sys.stderr)
    if file.assumed:
        print(f"note: {file.assumed}", file=sys.stderr)
    return recognizer


def note_ignored(config: Config) -> None:
    """Says which typed flags have no effect because the model file determines their values."""
    ignored = [
        f"--{name}"
        for name, (section, _, _) in settings().items()
        if name in config.typed and section in ("features", "model")
    ]
    of_units = "charset", "case_folding", "charset_min_count"
    ignored += [f"--{name}" for name in of_units if name in config.typed]
    if ignored:
        are, them = ("is", "it") if len(ignored) == 1 else ("are", "them")
        print(
            f"note: {', '.join(ignored)} {are} ignored: the model file determines {them}",
            file=sys.stderr,
        )
