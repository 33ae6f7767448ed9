"""What each layer of a model holds of one clip, and what its output layer would make of it."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.encoder_model import EncoderModel
from asr_ctc.acoustic.encoders.encoder import Encoder
from asr_ctc.acoustic.encoders.published import PublishedCTC
from asr_ctc.acoustic.recurrent import packed_layers


class LayerOutput(NamedTuple):
    """The output of one layer for one clip.

    frames: (T'', D). centres: frame i is centred on input step stride · i + offset. logits: the
    classes (T', V) that the model's own output layer reads from it ("logit lens"; of a recurrent
    layer without those above it, of an encoder's with the whole head); None where sizes differ.
    """

    name: str
    frames: torch.Tensor
    centres: tuple[int, float]
    logits: torch.Tensor | None = None


AnyCTC = CTCModel | EncoderModel | PublishedCTC


@torch.inference_mode()
def layer_outputs(model: AnyCTC, features: torch.Tensor) -> list[LayerOutput]:
    """The layers of a model in evaluation mode, from the input up, for a clip (T, F) or (S,)."""
    if isinstance(model, CTCModel):
        x = convolved(model, features).flatten(1)[:, None]
        front = LayerOutput("convolutions", x[:, 0], model.output_centres)
        return [front, *_recurrent_outputs(model, x)]
    if isinstance(model, PublishedCTC):
        centres = model.encoder.output_centres
        return [
            LayerOutput(name, x[0], centres, model.head(x[0]))
            for name, x in _encoder_outputs(model.encoder, features)
        ]
    return list(_head_outputs(model, features))


def convolved(model: CTCModel, features: torch.Tensor) -> torch.Tensor:
    """What the convolutions make of a clip (T, F): (T', channels, bins)."""
    x, _ = model.convolve(features[None, None], torch.tensor([len(features)]))
    return x[0].transpose(0, 1)


def _recurrent_outputs(model: CTCModel | EncoderModel, x: torch.Tensor) -> Iterator[LayerOutput]:
    """The recurrent layers from their input (T', 1, I); the output layer fits each of them."""
    if model.rnn is None:
        return
    packed: PackedSequence = pack_sequence([x[:, 0]])
    norms: list[nn.Module] = [*model.rnn_norms]
    for number, hidden in enumerate(packed_layers(model.rnn, packed, norms), 1):
        logits = model.output_layer(hidden)
        yield LayerOutput(f"recurrent layer {number}", hidden, model.output_centres, logits)


def _encoder_outputs(
    encoder: Encoder, features: torch.Tensor
) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, frames (1, T'', D)) of the layers of an encoder, its front first."""
    n_frames = encoder.output_lengths(torch.tensor([len(features)]))
    x = encoder.front(features[None], torch.tensor([len(features)]))
    yield "encoder, below its layers", x[:, : int(n_frames)]
    for number, output in enumerate(encoder.climb(x, n_frames), 1):
        yield f"encoder layer {number}", output[:, : int(n_frames)]


def _head_outputs(model: EncoderModel, features: torch.Tensor) -> Iterator[LayerOutput]:
    """The encoder's layers, each read by the head alone, then the recurrent layers of the head."""
    n_read, encoder = len(model.architecture.layers), model.encoder
    outputs = []
    for number, (name, x) in enumerate(_encoder_outputs(encoder, features)):
        hidden, tapped, _ = model.hidden_frames(x.repeat(1, 1, n_read), torch.tensor([x.shape[1]]))
        if model.output_layer is model.auxlin:
            hidden = tapped.view(len(hidden), 1, -1)  # of one clip, packed or not
        yield LayerOutput(name, x[0], encoder.output_centres, model.output_layer(hidden)[:, 0])
        if number in model.architecture.layers:
            outputs.append(x)
    top = torch.cat(outputs, dim=2)
    joined, _ = model.joined_frames(top, torch.tensor([top.shape[1]]))
    yield from _recurrent_outputs(model, joined)
