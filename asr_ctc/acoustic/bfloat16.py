"""bfloat16 in compiled functions: numba has no such type, so arrays of it are seen as uint16.

A bfloat16 is the upper half of a float32.
"""

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload


def as_array(x: torch.Tensor) -> np.ndarray:
    """The memory of a CPU tensor as an array, that of a bfloat16 tensor as uint16."""
    x = x.detach()
    return x.view(torch.int16).numpy().view(np.uint16) if x.dtype == torch.bfloat16 else x.numpy()


def to_float(x: Any) -> Any:
    """In compiled functions: the number that an element of such an array is."""
    raise NotImplementedError


def from_float(value: Any, array: Any) -> Any:
    """In compiled functions: what an element of ``array`` must be for a number, rounded to even."""
    raise NotImplementedError


def _same_bits(source: Any, target: Any, of_target: ir.Type) -> Any:
    """For compiled functions: the number of type ``target`` that has the bits of a ``source``."""

    def cast(_context, number):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.bitcast(arguments[0], of_target)

        return target(source), generate

    return intrinsic(cast)


_float_of = _same_bits(types.uint32, types.float32, ir.FloatType())
_bits_of = _same_bits(types.float32, types.uint32, ir.IntType(32))


@overload(to_float)
def _to_float(x):  # type: ignore[no-untyped-def]
    if x == types.uint16:
        return lambda x: _float_of(np.uint32(np.uint32(x) << np.uint32(16)))
    return lambda x: x


@overload(from_float)
def _from_float(value, array):  # type: ignore[no-untyped-def]
    if array.dtype != types.uint16:
        return lambda value, array: value

    def rounded(value, array):  # type: ignore[no-untyped-def]
        bits = _bits_of(np.float32(value))
        upper = np.uint32(bits >> np.uint32(16))
        half = np.uint32(np.uint32(0x7FFF) + np.uint32(upper & np.uint32(1)))
        even = np.uint32(np.uint32(bits + half) >> np.uint32(16))
        return np.uint16(even if value == value else np.uint32(0x7FC0))  # NaN stays NaN

    return rounded
