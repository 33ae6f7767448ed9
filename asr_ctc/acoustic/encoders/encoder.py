"""The seam of the encoders: from the input of clips to frames, layer by layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from asr_ctc.acoustic.architecture import Size
from asr_ctc.acoustic.encoders.span_masks import SpanMasks
from asr_ctc.base.errors import UserError


class HuggingFaceForm(NamedTuple):
    """An encoder as transformers has it: config.json, preprocessor_config.json and the tensors.

    ``note`` says in what their frames differ, if they do.
    """

    config: dict[str, Any]
    features: dict[str, Any]
    state_dict: dict[str, torch.Tensor]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """What changes an encoder of samples only while it is trained.

    masks: spans of frames and channels. layer_drop: the probability of skipping a layer.
    checkpointing: compute the layers twice, to keep the memory of one of them only.
    """

    masks: SpanMasks = field(default_factory=SpanMasks)
    layer_drop: float = 0.0
    checkpointing: bool = False


class Encoder(nn.Module):
    """From the input of a clip, samples (S,) or feature frames (T, F), to frames (T', D).

    What is below the layers (convolutions, positions) is the front; layer 0 names its output, layer
    ``n_layers`` the encoder's. Frames of a clip do not depend on the clips it is batched with.

    settings: a frozen dataclass of plain values from which ``type(self)(settings)`` builds the same
    tensors; the model file stores it. features: the kind of input, one of audio/; it has ``rate``
    (Hz), ``hop`` (samples per input step) and ``n_frames``. size: D. min_input: input steps of the
    shortest clip that gives a frame. fine_tuning: None for an encoder that has none of its own.
    """

    settings: Any
    features: Any
    size: int
    n_layers: int
    min_input: int
    fine_tuning: FineTuning | None = None

    @property
    def sees_clip_alone(self) -> bool:
        """Whether frames of a layer depend on those below that are the clip's own, not padding.

        Otherwise the layers above cannot go on from frames that were cut to the clip's length.
        """
        return True

    def computed_s(self, durations_s: np.ndarray) -> np.ndarray:
        """Seconds that the encoder computes for clips that last so long, alone in a batch."""
        return durations_s

    @property
    def rate(self) -> int:
        """Samples per second of the audio."""
        return self.features.rate

    def output_lengths(self, n_inputs: Size) -> Size:
        """Frames T' of clips of S samples or T feature frames (an int, or a tensor of them)."""
        raise NotImplementedError

    @property
    def output_centres(self) -> tuple[int, float]:
        """(stride, offset): frame i is centred on input step stride · i + offset."""
        raise NotImplementedError

    def front(self, padded: torch.Tensor, n_inputs: torch.Tensor) -> torch.Tensor:
        """Layer 0, (B, T', D), of inputs (B, S) or (B, T, F) of lengths ``n_inputs`` (B,)."""
        raise NotImplementedError

    def climb(
        self, x: torch.Tensor, n_frames: torch.Tensor, first: int = 0
    ) -> Iterator[torch.Tensor]:
        """Outputs (B, T', D) of the layers ``first`` + 1, ..., n_layers, one after the other.

        ``x`` (B, T', D) is the output of layer ``first``, ``n_frames`` (B,) are its lengths. Layers
        that are not asked for are not computed.
        """
        raise NotImplementedError

    def parts(self) -> dict[str, list[nn.Module]]:
        """What can be frozen or given a learning rate of its own: 'front', then 'layer 1', ...

        Encoders of samples have a 'feature extractor' before them.

        Every parameter is in exactly one of them; those above the last layer are in that layer's.
        """
        raise NotImplementedError

    def to_huggingface(self) -> HuggingFaceForm:
        """As transformers loads it; UserError where it has no CTC model with such an encoder."""
        raise UserError(f"{self.settings}: transformers has no CTC model with this encoder")

    def forward(
        self, inputs: PackedSequence, layers: Sequence[int] | None = None
    ) -> PackedSequence:
        """Frames (T', L · D) of the L ``layers``, in increasing order; None is the last alone."""
        padded, n_inputs = pad_packed_sequence(inputs, batch_first=True)
        x, n_frames = self.front(padded, n_inputs), self.output_lengths(n_inputs)
        frames = self.frames_above(x, n_frames, layers=layers)
        return pack_padded_sequence(frames, n_frames, batch_first=True, enforce_sorted=False)

    def frames_above(
        self,
        x: torch.Tensor,
        n_frames: torch.Tensor,
        *,
        first: int = 0,
        layers: Sequence[int] | None = None,
    ) -> torch.Tensor:
        """Padded frames (B, T', L · D) of ``layers`` from those of layer ``first``, (B, T', D)."""
        layers = [self.n_layers] if layers is None else layers
        outputs = [x] if first in layers else []
        if layers[-1] > first:
            for layer, output in enumerate(self.climb(x, n_frames, first), first + 1):
                if layer in layers:
                    outputs.append(output)
                if layer == layers[-1]:
                    break
        return torch.cat(outputs, dim=2) if len(outputs) > 1 else outputs[0]
