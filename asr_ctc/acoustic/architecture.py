"""The sizes that a CTCModel is built from, and the geometry of its convolutions."""

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import nn

N_CHANNELS = 32
MOST_REACH = 50  # frames
RECURRENT_CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"GRU": nn.GRU, "LSTM": nn.LSTM}
Size = TypeVar("Size", int, torch.Tensor)  # a size, or a tensor of them


def check_aux(aux_vocab_size: int, aux_layer: int, n_layers: int) -> None:
    """ValueError for a second output layer that cannot be."""
    for name, size in (("aux_vocab_size", aux_vocab_size), ("aux_layer", aux_layer)):
        if type(size) is not int or size < 0:
            raise ValueError(f"{name} must be a whole number of at least 0, found {size!r}")
    if aux_layer > n_layers or (aux_layer and not aux_vocab_size):
        raise ValueError(f"aux_layer {aux_layer}: there are {n_layers} recurrent layers")


def describe_aux(aux_vocab_size: int, aux_layer: int) -> str:
    """A second output layer in words; empty if there is none."""
    if not aux_vocab_size:
        return ""
    where = f"recurrent layer {aux_layer}" if aux_layer else "the last"
    return f", a second output layer of {aux_vocab_size} classes on {where}"


class Convolution(NamedTuple):
    """A convolution's geometry: each pair is of time and mel."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def output_size(self, size: Size, axis: int) -> Size:
        """The output size of an axis (0 time, 1 mel) from its input size."""
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        return (size + 2 * self.padding[axis] - kernel) // stride + 1


FIRST_CONVOLUTION = Convolution(kernel_size=(41, 11), stride=(2, 2), padding=(20, 5))


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Everything that determines the tensors of a CTCModel; the model file stores it.

    n_mels: mel bins F of a spectrogram; vocab_size: classes V, blank included.
    nhidden_rnn: hidden units per direction and recurrent layer. cell_type: GRU or LSTM.
    rnn_norm: layer normalisation between the recurrent layers; False if there is only one layer.
    mel_stride: mel bins that the second convolution moves by, 1 as published, or 2. time_reach: the
    frames that it reads on either side of its centre, 10 as published.
    aux_vocab_size: classes of a second output layer, 0: there is none. aux_layer: the recurrent
    layer that it is on, 0: the last.
    Dropout and penalties are not part of it: only training needs them, and models that differ in
    them can exchange their weights. ValueError for impossible sizes.
    """

    n_mels: int
    nhidden_rnn: int
    nlayers_rnn: int
    cell_type: str
    vocab_size: int
    rnn_norm: bool = False
    mel_stride: int = 1
    time_reach: int = 10
    aux_vocab_size: int = 0
    aux_layer: int = 0

    def __post_init__(self) -> None:
        for name in ("n_mels", "nhidden_rnn", "nlayers_rnn", "vocab_size"):
            size = getattr(self, name)
            if type(size) is not int or size < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, found {size!r}")
        if not isinstance(self.cell_type, str) or self.cell_type not in RECURRENT_CELLS:
            raise ValueError(f"cell_type must be GRU or LSTM, found {self.cell_type!r}")
        if not isinstance(self.rnn_norm, bool):
            raise ValueError(f"rnn_norm must be True or False, found {self.rnn_norm!r}")
        if type(self.mel_stride) is not int or self.mel_stride not in (1, 2):
            raise ValueError(f"mel_stride must be 1 or 2, found {self.mel_stride!r}")
        if type(self.time_reach) is not int or not 0 <= self.time_reach <= MOST_REACH:
            raise ValueError(f"time_reach must be 0 to {MOST_REACH}, found {self.time_reach!r}")
        check_aux(self.aux_vocab_size, self.aux_layer, self.nlayers_rnn)
        if self.nlayers_rnn == 1:  # nothing to normalise between layers
            object.__setattr__(self, "rnn_norm", False)

    def __str__(self) -> str:
        norm = " with layer normalisation" if self.rnn_norm else ""
        layers = f"{self.nlayers_rnn} × {self.nhidden_rnn} bidirectional {self.cell_type}"
        other = [
            f"{name.replace('_', ' ')} {getattr(self, name)}"
            for name in ("mel_stride", "time_reach")
            if getattr(self, name) != getattr(Architecture, name)
        ]
        second = f" (the second of {', '.join(other)})" if other else ""
        aux = describe_aux(self.aux_vocab_size, self.aux_layer)
        return f"2 convolutions{second}, {layers}{norm}{aux}"

    @property
    def convolutions(self) -> tuple[Convolution, Convolution]:
        """The geometry of the two convolutions."""
        second = Convolution(
            kernel_size=(2 * self.time_reach + 1, 11),
            stride=(2, self.mel_stride),
            padding=(self.time_reach, 5),
        )
        return FIRST_CONVOLUTION, second

    def output_lengths(self, n_frames: Size) -> Size:
        """Output frames T' of clips of T frames (an int, or a tensor of them)."""
        for convolution in self.convolutions:
            n_frames = convolution.output_size(n_frames, axis=0)
        return n_frames

    @property
    def output_bins(self) -> int:
        """Mel bins after the convolutions."""
        n_bins = self.n_mels
        for convolution in self.convolutions:
            n_bins = convolution.output_size(n_bins, axis=1)
        return n_bins

    @property
    def output_centres(self) -> tuple[int, float]:
        """(stride, offset): output frame i is centred on input frame stride · i + offset.

        This is the centre of its receptive field in the convolutions; the recurrent layers see the
        whole clip.
        """
        stride, offset = 1, 0.0
        for convolution in self.convolutions:
            offset += stride * ((convolution.kernel_size[0] - 1) / 2 - convolution.padding[0])
            stride *= convolution.stride[0]
        return stride, offset

    @property
    def receptive_frames(self) -> int:
        """Input frames that an output frame of the convolutions is computed from."""
        n_frames = 1
        for convolution in reversed(self.convolutions):
            n_frames = (n_frames - 1) * convolution.stride[0] + convolution.kernel_size[0]
        return n_frames

    def has_shapes_of(self, other: "Architecture") -> bool:
        """True if both have tensors of the same names and shapes."""
        alike = replace(
            other, n_mels=self.n_mels, mel_stride=self.mel_stride, aux_layer=self.aux_layer
        )
        return self == alike and self.output_bins == other.output_bins

    @classmethod
    def of_state_dict(cls, state: dict) -> "Architecture":
        """Infers the sizes from the tensors of a CTCModel; ValueError for missing or wrong tensors.

        Other architectures have tensors of the same shapes: ``n_mels`` is then even, ``mel_stride``
        1, ``aux_layer`` 0.
        """
        needed = [
            "cnn.0.weight",
            "cnn.4.weight",
            "rnn.weight_ih_l0",
            "rnn.weight_hh_l0",
            "charlin.0.weight",
        ]
        missing = [key for key in needed if key not in state]
        if missing:
            raise ValueError(f"tensors missing: {', '.join(missing)}")
        n_gates, remainder = divmod(
            state["rnn.weight_hh_l0"].shape[0], state["rnn.weight_hh_l0"].shape[1]
        )
        cell_type = {3: "GRU", 4: "LSTM"}.get(n_gates)
        if cell_type is None or remainder:
            shape = tuple(state["rnn.weight_hh_l0"].shape)
            raise ValueError(f"rnn.weight_hh_l0 {shape} is neither a GRU's nor an LSTM's")
        return cls(
            n_mels=2 * (state["rnn.weight_ih_l0"].shape[1] // N_CHANNELS),
            nhidden_rnn=state["rnn.weight_hh_l0"].shape[1],
            nlayers_rnn=sum(
                key.startswith("rnn.weight_hh_l") and "reverse" not in key for key in state
            ),
            cell_type=cell_type,
            vocab_size=state["charlin.0.weight"].shape[0],
            rnn_norm="rnn_norms.0.weight" in state,
            time_reach=state["cnn.4.weight"].shape[2] // 2,
            aux_vocab_size=len(state.get("auxlin.0.bias", ())),
        )
