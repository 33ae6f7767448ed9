"""The pretrained encoders of torchaudio.pipelines, by their names there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import torch
from torch import nn

from asr_ctc.acoustic.encoders.catalogue import refuse_unknown
from asr_ctc.acoustic.encoders.clip_edges import keep_clips_apart
from asr_ctc.acoustic.encoders.convolutions import Convolutions
from asr_ctc.acoustic.encoders.encoder import HuggingFaceForm
from asr_ctc.acoustic.encoders.speech_transformer import (
    FEATURE_EXTRACTOR,
    Layer,
    SpeechTransformer,
    standardize,
)
from asr_ctc.acoustic.encoders.weight_files import load_into, read_state_dict
from asr_ctc.audio.samples import SampleFeatures
from asr_ctc.base.errors import UserError

if TYPE_CHECKING:
    from torchaudio.pipelines import Wav2Vec2Bundle

URL = "https://download.pytorch.org/torchaudio/models/"
NORMALIZE_EPS = 1e-5  # as torch's layer_norm


def bundles() -> dict[str, Wav2Vec2Bundle]:
    """The wav2vec 2.0, HuBERT, WavLM, XLS-R and MMS bundles of torchaudio by name.

    UserError without torchaudio.
    """
    try:
        from torchaudio import pipelines
    except (ImportError, OSError) as error:  # OSError: built for another torch
        raise UserError(
            "the bundles of torchaudio need torchaudio, which cannot be imported "
            f"({str(error).splitlines()[0]}): pip install '.[pretrained]' in the folder of asr_ctc"
        ) from None
    everything = ((name, getattr(pipelines, name)) for name in dir(pipelines) if name.isupper())
    return {
        name: bundle for name, bundle in everything if isinstance(bundle, pipelines.Wav2Vec2Bundle)
    }


def find_bundle(name: str) -> Wav2Vec2Bundle:
    """The bundle of a name; UserError with the closest names."""
    known = bundles()
    if name not in known:
        refuse_unknown(name, known)
    return known[name]


def labels_of(bundle: Wav2Vec2Bundle) -> tuple[str, ...] | None:
    """The labels of a bundle's own CTC head, the blank first; None for one without a head."""
    labels = getattr(bundle, "_labels", None)
    return None if labels is None else ("-", *labels)


def address_of(bundle: Wav2Vec2Bundle) -> str:
    path = bundle._path
    return path if path.startswith("https") else URL + path


def cached_file(bundle: Wav2Vec2Bundle) -> Path:
    """Where torch.hub keeps the weights of a bundle once they were fetched."""
    return Path(torch.hub.get_dir(), "checkpoints", address_of(bundle).rpartition("/")[2])


def load_weights(name: str, file: str | Path | None = None) -> dict[str, torch.Tensor]:
    """The state dict of a bundle, from ``file``, or fetched into the cache of torch.hub.

    Classes of its head that are no labels are dropped, as torchaudio does. UserError when it
    cannot be fetched, or is no state dict.
    """
    bundle = find_bundle(name)
    cached = cached_file(bundle)
    if file is None and not cached.exists():
        address = address_of(bundle)
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(cached), progress=True)
        except (URLError, OSError, RuntimeError) as error:
            reason = getattr(error, "reason", None) or error
            raise UserError(
                f"{name}: its weights cannot be fetched ({reason}): put the file of {address} at "
                f"{cached}, or name it with --encoder_weights FILE"
            ) from None
    state = read_state_dict(Path(file) if file else cached)
    n_labels = len(labels_of(bundle) or ())
    unused = getattr(bundle, "_remove_aux_axis", ())
    for key in ("aux.weight", "aux.bias"):
        if key in state and n_labels and len(state[key]) != n_labels:
            rows = [row for row in range(len(state[key])) if row not in unused]
            state[key] = state[key][rows]
    return state


def build_model(name: str) -> Any:
    """The torchaudio model of a bundle with random weights."""
    from torchaudio import models

    bundle = find_bundle(name)
    make = {"Wav2Vec2": models.wav2vec2_model, "WavLM": models.wavlm_model}[bundle._model_type]
    return make(**bundle._params)


def _output_of(layer: nn.Module, options: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    return layer(x, **options)[0]


@dataclass(frozen=True, kw_only=True)
class BundleSettings:
    """Which bundle an encoder is; ValueError for a name that is none."""

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"name must be that of a bundle, found {self.name!r}")

    def __str__(self) -> str:
        return f"{self.name} of torchaudio"

    @property
    def n_layers(self) -> int:
        return find_bundle(self.name)._params["encoder_num_layers"]


class BundleEncoder(SpeechTransformer):
    """The encoder of a bundle, without its head; ``model`` None: with random weights."""

    settings: BundleSettings
    feature_extractor: Any  # both of torchaudio
    encoder: Any

    def __init__(self, settings: BundleSettings, model: Any = None) -> None:
        super().__init__()
        self.settings, bundle = settings, find_bundle(settings.name)
        model = model or build_model(settings.name)
        self.feature_extractor, self.encoder = model.feature_extractor, model.encoder
        layers = [layer.conv for layer in self.feature_extractor.conv_layers]
        self.convolutions = Convolutions.of(layers)
        self.features = SampleFeatures(
            rate=int(bundle.sample_rate), min_samples=self.convolutions.min_inputs
        )
        self.sizes = dict(bundle._params)
        self.size = self.sizes["encoder_embed_dim"]
        self.n_layers = self.sizes["encoder_num_layers"]
        self.normalize = bundle._normalize_waveform
        self.is_wavlm = bundle._model_type == "WavLM"
        keep_clips_apart(self)

    def _project(self, padded: torch.Tensor, n_inputs: torch.Tensor) -> torch.Tensor:
        if self.normalize:
            padded = standardize(padded, n_inputs, NORMALIZE_EPS)
        features, _ = self.feature_extractor(padded, None)
        return self.encoder.feature_projection(features)

    def _with_positions(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder.transformer._preprocess(x)

    def _layers(self, x: torch.Tensor, mask: torch.Tensor | None) -> list[Layer]:
        """torchaudio's own way through its layers cannot mask the padding of WavLM."""
        layers, options = self.encoder.transformer.layers, dict[str, Any]()
        n_clips, n_frames, _ = x.shape
        if mask is not None:
            bias = torch.zeros_like(mask, dtype=x.dtype).masked_fill(~mask, -torch.inf)
            if self.is_wavlm:
                options["key_padding_mask"] = bias
            else:
                bias = bias[:, None, None, :].expand(n_clips, 1, n_frames, n_frames)
                options["attention_mask"] = bias
        if self.is_wavlm:  # the positions of all layers are those of the first
            position_bias = layers[0].attention.compute_bias(n_frames, n_frames)
            options["position_bias"] = position_bias.expand(n_clips, -1, -1, -1)
        return [partial(_output_of, layer, options) for layer in layers]

    def _above_layers(self, x: torch.Tensor) -> torch.Tensor:
        transformer = self.encoder.transformer
        return x if transformer.layer_norm_first else transformer.layer_norm(x)

    def parts(self) -> dict[str, list[nn.Module]]:
        transformer = self.encoder.transformer
        front: list[nn.Module] = [self.encoder.feature_projection, transformer.dropout]
        layers: list[list[nn.Module]] = [[layer] for layer in transformer.layers]
        (front if transformer.layer_norm_first else layers[-1]).append(transformer.layer_norm)
        return {
            FEATURE_EXTRACTOR: [self.feature_extractor],
            "front": [*front, transformer.pos_conv_embed],
            **{f"layer {number}": modules for number, modules in enumerate(layers, 1)},
        }

    def to_huggingface(self) -> HuggingFaceForm:
        if self.is_wavlm:
            raise UserError(
                f"--format huggingface: of torchaudio's WavLM, as {self.settings.name} is, nothing "
                "is written: fine-tune transformers' own, such as microsoft/wavlm-base-plus"
            )
        config = config_of(self)
        # As published: models of the group-norm kind are not told where padding begins.
        is_told = config["feat_extract_norm"] == "layer"
        features = {"do_normalize": self.normalize, "return_attention_mask": is_told}
        note = (
            "torchaudio adds 1e-5 to the variance of a clip, transformers 1e-7: logits of quiet "
            "clips differ a little"
        )
        return HuggingFaceForm(config, features, state_of(self), note if self.normalize else "")


def load_bundle(
    name: str, file: str | Path | None = None
) -> tuple[BundleEncoder, nn.Linear | None]:
    """The encoder of a bundle with its weights, and its CTC head, where it has one.

    UserError as ``load_weights``, and for weights of another architecture, whose tensors it names.
    """
    state = load_weights(name, file)
    model = build_model(name)
    load_into(model, state, str(file or name))
    return BundleEncoder(BundleSettings(name=name), model).eval(), model.aux


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
