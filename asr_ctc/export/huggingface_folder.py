"""A fine-tuned encoder as a folder that transformers loads: AutoModelForCTC, AutoProcessor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asr_ctc.acoustic.encoder_model import EncoderArchitecture, EncoderModel
from asr_ctc.acoustic.encoders.huggingface import (
    Folder,
    build,
    import_transformers,
    quiet,
)
from asr_ctc.acoustic.encoders.whisper import WhisperSettings
from asr_ctc.acoustic.model_file import ModelFile
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import why_no_folder
from asr_ctc.text.charmap import CharMap

PAD, UNKNOWN, SEPARATOR = "[PAD]", "[UNK]", "|"


def export_folder(file: ModelFile, folder: Path) -> str:
    """Writes config, weights, vocabulary and feature settings; returns what a person should know.

    UserError for a model that transformers has no class for: with another encoder, or with more
    than a linear layer on it.
    """
    transformers = import_transformers()
    refuse_other_heads(file.architecture)
    if not isinstance(file.charmap, CharMap):
        raise UserError(
            f"--format huggingface: for models of characters, this one is of {file.charmap.noun}s"
        )
    vocab = vocabulary(file.charmap)
    model = file.build_model()
    assert isinstance(model, EncoderModel)
    config, features, state, note = model.encoder.to_huggingface()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f"{folder}: is not empty; name a new folder")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({why_no_folder(folder, error)})") from None
    own = {"vocab_size": len(vocab), "pad_token_id": 0}
    made = build(Folder(folder, {**config, **own}, features), head=True)
    getattr(made, made.base_model_prefix).load_state_dict(state)
    made.lm_head.load_state_dict(model.charlin[0].state_dict())
    with quiet(transformers):
        made.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, indent=1), "utf-8")
    tokenizer = transformers.Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"),
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=None,
        eos_token=None,
        word_delimiter_token=SEPARATOR,
        do_lower_case=False,
    )
    if config["model_type"] == "wav2vec2-bert":
        extractor = transformers.SeamlessM4TFeatureExtractor(**features)
        processor = transformers.Wav2Vec2BertProcessor(extractor, tokenizer)
    else:
        extractor = transformers.Wav2Vec2FeatureExtractor(**{"sampling_rate": 16_000, **features})
        processor = transformers.Wav2Vec2Processor(extractor, tokenizer)
    processor.save_pretrained(folder)
    extractor.save_pretrained(folder)  # where versions before 5 look for it
    return note


def refuse_other_heads(architecture: Any) -> None:
    """UserError unless the head is a linear layer on the frames of an encoder's last layer."""
    if not isinstance(architecture, EncoderArchitecture):
        raise UserError("--format huggingface: the model has no pretrained encoder")
    if isinstance(architecture.encoder, WhisperSettings):
        raise UserError(
            "--format huggingface: transformers has no CTC model with Whisper's encoder: fine-tune "
            "one that reads samples, such as WAV2VEC2_XLSR_300M"
        )
    needed = {"projection": 0, "frame_stack": 1, "nlayers_rnn": 0}
    differing = [n for n, value in needed.items() if getattr(architecture, n) != value]
    if differing or architecture.layers != (architecture.encoder.n_layers,):
        flags = " ".join(f"--{name} {value}" for name, value in needed.items())
        raise UserError(
            "--format huggingface: transformers has a linear layer on the last layer's frames, "
            f"this model has more ({', '.join(differing) or 'other layers'}): train with {flags}"
        )


def vocabulary(charmap: CharMap) -> dict[str, int]:
    """The labels of a character map as transformers' tokenizer has them; UserError for clashes."""
    names = {0: PAD}
    for number, symbol in enumerate(charmap.symbols[1:], 1):
        names[number] = {" ": SEPARATOR, charmap.unknown: UNKNOWN}.get(symbol, symbol)
    vocab = {name: number for number, name in names.items()}
    if len(vocab) < len(charmap.symbols):
        raise UserError(f"the character map has {SEPARATOR}, which is the space of transformers")
    return vocab
