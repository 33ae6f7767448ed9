"""The convolutions that an encoder consists of in time: how many frames it gives, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from asr_ctc.acoustic.architecture import Size


class Convolution(NamedTuple):
    """A convolution in time."""

    kernel: int
    stride: int
    padding: int = 0

    @classmethod
    def of(cls, layer: nn.Conv1d) -> Convolution:
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding
        if isinstance(padding, str) or layer.dilation[0] != 1:
            raise ValueError(f"a convolution with padding {padding}, dilation {layer.dilation}")
        if stride < 1:
            raise ValueError(f"a convolution with a stride of {stride}")
        return cls(kernel, stride, padding[0])


@dataclass(frozen=True)
class Convolutions:
    """Convolutions one after another: the geometry of what they make of a clip."""

    layers: tuple[Convolution, ...]

    @classmethod
    def of(cls, layers: Iterable[nn.Conv1d]) -> Convolutions:
        return cls(tuple(map(Convolution.of, layers)))

    def stages(self, n_inputs: Size) -> list[Size]:
        """The lengths of a clip of ``n_inputs`` before the first layer and after each one."""
        lengths = [n_inputs]
        for layer in self.layers:
            n = (lengths[-1] + 2 * layer.padding - layer.kernel) // layer.stride + 1
            lengths.append(n * (n > 0))  # never below 0, for a number, an array or a tensor
        return lengths

    def output_lengths(self, n_inputs: Size) -> Size:
        """Output frames T' of clips of ``n_inputs`` samples (an int, an array or a tensor)."""
        return self.stages(n_inputs)[-1]

    @property
    def output_centres(self) -> tuple[int, float]:
        """(stride, offset): frame i is centred on input stride · i + offset."""
        stride, offset = 1, 0.0
        for layer in self.layers:
            offset += stride * ((layer.kernel - 1) / 2 - layer.padding)
            stride *= layer.stride
        return stride, offset

    @property
    def receptive_field(self) -> int:
        """Inputs that one output frame sees."""
        n_inputs = 1
        for layer in reversed(self.layers):
            n_inputs = (n_inputs - 1) * layer.stride + layer.kernel
        return n_inputs

    @property
    def min_inputs(self) -> int:
        """Inputs of the shortest clip that has an output frame."""
        n_inputs = 1
        for layer in reversed(self.layers):
            n_inputs = max(1, (n_inputs - 1) * layer.stride + layer.kernel - 2 * layer.padding)
        return n_inputs
