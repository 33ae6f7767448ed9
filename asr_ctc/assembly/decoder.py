"""A recogniser, its beam search and its language model, made from the settings.

Of the language model's weights, flags win over a --config file, the file over those stored in the
model file with its language model, and these over the defaults.
"""

import logging
import math
import sys

from asr_ctc.base.errors import UserError
from asr_ctc.base.printable import one_line
from asr_ctc.config.load import Config, settings
from asr_ctc.decoding.fusion import Fusion, fuse
from asr_ctc.lm.read import read_language_model
from asr_ctc.lm.spelling import unspelt_note
from asr_ctc.lm.stored import StoredModel
from asr_ctc.text.charmap import CharMap

log = logging.getLogger("asr_ctc")


def fusion_of(config: Config, charmap: CharMap, stored: StoredModel | None = None) -> Fusion | None:
    """What the settings ask for; None without a language model and without hotwords.

    ``stored`` is the model file's own, used unless a flag or a file names another, or none.
    UserError as in ``read_language_model`` and ``fuse``.
    """
    decoding = config.decoding
    model = read_language_model(decoding.lm) if decoding.lm else None
    if uses_stored(config, stored):
        model = stored.model
    weights = weights_of(config, stored)
    if not (model or decoding.hotwords or decoding.lexicon):
        return None
    hotwords = dict(_hotword(text, charmap) for text in decoding.hotwords)
    fusion = fuse(model, charmap, lexicon=decoding.lexicon, hotwords=hotwords, **weights)
    if model and (note := unspelt_note(model, charmap)):
        log.warning("%s", note)
    return fusion


def weights_of(config: Config, stored: StoredModel | None) -> dict[str, float]:
    """lm_weight, word_bonus and unk_logp as ``fusion_of`` takes them."""
    names = "lm_weight", "word_bonus", "unk_logp"
    weights = {name: getattr(config.decoding, name) for name in names}
    if uses_stored(config, stored):
        weights |= {n: value for n, value in stored.weights.items() if not config.has(n)}
    return weights


def uses_stored(config: Config, stored: StoredModel | None) -> bool:
    """Whether the language model in the model file is the one to use."""
    return stored is not None and not config.has("lm")


def _hotword(text: str, charmap: CharMap) -> tuple[str, float]:
    """(word, weight) of WORD:WEIGHT, the word as the character map writes it."""
    word, _, weight = text.rpartition(":")
    try:
        if word and math.isfinite(float(weight)):
            return charmap.normalise(word), float(weight)
    except ValueError:
        pass
    raise UserError(f"--hotwords: WORD:WEIGHT is needed, such as marseille:5, found {text!r}")


def load_recognizer(config: Config):
    """The model of --modelpath, or the newest one; says which, and what it makes of the flags."""
    from asr_ctc.acoustic import compute
    from asr_ctc.acoustic.model_file import newest_model
    from asr_ctc.recognition.recognizer import Recognizer

    path = config.input.modelpath or newest_model(config.logs.baselogdir)
    note_ignored(config)
    compute.use_processor()
    recognizer = Recognizer.load(path, config.runtime.device)
    print(f"model {one_line(path)}", file=sys.stderr)
    if recognizer.file.assumed:
        print(f"note: {recognizer.file.assumed}", file=sys.stderr)
    return recognizer


def note_ignored(config: Config) -> None:
    """Says which typed flags have no effect because the model file determines their values."""
    ignored = [
        f"--{name}"
        for name, (section, _, _) in settings().items()
        if name in config.typed and section in ("features", "model")
    ]
    of_charset = "charset", "case_folding", "charset_min_count"
    ignored += [f"--{name}" for name in of_charset if name in config.typed]
    if ignored:
        verb = "is" if len(ignored) == 1 else "are"
        print(
            f"note: {', '.join(ignored)} {verb} ignored: the model file determines it",
            file=sys.stderr,
        )


def beam_settings(config: Config, recognizer) -> dict:
    """What ``beam_decode`` takes beside the beam's width; reads the language model."""
    decoding = config.decoding
    if not decoding.beamsearch:
        return {}
    from asr_ctc.acoustic import compute

    fusion = fusion_of(config, recognizer.charmap, recognizer.file.language_model)
    device = None  # compiled, on the processor
    if decoding.beam_device == "cuda":
        if fusion is not None:
            raise UserError(
                "--beam_device cuda takes no language model and no hotwords: omit them (--lm none "
                "for that of the model file), or use --beam_device cpu"
            )
        device = compute.pick_device("cuda", "--beam_device")
    return dict(
        beam_tokens=decoding.beam_tokens,
        beam_threshold=decoding.beam_threshold,
        fusion=fusion,
        device=device,
    )
