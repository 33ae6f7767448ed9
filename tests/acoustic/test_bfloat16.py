"""Numbers of bfloat16 in compiled functions, against torch's own conversions."""

import numba
import numpy as np
import pytest
import torch

from asr_ctc.acoustic.bfloat16 import as_array, from_float, to_float


@numba.njit
def widen(values, out):
    for i in range(len(values)):
        out[i] = to_float(values[i])


@numba.njit
def narrow(values, out):
    for i in range(len(values)):
        out[i] = from_float(values[i], out)


def equal(x: torch.Tensor, y: torch.Tensor) -> bool:
    return bool(((x == y) & (x.signbit() == y.signbit()) | (x.isnan() & y.isnan())).all())


def test_every_bfloat16_is_read_as_torch_reads_it():
    bits = np.arange(65536, dtype=np.uint16).view(np.int16)
    numbers = torch.from_numpy(bits).view(torch.bfloat16)
    widened = np.empty(65536, np.float32)
    widen(as_array(numbers), widened)
    assert equal(torch.from_numpy(widened), numbers.float())


def test_floats_are_rounded_as_torch_rounds_them():
    """Ties, numbers that become infinite, subnormal ones, NaN of any payload, and random bits."""
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    ties = (bits & 0xFFFF0000) | 0x8000
    edges = [0, 1 << 31, 0x7F7FFFFF, 0x7F800000, 0xFF800001, 0x7FFFFFFF, 1, 0x8000]
    bits = np.concatenate([bits, ties, ties - 1, ties + 1, np.array(edges, np.uint32)])
    values = torch.from_numpy(bits.view(np.float32))
    narrowed = torch.empty(len(values), dtype=torch.bfloat16)
    narrow(as_array(values), as_array(narrowed))
    assert equal(narrowed, values.bfloat16())


@pytest.mark.slow
def test_other_numbers_stay_as_they_are():
    for kind in torch.float32, torch.float64:
        values = torch.randn(100, dtype=kind)
        out = torch.empty_like(values)
        narrow(as_array(values), as_array(out))
        assert torch.equal(out, values)
        widen(as_array(values), as_array(out))
        assert torch.equal(out, values)


def test_an_array_is_the_memory_of_its_tensor():
    x = torch.zeros(3, dtype=torch.bfloat16, requires_grad=True)
    as_array(x)[1] = 0x3F80
    assert x.tolist() == [0, 1, 0]
