"""What the published transformers that read samples have in common: convolutions and layers.

Baevski et al. 2020, "wav2vec 2.0: A framework for self-supervised learning of speech
representations", and its kin: HuBERT, WavLM, XLS-R, data2vec, MMS, w2v-BERT.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from asr_ctc.acoustic.architecture import Size
from asr_ctc.acoustic.clip_mask import inside
from asr_ctc.acoustic.encoders.clip_edges import clips_of
from asr_ctc.acoustic.encoders.convolutions import Convolutions
from asr_ctc.acoustic.encoders.encoder import Encoder, FineTuning

FEATURE_EXTRACTOR = "feature extractor"  # the part that stays frozen in published fine-tuning
Layer = Callable[[torch.Tensor], torch.Tensor]


class SpeechTransformer(Encoder):
    """Clips, packed, to frames, packed: the way through the layers that all of them share.

    ``convolutions`` are those from an input to the frames of the layers.
    """

    convolutions: Convolutions
    fine_tuning: FineTuning = FineTuning()

    @property
    def min_input(self) -> int:  # type: ignore[override]
        return self.convolutions.min_inputs

    def output_lengths(self, n_inputs: Size) -> Size:
        return self.convolutions.output_lengths(n_inputs)

    @property
    def output_centres(self) -> tuple[int, float]:
        return self.convolutions.output_centres

    def front(self, padded: torch.Tensor, n_inputs: torch.Tensor) -> torch.Tensor:
        stages = self.convolutions.stages(n_inputs)
        if not bool((stages[-1] > 0).all()):
            shortest = int(n_inputs.min())
            raise ValueError(f"a clip has {shortest} inputs; needed {self.min_input} or more")
        with clips_of(stages):
            x = self._project(padded, n_inputs)
            if self.training:
                x = self.fine_tuning.masks(x, stages[-1], self._mask_fill())
            n_frames = stages[-1].to(x.device)
            x = x * inside(n_frames, x.shape[1])[:, :, None].to(x.dtype)
            return self._with_positions(x)

    def climb(
        self, x: torch.Tensor, n_frames: torch.Tensor, first: int = 0
    ) -> Iterator[torch.Tensor]:
        mask = None
        if bool((n_frames < x.shape[1]).any()):
            mask = inside(n_frames.to(x.device), x.shape[1])
        layers, tuning, parts = self._layers(x, mask), self.fine_tuning, self.parts()
        for number, layer in enumerate(layers[first:], first + 1):
            is_trained = parts[f"layer {number}"][0].training
            is_dropped = is_trained and float(torch.rand(())) < tuning.layer_drop
            if is_trained and tuning.checkpointing and not is_dropped:
                x = checkpoint(layer, x, use_reentrant=False)
            elif not is_dropped:
                x = layer(x)
            yield self._above_layers(x) if number == self.n_layers else x

    @abstractmethod
    def _project(self, padded: torch.Tensor, n_inputs: torch.Tensor) -> torch.Tensor:
        """Frames (B, T', D) of the convolutions, without positions."""

    @abstractmethod
    def _with_positions(self, x: torch.Tensor) -> torch.Tensor:
        """What the first layer reads, from frames that are zero past the ends of their clips."""

    @abstractmethod
    def _layers(self, x: torch.Tensor, mask: torch.Tensor | None) -> list[Layer]:
        """The layers for frames like x; ``mask`` (B, T') is true inside clips, None everywhere."""

    def _above_layers(self, x: torch.Tensor) -> torch.Tensor:
        """The encoder's output, from that of its last layer."""
        return x

    def _mask_fill(self) -> torch.Tensor | float:
        """What stands in place of masked frames, (D,) or a number."""
        return 0.0


def standardize(samples: torch.Tensor, lengths: torch.Tensor, eps: float) -> torch.Tensor:
    """Each clip of samples (B, S) with mean 0 and variance 1 over its own length; zeros after."""
    result = torch.zeros_like(samples)
    for clip, n in enumerate(lengths.tolist()):
        result[clip, :n] = nn.functional.layer_norm(samples[clip, :n], (n,), eps=eps)
    return result
