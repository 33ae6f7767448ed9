"""The pretrained encoders of torchaudio.pipelines, by their names there."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from asr_ctc.acoustic.encoders.clip_edges import inside, keep_clips_apart
from asr_ctc.acoustic.encoders.convolutions import Convolutions
from asr_ctc.acoustic.encoders.waveform_encoder import FineTuning, WaveformEncoder, standardize
from asr_ctc.acoustic.encoders.weight_files import load_into, read_state_dict
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
            f"({str(error).splitlines()[0]}): pip install 'asr-ctc[pretrained]'"
        ) from None
    everything = ((name, getattr(pipelines, name)) for name in dir(pipelines) if name.isupper())
    return {
        name: bundle for name, bundle in everything if isinstance(bundle, pipelines.Wav2Vec2Bundle)
    }


def find_bundle(name: str) -> Wav2Vec2Bundle:
    """The bundle of a name; UserError with the closest names."""
    known = bundles()
    if name in known:
        return known[name]
    similar = difflib.get_close_matches(name.upper(), known, n=3, cutoff=0.4)
    hint = f"similar: {', '.join(similar)}" if similar else "`pretrained list` shows the names"
    raise UserError(f"{name}: neither a folder nor a bundle of torchaudio; {hint}")


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

    Classes of its head that are no labels are left out, as torchaudio does. UserError when it
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


def build_model(name: str) -> nn.Module:
    """The torchaudio model of a bundle with random weights."""
    from torchaudio import models

    bundle = find_bundle(name)
    make = {"Wav2Vec2": models.wav2vec2_model, "WavLM": models.wavlm_model}[bundle._model_type]
    return make(**bundle._params)


class BundleEncoder(WaveformEncoder):
    """An encoder of torchaudio without its head. ``state`` are its weights; None: random ones."""

    n_inputs = 1

    def __init__(
        self,
        name: str,
        state: dict[str, torch.Tensor] | None = None,
        fine_tuning: FineTuning | None = None,
    ) -> None:
        super().__init__()
        bundle, self.fine_tuning = find_bundle(name), fine_tuning or FineTuning()
        model = build_model(name)
        if state is not None:
            load_into(model, state, name)
        self.head = model.aux
        self.normalize = bundle._normalize_waveform
        self.feature_extractor, self.encoder = model.feature_extractor, model.encoder
        layers = [layer.conv for layer in self.feature_extractor.conv_layers]
        self.convolutions = Convolutions.of(layers)
        self.n_outputs = bundle._params["encoder_embed_dim"]
        self.is_wavlm = bundle._model_type == "WavLM"
        keep_clips_apart(self)

    def _frames(self, inputs: torch.Tensor, n_inputs: torch.Tensor) -> torch.Tensor:
        samples = inputs.squeeze(2)
        if self.normalize:
            samples = standardize(samples, n_inputs, NORMALIZE_EPS)
        features, _ = self.feature_extractor(samples, None)
        x = self.encoder.feature_projection(features)
        lengths = self.output_lengths(n_inputs)
        if self.training:
            x = self.fine_tuning.masks(x, lengths)
        mask = inside(lengths.to(x.device), x.shape[1])
        x = x * mask[:, :, None].to(x.dtype)
        return self._transform(x, mask)

    def _transform(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The transformer, layer by layer: torchaudio's own cannot mask the padding of WavLM."""
        transformer, tuning = self.encoder.transformer, self.fine_tuning
        x = transformer._preprocess(x)
        attention: dict[str, Any] = {}
        if not bool(mask.all()):
            n_clips, n_frames = mask.shape
            bias = torch.zeros_like(mask, dtype=x.dtype).masked_fill(~mask, -torch.inf)
            if self.is_wavlm:
                attention["key_padding_mask"] = bias
            else:
                bias = bias[:, None, None, :].expand(n_clips, 1, n_frames, n_frames)
                attention["attention_mask"] = bias
        position_bias = None
        for number, layer in enumerate(transformer.layers):
            # The first layer of WavLM makes the position bias of all.
            if self.training and number and float(torch.rand(())) < tuning.layer_drop:
                continue
            if self.training and tuning.checkpointing:
                x, position_bias = checkpoint(
                    layer, x, position_bias=position_bias, **attention, use_reentrant=False
                )
            else:
                x, position_bias = layer(x, position_bias=position_bias, **attention)
        return x if transformer.layer_norm_first else transformer.layer_norm(x)

    def parts(self) -> OrderedDict[str, nn.Module]:
        transformer = self.encoder.transformer
        return OrderedDict(
            feature_extractor=self.feature_extractor,
            feature_projection=self.encoder.feature_projection,
            positions=transformer.pos_conv_embed,
            layer_norm=transformer.layer_norm,
            **{f"layer_{n}": layer for n, layer in enumerate(transformer.layers, 1)},
        )
