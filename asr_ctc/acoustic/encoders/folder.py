"""Reads a pretrained encoder from a folder of the Hugging Face form, or by its published name."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr_ctc.acoustic.encoders.catalogue import license_of
from asr_ctc.acoustic.encoders.huggingface import read_json
from asr_ctc.acoustic.encoders.kinds import EncoderSettings, encoder_of
from asr_ctc.acoustic.encoders.published import load_encoder, locate
from asr_ctc.acoustic.encoders.safetensors_file import read_safetensors
from asr_ctc.acoustic.encoders.weight_files import load_into
from asr_ctc.acoustic.encoders.whisper import WhisperSettings
from asr_ctc.base.errors import UserError

log = logging.getLogger(__name__)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MOST_CARD_CHARACTERS = 10_000


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A pretrained encoder: its settings, its tensors, and where it is from, for the model file."""

    settings: EncoderSettings
    state_dict: dict[str, torch.Tensor]
    source: dict[str, str]


def read_encoder(
    name: str,
    *,
    padded: bool = False,
    weights: str | None = None,
    language: str | None = None,
) -> Pretrained:
    """The encoder in a folder, or of that published name; what is not the encoder is ignored.

    ``padded`` as in ``WhisperSettings``, the others as in ``load_encoder``. UserError for what is
    missing, of another kind or damaged, and for what has no effect on such an encoder.
    """
    try:
        folder = locate(name, language)
        config = (folder and read_json(folder / CONFIG)) or {}
        if folder is not None and config.get("model_type") == "whisper":
            if weights is not None or language is not None:
                raise UserError(f"{name}: --encoder_weights and --adapter are not for a Whisper")
            settings, state = _read_whisper(folder, config, padded)
            return Pretrained(settings=settings, state_dict=state, source=_source(name, folder))
        if padded:
            raise UserError(f"{name}: --encoder_padded is for a Whisper")
        encoder, assumed = load_encoder(name, folder, weights=weights, language=language)
    except UserError as error:
        raise UserError(f"--encoder: {error}") from None
    if assumed:
        log.warning("--encoder %s: %s", name, assumed)
    source = _source(name, folder) | {"kind": str(encoder.settings)}
    source |= {"adapter": language} if language else {}
    return Pretrained(settings=encoder.settings, state_dict=encoder.state_dict(), source=source)


def _source(name: str, folder: Path | None) -> dict[str, str]:
    licence = license_of(name) if folder is None else read_license(folder)
    return {"folder": Path(name).resolve().name, "license": licence}


def _read_whisper(
    folder: Path, config: dict[str, Any], padded: bool
) -> tuple[WhisperSettings, dict[str, torch.Tensor]]:
    try:
        settings = whisper_settings(config, padded)
    except (ValueError, KeyError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{folder / CONFIG}: {what}") from None
    tensors = read_safetensors(folder / WEIGHTS, ("model.encoder.", "encoder."))
    with torch.device("meta"):  # sizes that the tensors do not have could ask for any memory
        encoder = encoder_of(settings)
    state = {name: tensor.float() for name, tensor in tensors.items()}
    load_into(encoder, state, str(folder / WEIGHTS), assign=True)
    return settings, encoder.state_dict()


def read_license(folder: Path) -> str:
    """The licence that a model card, README.md, states in its header."""
    try:
        header = (folder / "README.md").read_text("utf-8", "replace")[:MOST_CARD_CHARACTERS]
    except OSError:
        header = ""
    match = re.search(r"^licen[sc]e:[ \t]*(\S[^\n]{0,60})", header, re.MULTILINE)
    return match[1].strip() if match else "not stated in the folder"


def whisper_settings(config: dict[str, Any], padded: bool = False) -> WhisperSettings:
    """Sizes from a Whisper's config.json; ValueError, KeyError for impossible or missing ones."""
    if config.get("activation_function", "gelu") != "gelu" or config.get("scale_embedding"):
        raise ValueError("only Whisper's own activation_function gelu and no scale_embedding")
    return WhisperSettings(
        n_mels=config["num_mel_bins"],
        size=config["d_model"],
        n_layers=config["encoder_layers"],
        n_heads=config["encoder_attention_heads"],
        n_hidden=config["encoder_ffn_dim"],
        n_positions=config["max_source_positions"],
        padded=padded,
    )
