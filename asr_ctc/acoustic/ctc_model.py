"""The acoustic model: convolutions over time and mel, recurrent layers, a linear layer.

DeepSpeech-style: Amodei et al. 2016, "Deep Speech 2".
"""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from asr_ctc.acoustic.architecture import (
    N_CHANNELS,
    RECURRENT_CELLS,
    Architecture,
    Size,
)
from asr_ctc.acoustic.clip_mask import frame_mask
from asr_ctc.acoustic.masked_norm import MaskedBatchNorm2d, after_convolution
from asr_ctc.acoustic.penalty import penalty_of
from asr_ctc.acoustic.two_heads import OutputLayers, run_tapped


class CTCModel(OutputLayers):
    """Log-mel spectrograms to logits over V classes, one output frame per four input frames.

    ``cnn`` halves time and mel, then time again (and mel again if ``mel_stride`` is 2);
    ``rnn`` is bidirectional; ``charlin`` gives the V classes, blank first. ``dropout`` is the
    probability after each convolution, ``rnn_dropout`` that between two recurrent layers: Zaremba
    et al. 2014, "Recurrent neural network regularization"; l1 and l2 are the weights in
    ``penalty()``. With the architecture's ``rnn_norm`` each frame is normalised there first: Ba et
    al. 2016, "Layer Normalization".
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        dropout: float = 0.0,
        rnn_dropout: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__()
        self.architecture, self.l1, self.l2 = architecture, l1, l2
        layers: list[nn.Module] = []
        n_inputs = 1
        for convolution in architecture.convolutions:
            layers += [
                nn.Conv2d(n_inputs, N_CHANNELS, **convolution._asdict()),
                MaskedBatchNorm2d(N_CHANNELS),
                nn.Hardtanh(0, 20, inplace=True),
                nn.Dropout2d(dropout),
            ]
            n_inputs = N_CHANNELS
        self.cnn = nn.Sequential(*layers)
        n_hidden, n_layers = architecture.nhidden_rnn, architecture.nlayers_rnn
        self.rnn = RECURRENT_CELLS[architecture.cell_type](
            N_CHANNELS * architecture.output_bins, n_hidden, n_layers, bidirectional=True
        )
        # Without either, cuDNN runs all layers at once.
        n_between = n_layers - 1 if architecture.rnn_norm or rnn_dropout else 0
        self.rnn_norms = nn.ModuleList(
            nn.LayerNorm(2 * n_hidden) if architecture.rnn_norm else nn.Identity()
            for _ in range(n_between)
        )
        self.rnn_dropout = nn.Dropout(rnn_dropout)
        self._add_output_layers(2 * n_hidden, architecture.vocab_size, architecture.aux_vocab_size)

    def output_lengths(self, n_frames: Size) -> Size:
        """Output frames T' of clips of T frames (an int, or a tensor of them)."""
        return self.architecture.output_lengths(n_frames)

    @property
    def output_centres(self) -> tuple[int, float]:
        """(stride, offset): output frame i is centred on input frame stride · i + offset."""
        return self.architecture.output_centres

    def forward(self, spectrograms: PackedSequence, both: bool = False) -> Any:
        """Logits (T', V) of each clip, packed, in the order of the spectrograms (T, F).

        With ``both``, a pair of them: those of each output layer.
        """
        padded, n_frames = pad_packed_sequence(spectrograms, batch_first=True)
        n_mels = self.architecture.n_mels
        if padded.shape[2] != n_mels:
            raise ValueError(f"{n_mels} mel bins are needed, found {padded.shape[2]}")
        features, n_frames = self.convolve(padded.unsqueeze(1), n_frames)
        batch, channels, time, bins = features.shape
        frames = features.permute(2, 0, 1, 3).reshape(time, batch, channels * bins)
        between = [nn.Sequential(norm, self.rnn_dropout) for norm in self.rnn_norms]
        layer = self.rnn.num_layers
        if self._reads_aux(both):
            layer = self.architecture.aux_layer or layer
        hidden, tapped = run_tapped(self.rnn, frames, n_frames, between, layer=layer)
        return self._logits(hidden, tapped, n_frames, both)

    def convolve(
        self, x: torch.Tensor, n_frames: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``cnn`` on (B, 1, T, F), and the output lengths (B,).

        Frames past the end of a clip are set to zero before every convolution, as the convolution
        itself pads a clip: its output does not depend on the padding of the batch.
        """
        x = x * frame_mask(n_frames, x)
        geometries = self.architecture.convolutions
        blocks = zip(*[iter(self.cnn)] * 4, strict=True)
        for geometry, (convolution, *others) in zip(geometries, blocks, strict=True):
            n_frames = geometry.output_size(n_frames, axis=0)
            x = after_convolution(convolution(x), n_frames, *others)
        return x, n_frames

    def penalty(self) -> torch.Tensor | float:
        """l1 · Σ|w| + l2 · Σw² over the weights of convolutions, recurrences and linear layer.

        Biases and normalisation layers are not penalised. Zero factors cost nothing.
        """
        weights = (p for name, p in self.named_parameters() if "weight" in name and p.dim() > 1)
        return penalty_of(weights, l1=self.l1, l2=self.l2)
