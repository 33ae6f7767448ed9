"""Published models that transcribe as they are: an encoder, its own CTC head, its own labels."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from asr_ctc.acoustic.architecture import Size
from asr_ctc.acoustic.encoders import huggingface, torchaudio_bundles
from asr_ctc.acoustic.encoders.catalogue import BUNDLES, HUB, refuse_unknown
from asr_ctc.acoustic.encoders.encoder import Encoder
from asr_ctc.audio.features import Features
from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.base.errors import UserError
from asr_ctc.text.label_map import LabelMap


class PublishedCTC(nn.Module):
    """An encoder and a linear layer: clips, packed, to logits (T', V), packed."""

    def __init__(self, encoder: Encoder, head: nn.Linear):
        super().__init__()
        self.encoder, self.head = encoder, head

    def output_lengths(self, n_inputs: Size) -> Size:
        return self.encoder.output_lengths(n_inputs)

    @property
    def output_centres(self) -> tuple[int, float]:
        return self.encoder.output_centres

    def forward(self, clips: PackedSequence) -> PackedSequence:
        frames = self.encoder(clips)
        return frames._replace(data=self.head(frames.data))


@dataclass
class PublishedModel:
    """What a published model brings to transcribe with: as a ModelFile, but never trained here.

    assumed: what its files lack, and what stands in place of it.
    """

    model: PublishedCTC
    charmap: LabelMap
    assumed: str = ""
    origin: dict = field(default_factory=dict)
    language_model: None = None

    @property
    def features(self) -> Features:
        return self.model.encoder.features

    def build_model(self) -> PublishedCTC:
        """The model with its weights, on the CPU, in evaluation mode."""
        return self.model.eval()

    def build_processor(self) -> WaveformProcessor:
        return WaveformProcessor(self.features)


def open_pretrained(
    name: str, *, weights: str | None = None, language: str | None = None
) -> PublishedModel:
    """The model of a bundle of torchaudio, a folder, or a name of the Hugging Face hub.

    ``weights`` is the file of a bundle's weights, ``language`` the adapter of an MMS model.
    UserError when there is no such model, it cannot be fetched or read, or has no CTC head.
    """
    path = locate(name, language)
    if path is None:
        return _open_bundle(name, weights, language)
    folder = huggingface.read_folder(path, name)
    if weights is not None:
        raise UserError(f"--encoder_weights {weights}: a folder brings its own weights; omit it")
    if not folder.has_head:
        raise UserError(
            f"{name}: has no CTC head: it is to be fine-tuned (`train --encoder {name}`)"
        )
    _refuse_needless(folder, language)
    encoder, head = huggingface.load_folder(folder, head=True, language=language)
    assert head is not None
    charmap, classes = huggingface.read_labels(folder, head.out_features, language)
    return PublishedModel(
        PublishedCTC(encoder, _with_classes(head, classes)), charmap, assumed_of(folder)
    )


def open_encoder(
    name: str, *, weights: str | None = None, language: str | None = None
) -> tuple[Encoder, str]:
    """The encoder of a name as of ``open_pretrained``, with its weights, without a head.

    The second is what was assumed, empty where nothing was.
    """
    return load_encoder(name, locate(name, language), weights=weights, language=language)


def load_encoder(
    name: str, path: Path | None, *, weights: str | None = None, language: str | None = None
) -> tuple[Encoder, str]:
    """As ``open_encoder``, of a name that ``locate`` has found at ``path``."""
    if path is None:
        _refuse_adapter(name, language)
        return torchaudio_bundles.load_bundle(name, weights)[0], ""
    folder = huggingface.read_folder(path, name)
    if weights is not None:
        raise UserError(f"--encoder_weights {weights}: a folder brings its own weights; omit it")
    _refuse_needless(folder, language)
    encoder, _ = huggingface.load_folder(folder, head=False, language=language)
    return encoder, assumed_of(folder)


def locate(name: str, language: str | None = None) -> Path | None:
    """The folder of a name, fetched where it is one of the hub; None for a bundle.

    UserError, with similar names, for what is none of the three.
    """
    if os.path.exists(name):  # unlike that of Path, false for a name that no file can have
        return Path(name)
    if name.count("/") == 1 and not name.startswith(("/", ".", "~")):
        return huggingface.fetch(name, language)
    if "/" in name or name.startswith((".", "~")):
        raise UserError(f"no folder {name}")
    known = [published.name for published in (*BUNDLES, *HUB)]
    if name not in known:
        refuse_unknown(name, known)
    return None


def assumed_of(folder: huggingface.Folder) -> str:
    """What a folder lacks that a person should know of."""
    if folder.features:
        return ""
    return (
        "there is no preprocessor_config.json: clips of 16 kHz, scaled to mean 0 and variance 1, "
        "are assumed; put it beside config.json if the model was trained on others"
    )


def _open_bundle(name: str, weights: str | None, language: str | None) -> PublishedModel:
    _refuse_adapter(name, language)
    labels = torchaudio_bundles.labels_of(torchaudio_bundles.find_bundle(name))
    if labels is None:
        fine_tuned = [p.name for p in BUNDLES if p.transcribes]
        similar = difflib.get_close_matches(name.replace("_", "_ASR_", 1), fine_tuned, 1)
        raise UserError(
            f"{name}: has no CTC head: it is to be fine-tuned (`train --encoder {name}`); "
            f"one that transcribes is {(similar or ['WAV2VEC2_ASR_BASE_960H'])[0]}"
        )
    encoder, head = torchaudio_bundles.load_bundle(name, weights)
    assert head is not None
    charmap, classes = LabelMap.from_labels(dict(enumerate(labels)), blank=0)
    return PublishedModel(PublishedCTC(encoder, _with_classes(head, classes)), charmap)


def _refuse_adapter(name: str, language: str | None) -> None:
    if language is not None:
        raise UserError(f"--adapter {language}: {name} has no adapters; omit it")


def _refuse_needless(folder: huggingface.Folder, language: str | None) -> None:
    if folder.config.get("adapter_attn_dim") is None:
        _refuse_adapter(str(folder.path), language)


def _with_classes(head: nn.Linear, classes: list[int]) -> nn.Linear:
    """The linear layer with these of its classes, in this order."""
    chosen = nn.Linear(head.in_features, len(classes), bias=head.bias is not None)
    with torch.no_grad():
        chosen.weight.copy_(head.weight[classes])
        if head.bias is not None:
            chosen.bias.copy_(head.bias[classes])
    return chosen
