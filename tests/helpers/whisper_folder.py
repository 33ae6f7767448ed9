"""A folder of a pretrained Whisper, small and random, as the Hugging Face hub serves it."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch

from asr_ctc.acoustic.encoders.folder import whisper_settings
from asr_ctc.acoustic.encoders.whisper import WhisperEncoder
from tests.helpers.command import REPOSITORY

CONFIG = {
    "model_type": "whisper",
    "d_model": 16,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 80,
    "max_source_positions": 1500,
    "activation_function": "gelu",
    "scale_embedding": False,
}
PREPROCESSOR = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 80,
    "sampling_rate": 16000,
    "hop_length": 160,
    "n_fft": 400,
    "chunk_length": 30,
}


def make_encoder(**changes) -> WhisperEncoder:
    """A random encoder of these sizes, in evaluation mode; its weights are of half precision."""
    torch.manual_seed(5)
    encoder = WhisperEncoder(whisper_settings(CONFIG | changes)).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_((parameter + 0.1 * torch.randn_like(parameter)).half())
    return encoder


def make_whisper_folder(folder: Path, **changes) -> Path:
    """The folder of ``make_encoder``, with some tensor of a decoder beside."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A tiny one\n")
    weights = {f"model.encoder.{n}": t for n, t in make_encoder(**changes).state_dict().items()}
    weights["model.decoder.layer_norm.weight"] = torch.ones(16)
    write_safetensors(folder / "model.safetensors", weights)
    return folder


def whisper_base() -> Path:
    """The folder of Whisper base's encoder, below $ASR_CTC_ENCODERS (../shared/encoders).

    Skips the test if it is absent.
    """
    root = Path(os.environ.get("ASR_CTC_ENCODERS", REPOSITORY.parent / "shared/encoders"))
    folder = root / "whisper-base-encoder"
    if not folder.is_dir():
        pytest.skip(f"no encoder at {folder} (ASR_CTC_ENCODERS says where encoders lie)")
    return folder


def write_safetensors(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Tensors in half precision: https://github.com/huggingface/safetensors#format."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in weights.items():
        content = tensor.half().contiguous().numpy().tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
