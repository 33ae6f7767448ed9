"""A fine-tuned encoder as a folder that transformers loads: AutoModelForCTC, AutoProcessor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from asr_ctc.acoustic.encoder_model import EncoderArchitecture, EncoderModel
from asr_ctc.acoustic.encoders.huggingface import (
    Folder,
    FolderEncoder,
    build,
    import_transformers,
    quiet,
)
from asr_ctc.acoustic.encoders.torchaudio_bundles import BundleEncoder
from asr_ctc.acoustic.model_file import ModelFile
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import why_no_folder
from asr_ctc.text.charmap import CharMap

PAD, UNKNOWN, SEPARATOR = "[PAD]", "[UNK]", "|"


def export_folder(file: ModelFile, folder: Path) -> list[str]:
    """Writes config, weights, vocabulary and feature settings; what a person should know of it.

    UserError for a model that transformers has no class for: with another encoder, or with more
    than a linear layer on it.
    """
    transformers, notes = import_transformers(), []
    refuse_other_heads(file.architecture)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f"{folder}: is not empty; name a new folder")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({why_no_folder(folder, error)})") from None
    model = file.build_model()
    assert isinstance(model, EncoderModel)
    encoder = model.encoder
    if isinstance(encoder, FolderEncoder):
        config, features = (
            json.loads(encoder.settings.config),
            json.loads(encoder.settings.features),
        )
        state = encoder.model.state_dict()
    elif isinstance(encoder, BundleEncoder) and not encoder.is_wavlm:
        config = config_of(encoder)
        # As published: models of the group-norm kind are not told where padding begins.
        is_told = config["feat_extract_norm"] == "layer"
        features = {"do_normalize": encoder.normalize, "return_attention_mask": is_told}
        state = state_of(encoder)
        if encoder.normalize:
            notes.append(
                "torchaudio adds 1e-5 to the variance of a clip, transformers 1e-7: logits of "
                "quiet clips differ a little"
            )
    else:
        raise UserError(f"{encoder.settings}: transformers has no CTC model with this encoder")
    vocab = vocabulary(file.charmap)
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
    return notes


def refuse_other_heads(architecture: Any) -> None:
    """UserError unless the head is a linear layer on the frames of an encoder's last layer."""
    if not isinstance(architecture, EncoderArchitecture):
        raise UserError("--format huggingface: the model has no pretrained encoder")
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


def config_of(encoder: BundleEncoder) -> dict[str, Any]:
    """The config.json of a bundle's wav2vec 2.0, or HuBERT, which is computed alike."""
    sizes = encoder.sizes
    is_pre_norm = sizes["encoder_layer_norm_first"]
    dims, kernels, strides = zip(*sizes["extractor_conv_layer_config"], strict=True)
    return {
        "model_type": "wav2vec2",
        "hidden_size": sizes["encoder_embed_dim"],
        "num_hidden_layers": sizes["encoder_num_layers"],
        "num_attention_heads": sizes["encoder_num_heads"],
        "intermediate_size": sizes["encoder_ff_interm_features"],
        "num_conv_pos_embeddings": sizes["encoder_pos_conv_kernel"],
        "num_conv_pos_embedding_groups": sizes["encoder_pos_conv_groups"],
        "conv_dim": list(dims),
        "conv_kernel": list(kernels),
        "conv_stride": list(strides),
        "conv_bias": sizes["extractor_conv_bias"],
        "feat_extract_norm": sizes["extractor_mode"].removesuffix("_norm"),
        "do_stable_layer_norm": is_pre_norm,
        "mask_time_prob": 0.0,
        "mask_feature_prob": 0.0,
    }


def state_of(encoder: BundleEncoder) -> dict[str, torch.Tensor]:
    """The tensors of a bundle's encoder by their names in transformers."""
    prefixes = {
        "encoder.feature_projection.": "feature_projection.",
        "encoder.transformer.": "encoder.",
    }
    state = {}
    for name, tensor in encoder.state_dict().items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        state[prefixes.get(old, "") + name.removeprefix(old)] = tensor
    return state
