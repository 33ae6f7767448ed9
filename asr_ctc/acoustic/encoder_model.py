"""A model with a pretrained encoder: encoder, weighted sum of layers, stacked frames, a head.

The head is that of the classic model: recurrent layers, if any, and a linear layer.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from asr_ctc.acoustic.architecture import RECURRENT_CELLS, Size, check_aux, describe_aux
from asr_ctc.acoustic.clip_mask import inside
from asr_ctc.acoustic.encoders.kinds import EncoderSettings, encoder_of
from asr_ctc.acoustic.encoders.span_masks import SpanMasks
from asr_ctc.acoustic.penalty import penalty_of
from asr_ctc.acoustic.recurrent import run_layers
from asr_ctc.acoustic.two_heads import OutputLayers, run_tapped


@dataclass(frozen=True, kw_only=True)
class EncoderArchitecture:
    """Everything that determines the tensors of an EncoderModel; the model file stores it.

    encoder: its settings. layers: those of its layers that are read, in increasing order; of
    several a weighted sum is learned. frame_stack: frames that are joined to one. projection: units
    of the linear layer after that; 0: there is none, and no normalisation before it. nlayers_rnn,
    which may be 0, nhidden_rnn, cell_type, rnn_norm, vocab_size, aux_vocab_size and aux_layer are
    those of ``Architecture``. ValueError for impossible sizes.
    """

    encoder: EncoderSettings
    layers: tuple[int, ...]
    frame_stack: int
    projection: int
    nlayers_rnn: int
    nhidden_rnn: int
    cell_type: str
    vocab_size: int
    rnn_norm: bool = False
    aux_vocab_size: int = 0
    aux_layer: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            *(("frame_stack", 1), ("projection", 0), ("nlayers_rnn", 0)),
            *(("nhidden_rnn", 1), ("vocab_size", 1)),
        ):
            size = getattr(self, name)
            if type(size) is not int or size < least:
                raise ValueError(
                    f"{name} must be a whole number of at least {least}, found {size!r}"
                )
        if not isinstance(self.cell_type, str) or self.cell_type not in RECURRENT_CELLS:
            raise ValueError(f"cell_type must be GRU or LSTM, found {self.cell_type!r}")
        if not isinstance(self.rnn_norm, bool):
            raise ValueError(f"rnn_norm must be True or False, found {self.rnn_norm!r}")
        check_aux(self.aux_vocab_size, self.aux_layer, self.nlayers_rnn)
        layers, n_layers = self.layers, self.encoder.n_layers
        if not layers or any(type(n) is not int or not 0 <= n <= n_layers for n in layers):
            raise ValueError(f"layers must be in 0..{n_layers}, found {layers!r}")
        if list(layers) != sorted(set(layers)):
            raise ValueError(f"layers must increase, found {layers!r}")

    def __str__(self) -> str:
        layers = ", ".join(map(str, self.layers))
        parts = [
            f"{self.encoder}, of which layer {layers} is read"
            if len(self.layers) == 1
            else f"{self.encoder}, weighted sum of layers {layers}",
            f"{self.frame_stack} frames joined, linear {self.projection or self.vocab_size}",
        ]
        if self.nlayers_rnn:
            norm = " with layer normalisation" if self.rnn_norm else ""
            parts.append(
                f"{self.nlayers_rnn} × {self.nhidden_rnn} bidirectional {self.cell_type}{norm}"
            )
        return ", ".join(parts) + describe_aux(self.aux_vocab_size, self.aux_layer)


class EncoderModel(OutputLayers):
    """Features of the encoder's kind to logits over V classes, blank first.

    ``dropout`` is the probability after the projection and after each recurrent layer; l1 and l2
    are the weights in ``penalty()``, of the head alone. ``masks`` are those of training, on the
    input of the first layer that is computed, unless the encoder has its own. ``input_layers``:
    None, or the layers whose outputs the model is given in place of features, as a cache keeps
    them: either the architecture's ``layers``, joined, or one that is not above them.
    """

    def __init__(
        self,
        architecture: EncoderArchitecture,
        *,
        dropout: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__()
        self.architecture, self.l1, self.l2 = architecture, l1, l2
        self.input_layers: tuple[int, ...] | None = None
        self.masks = SpanMasks()
        self.encoder = encoder_of(architecture.encoder)
        n_layers, size = len(architecture.layers), self.encoder.size
        self.layer_weights = nn.Parameter(torch.zeros(n_layers)) if n_layers > 1 else None
        self.norm = self.projection = None
        if architecture.projection:
            self.norm = nn.LayerNorm(architecture.frame_stack * size)
            self.projection = nn.Linear(architecture.frame_stack * size, architecture.projection)
        self.dropout = nn.Dropout(dropout)
        n_hidden = architecture.nhidden_rnn
        n_outputs = architecture.projection or architecture.frame_stack * size
        self.rnn = None
        self.rnn_norms = nn.ModuleList()
        if architecture.nlayers_rnn:
            self.rnn = RECURRENT_CELLS[architecture.cell_type](
                n_outputs, n_hidden, architecture.nlayers_rnn, bidirectional=True
            )
            n_outputs = 2 * n_hidden
            for _ in range(architecture.nlayers_rnn - 1):
                norm = nn.LayerNorm(n_outputs) if architecture.rnn_norm else nn.Identity()
                self.rnn_norms.append(nn.Sequential(norm, nn.Dropout(dropout)))
        self._add_output_layers(n_outputs, architecture.vocab_size, architecture.aux_vocab_size)

    def output_lengths(self, n_inputs: Size) -> Size:
        """Output frames T' of clips of ``n_inputs`` features, or frames of ``input_layers``."""
        if self.input_layers is None:
            n_inputs = self.encoder.output_lengths(n_inputs)
        return -(-n_inputs // self.architecture.frame_stack)

    @property
    def output_centres(self) -> tuple[int, float]:
        """(stride, offset): output frame i is centred on feature stride · i + offset."""
        stride, offset = self.encoder.output_centres
        n_stacked = self.architecture.frame_stack
        return stride * n_stacked, offset + stride * (n_stacked - 1) / 2

    def forward(self, inputs: PackedSequence, both: bool = False) -> Any:
        """Logits (T', V) of each clip, packed, in the order of the inputs.

        With ``both``, a pair of them: those of each output layer.
        """
        padded, n_inputs = pad_packed_sequence(inputs, batch_first=True)
        layers = self.architecture.layers
        if self.input_layers is None:
            x = self.encoder.front(padded, n_inputs)
            n_frames = self.encoder.output_lengths(n_inputs)
            # Encoders of samples mask below their positions, as they were trained.
            x = x if self.encoder.fine_tuning else self._masked(x, n_frames)
            x = self.encoder.frames_above(x, n_frames, layers=layers)
        elif self.input_layers == layers:
            x, n_frames = self._masked(padded, n_inputs), n_inputs
        else:
            (first,), x, n_frames = self.input_layers, self._masked(padded, n_inputs), n_inputs
            x = self.encoder.frames_above(x, n_frames, first=first, layers=layers)
        hidden, tapped, n_frames = self.hidden_frames(x[:, : int(n_frames.max())], n_frames)
        return self._logits(hidden, tapped, n_frames, both)

    def _masked(self, x: torch.Tensor, n_frames: torch.Tensor) -> torch.Tensor:
        return self.masks(x, n_frames) if self.training else x

    def hidden_frames(
        self, x: torch.Tensor, n_frames: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Frames (B, T, L · D) to hidden units (T', B, H), those of ``aux_layer``, lengths (B,)."""
        x, n_frames = self.joined_frames(x, n_frames)
        if self.rnn is None:
            return x, x, n_frames
        norms, layer = [*self.rnn_norms], self.architecture.aux_layer
        if layer in (0, self.rnn.num_layers):
            x = self.dropout(run_layers(self.rnn, x, n_frames, norms))
            return x, x, n_frames
        x, tapped = run_tapped(self.rnn, x, n_frames, norms, layer=layer)
        return self.dropout(x), tapped, n_frames

    def joined_frames(
        self, x: torch.Tensor, n_frames: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames (B, T, L · D) summed over layers, stacked and projected: (T', B, I) and (B,)."""
        if self.layer_weights is not None:
            shares = self.layer_weights.softmax(0)
            x = torch.einsum("btld,l->btd", x.unflatten(2, (len(shares), -1)), shares)
        is_sound = inside(n_frames, x.shape[1], x.device)
        x = x.masked_fill(~is_sound[..., None], 0.0)  # a stack may reach past a clip's end
        n_stacked = self.architecture.frame_stack
        x = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % n_stacked))
        x = x.unflatten(1, (-1, n_stacked)).flatten(2).transpose(0, 1)
        n_frames = -(-n_frames // n_stacked)
        if self.norm is not None and self.projection is not None:
            x = nn.functional.gelu(self.projection(self.norm(x)))
        return self.dropout(x), n_frames

    def penalty(self) -> torch.Tensor | float:
        """l1 · Σ|w| + l2 · Σw² over the weights of the head's linear and recurrent layers."""
        weights = (
            p
            for name, p in self.named_parameters()
            if "weight" in name and p.dim() > 1 and not name.startswith("encoder.")
        )
        return penalty_of(weights, l1=self.l1, l2=self.l2)
