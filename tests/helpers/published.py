"""Small models of the published kinds, saved in the very form in which they are served."""

import copy
import dataclasses
import functools
import json
import tempfile
from pathlib import Path

import pytest
import torch

LETTERS = "abcdefghijklmnopqrstuvwxyzéèàç'"
VOCAB = {
    "|": 0,
    **{letter: number for number, letter in enumerate(LETTERS, 1)},
    "[UNK]": len(LETTERS) + 1,
    "[PAD]": len(LETTERS) + 2,
    "<s>": len(LETTERS) + 3,
    "</s>": len(LETTERS) + 4,
}
SMALL = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
CONVOLUTIONS = dict(conv_dim=(16,) * 7, num_conv_pos_embedding_groups=4)
POSITIONS = dict(num_conv_pos_embeddings=16)
PRE_NORM = dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
SUBSAMPLING = dict(add_adapter=True, num_adapter_layers=2, output_hidden_size=32)
# model_type and what differs from its defaults: what is published of each kind
FOLDERS = {
    "wav2vec2 base": ("wav2vec2", POSITIONS),
    "wav2vec2 large": ("wav2vec2", POSITIONS | PRE_NORM),
    "wav2vec2 subsampling": ("wav2vec2", POSITIONS | SUBSAMPLING),
    "mms": ("wav2vec2", POSITIONS | PRE_NORM | dict(adapter_attn_dim=8)),
    "hubert": ("hubert", POSITIONS),
    "hubert large": ("hubert", POSITIONS | PRE_NORM),
    "wavlm": ("wavlm", POSITIONS),
    "wavlm large": ("wavlm", POSITIONS | PRE_NORM),
    "data2vec": ("data2vec-audio", dict(conv_pos_kernel_size=7)),
    "w2v-bert": ("wav2vec2-bert", {}),
    "w2v-bert subsampling": ("wav2vec2-bert", SUBSAMPLING),
}
BUNDLES = (
    *("WAV2VEC2_BASE", "WAV2VEC2_XLSR_300M", "HUBERT_BASE", "WAVLM_BASE_PLUS", "WAVLM_LARGE"),
    "WAV2VEC2_ASR_BASE_960H",
)
SMALL_BUNDLE = dict(
    encoder_embed_dim=64,
    encoder_num_layers=2,
    encoder_num_heads=4,
    encoder_ff_interm_features=128,
    encoder_pos_conv_kernel=16,
    encoder_pos_conv_groups=4,
)


def make_folder(
    folder: Path,
    kind: str = "wav2vec2 base",
    *,
    head: bool = True,
    is_shaken: bool = True,
    **changes,
):
    """Saves a model with random weights as transformers does; returns (model, feature extractor).

    With a head it has the labels of VOCAB; its tokens are unlikely, as in models that were trained.
    """
    model, extractor, files, state = _saved(kind, head, is_shaken, tuple(changes.items()))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    torch.set_rng_state(state)
    return copy.deepcopy((model, extractor))


@functools.cache
def _saved(kind: str, head: bool, is_shaken: bool, changes: tuple):
    """(model, feature extractor, {file: content}, torch's random state then)"""
    transformers = pytest.importorskip("transformers")
    from asr_ctc.acoustic.encoders.huggingface import KINDS

    transformers.utils.logging.disable_progress_bar()
    model_type, own = FOLDERS[kind]
    name, reads_mels = KINDS[model_type], model_type == "wav2vec2-bert"
    sizes = SMALL | ({} if reads_mels else CONVOLUTIONS) | own | dict(changes)
    config = getattr(transformers, f"{name}Config")(
        **sizes, vocab_size=len(VOCAB), pad_token_id=VOCAB["[PAD]"]
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}{'ForCTC' if head else 'Model'}")(config).eval()
    if is_shaken:
        shake(model)
    if reads_mels:
        extractor = transformers.SeamlessM4TFeatureExtractor()
    else:
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if head:
            with torch.no_grad():
                model.lm_head.bias[[VOCAB[token] for token in ("[UNK]", "<s>", "</s>")]] = -100.0
            (folder / "vocab.json").write_text(json.dumps(VOCAB, ensure_ascii=False), "utf-8")
            tokens = dict(pad_token="[PAD]", unk_token="[UNK]", word_delimiter_token="|")
            (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
    return model, extractor, files, torch.get_rng_state()


def make_bundle(monkeypatch, folder: Path, name: str):
    """Makes a bundle of torchaudio small, and its file as the hub would have cached it in a folder.

    Returns the model that torchaudio itself makes of it.
    """
    pipelines = pytest.importorskip("torchaudio.pipelines")
    from asr_ctc.acoustic.encoders import torchaudio_bundles

    bundle = getattr(pipelines, name)
    layers = [(32, kernel, stride) for _, kernel, stride in _layers(bundle)]
    sizes = {**bundle._params, **SMALL_BUNDLE, "extractor_conv_layer_config": layers}
    small = dataclasses.replace(bundle, _params=sizes)
    monkeypatch.setattr(pipelines, name, small)
    monkeypatch.setenv("TORCH_HOME", str(folder))
    torch.manual_seed(0)
    model = torchaudio_bundles.build_model(name)
    shake(model)
    state = {_old_name(key): value for key, value in model.state_dict().items()}
    for key in ("aux.weight", "aux.bias") if "aux.weight" in state else ():  # fairseq has 3 more
        state[key] = torch.cat(
            [state[key][:1], state[key].new_zeros(3, *state[key].shape[1:]), state[key][1:]]
        )
    file = torchaudio_bundles.cached_file(small)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)
    return small.get_model()


def _layers(bundle) -> list:
    return bundle._params["extractor_conv_layer_config"]


def _old_name(key: str) -> str:
    """The name of a tensor in torchaudio's files, older than torch's parametrizations."""
    return key.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


def shake(model) -> None:
    """Gives biases and scales random values: at 1 and 0 errors would not be seen."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.normal_(0.5, 0.5)


def clips(*lengths: int) -> list[torch.Tensor]:
    """Noise (S,) of several levels."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, generator=generator) * (0.1 + n % 3) for n in lengths]
