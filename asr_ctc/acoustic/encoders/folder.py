"""Reads a pretrained encoder from a folder of the Hugging Face form, or by its published name."""

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr_ctc.acoustic.encoders.kinds import EncoderSettings, encoder_of
from asr_ctc.acoustic.encoders.published import open_encoder
from asr_ctc.acoustic.encoders.safetensors_file import read_safetensors
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

    ``padded`` as in ``WhisperSettings``, the others as in ``open_encoder``. UserError for what is
    missing, of another kind or damaged.
    """
    folder = Path(name)
    config = _read_json(folder / CONFIG) if folder.is_dir() else {}
    kind = config.get("model_type")
    if kind != "whisper":
        return _read_published(name, weights, language)
    try:
        settings = whisper_settings(config, padded)
    except (ValueError, KeyError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"--encoder {name}: {CONFIG}: {what}") from None
    tensors = read_safetensors(folder / WEIGHTS, ("model.encoder.", "encoder."))
    _check_tensors(tensors, settings, folder / WEIGHTS)
    return Pretrained(
        settings=settings,
        state_dict={name: tensor.float() for name, tensor in tensors.items()},
        source={"folder": folder.resolve().name, "license": read_license(folder)},
    )


def _read_published(name: str, weights: str | None, language: str | None) -> Pretrained:
    try:
        encoder, assumed = open_encoder(name, weights=weights, language=language)
    except UserError as error:
        raise UserError(f"--encoder: {error}") from None
    if assumed:
        log.warning("--encoder %s: %s", name, assumed)
    source = {"folder": Path(name).name, "kind": str(encoder.settings)}
    source |= {"adapter": language} if language else {}
    if Path(name).is_dir():
        source["license"] = read_license(Path(name))
    return Pretrained(settings=encoder.settings, state_dict=encoder.state_dict(), source=source)


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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({str(error).partition(chr(10))[0]:.100})") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: holds a {type(config).__name__}; needed a table")
    return config


def _check_tensors(tensors: dict[str, torch.Tensor], settings: EncoderSettings, path: Path) -> None:
    """UserError unless they are finite and those of the settings, in name and shape."""
    with torch.device("meta"):
        needed = {name: t.shape for name, t in encoder_of(settings).state_dict().items()}
    found = {name: t.shape for name, t in tensors.items()}
    differing = [n for n in sorted(needed.keys() | found.keys()) if needed.get(n) != found.get(n)]
    if differing:
        listed = ", ".join(
            f"{n} ({_shape(found.get(n))}, needed {_shape(needed.get(n))})" for n in differing[:3]
        )
        raise UserError(f"{path}: {len(differing)} tensors are not those of {CONFIG}: {listed}")
    if broken := [name for name, t in tensors.items() if not bool(t.float().isfinite().all())]:
        raise UserError(f"{path}: {broken[0]} holds numbers that are not finite")


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else "×".join(map(str, shape)) or "a number"
