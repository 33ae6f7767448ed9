"""Lengths, receptive field and centres, against convolutions themselves."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from asr_ctc.acoustic.encoders.convolutions import Convolution, Convolutions

LAYERS = st.lists(
    st.builds(Convolution, st.integers(1, 6), st.integers(1, 3), st.integers(0, 2)),
    min_size=1,
    max_size=4,
)


def run(layers: list[Convolution], x: torch.Tensor) -> torch.Tensor:
    """What convolutions with weights of 1 make of x (S,)."""
    for kernel, stride, padding in layers:
        weight = torch.ones(1, 1, kernel, dtype=x.dtype)
        x = nn.functional.conv1d(x[None, None], weight, stride=stride, padding=padding)[0, 0]
    return x


@given(LAYERS, st.integers(0, 60))
def test_lengths_are_those_of_torch(layers, n_inputs):
    stack = Convolutions(tuple(layers))
    needed = stack.min_inputs
    assert stack.output_lengths(needed) >= 1
    n_inputs += needed
    assert len(run(layers, torch.zeros(n_inputs))) == stack.output_lengths(n_inputs)
    for several in (torch.tensor([n_inputs, 0]), np.array([n_inputs, 0])):
        expected = [stack.output_lengths(n_inputs), stack.output_lengths(0)]
        assert stack.output_lengths(several).tolist() == expected


@given(LAYERS)
def test_a_frame_sees_its_receptive_field_around_its_centre(layers):
    stack = Convolutions(tuple(layers))
    stride, offset = stack.output_centres
    n_inputs = 6 * stack.receptive_field + 40
    x = torch.zeros(n_inputs, dtype=torch.float64, requires_grad=True)
    output = run(layers, x)
    frame = len(output) // 2
    (gradient,) = torch.autograd.grad(output[frame], x)
    seen = gradient.nonzero().flatten()
    # Strides wider than kernels leave gaps, but never at the ends.
    assert int(seen[-1] - seen[0]) + 1 == stack.receptive_field
    assert float(seen[0] + seen[-1]) / 2 == stride * frame + offset


def test_wav2vec2():
    """Baevski et al. 2020: a stride of about 20 ms and a receptive field of 25 ms."""
    kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
    stack = Convolutions(tuple(map(Convolution, kernels, strides)))
    assert (stack.receptive_field, stack.min_inputs) == (400, 400)
    assert stack.output_centres == (320, 199.5)
    assert [stack.output_lengths(n) for n in (0, 399, 400, 719, 720, 16_000)] == [0, 0, 1, 1, 2, 49]


def test_no_convolutions_change_nothing():
    stack = Convolutions(())
    assert (stack.output_lengths(7), stack.receptive_field, stack.output_centres) == (
        7,
        1,
        (1, 0.0),
    )
