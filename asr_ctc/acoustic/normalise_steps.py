"""What follows a convolution in training, compiled: three passes over the batch, two backward.

    u = scale x + shift            with scale = weight / σ, shift = bias − scale μ
    y = factor clamp(u, low, high) inside a clip, 0 past its end

μ and σ² are a channel's mean and variance inside the clips: Ioffe & Szegedy 2015, "Batch
normalization". As operations of torch, which each read and write the whole batch, this takes as
long as the convolutions.

x, y and their gradients are (B, C, N), where N = T·F and the first ``counts[b]`` values of a
channel are inside clip b; float32, float64 or bfloat16 (as uint16). All else is in float32, or
float64 if x is. Each function does the clips from ``first`` up to ``last``.
"""

import numba
import numpy as np

from asr_ctc.acoustic import bfloat16
from asr_ctc.acoustic.bfloat16 import from_float, to_float
from asr_ctc.base.compiled import compiled


def _signatures(kinds: str) -> list:
    """For the three types of x; a letter an argument: x, a (B,), c (C,), m (B, C), n a number."""
    signatures = []
    for element, kind in (
        (numba.uint16, numba.float32),
        (numba.float32, numba.float32),
        (numba.float64, numba.float64),
    ):
        argument = {
            "x": numba.types.Array(element, 3, "C"),
            "a": numba.types.Array(numba.int64, 1, "C"),
            "c": numba.types.Array(kind, 1, "C"),
            "m": numba.types.Array(kind, 2, "C"),
            "n": kind,
        }
        signatures.append(numba.void(numba.int64, numba.int64, *(argument[k] for k in kinds)))
    return signatures


@compiled(_signatures("xam"), "sums of channels", uses=[bfloat16], vectorised=True)
def sum_up(first: int, last: int, x: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> None:
    """Adds Σ x to sums (B, C)."""
    for b in range(first, last):
        for c in range(x.shape[1]):
            values, total = x[b, c], sums[b, c]
            for i in range(counts[b]):
                total += to_float(values[i])
            sums[b, c] = total


@compiled(_signatures("xacm"), "squares of channels", uses=[bfloat16], vectorised=True)
def sum_squares(
    first: int, last: int, x: np.ndarray, counts: np.ndarray, mean: np.ndarray, sums: np.ndarray
) -> None:
    """Adds Σ (x − μ)² to sums (B, C)."""
    for b in range(first, last):
        for c in range(x.shape[1]):
            values, centre, total = x[b, c], mean[c], sums[b, c]
            for i in range(counts[b]):
                deviation = to_float(values[i]) - centre
                total += deviation * deviation
            sums[b, c] = total


@compiled(_signatures("xaccmnnx"), "normalisation", uses=[bfloat16], vectorised=True)
def forward(
    first: int,
    last: int,
    x: np.ndarray,
    counts: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    factors: np.ndarray,
    low: float,
    high: float,
    y: np.ndarray,
) -> None:
    """Writes y, past the ends too."""
    for b in range(first, last):
        for c in range(x.shape[1]):
            values, out = x[b, c], y[b, c]
            slope, offset, factor = scale[c], shift[c], factors[b, c]
            for i in range(counts[b]):
                u = slope * to_float(values[i]) + offset
                u = low if u < low else u  # min and max would make a number of NaN
                u = high if u > high else u
                out[i] = from_float(factor * u, out)
            out[counts[b] :] = 0


@compiled(_signatures("xxacccmnnmm"), "sums of gradients", uses=[bfloat16], vectorised=True)
def sum_gradients(
    first: int,
    last: int,
    grad: np.ndarray,
    x: np.ndarray,
    counts: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    mean: np.ndarray,
    factors: np.ndarray,
    low: float,
    high: float,
    sums: np.ndarray,
    products: np.ndarray,
) -> None:
    """Adds Σ g to sums and Σ g (x − μ) to products (B, C), where g is the gradient of u."""
    for b in range(first, last):
        for c in range(x.shape[1]):
            values, of_y = x[b, c], grad[b, c]
            slope, offset, centre, factor = scale[c], shift[c], mean[c], factors[b, c]
            total, product, zero = sums[b, c], products[b, c], low - low
            for i in range(counts[b]):
                value = to_float(values[i])
                u = slope * value + offset
                g = to_float(of_y[i]) if low < u and u < high else zero
                total += g
                product += g * (value - centre)
            sums[b, c], products[b, c] = factor * total, factor * product


@compiled(_signatures("xxacccmnnccx"), "gradient", uses=[bfloat16], vectorised=True)
def backward(
    first: int,
    last: int,
    grad: np.ndarray,
    x: np.ndarray,
    counts: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    mean: np.ndarray,
    factors: np.ndarray,
    low: float,
    high: float,
    mean_gradient: np.ndarray,
    mean_product: np.ndarray,
    grad_x: np.ndarray,
) -> None:
    """Writes the gradient of x: scale (g − mean of g − (x − μ) mean of g (x − μ) / σ²).

    mean_product (C,) is the last mean, divided by σ².
    """
    for b in range(first, last):
        for c in range(x.shape[1]):
            values, of_y, out = x[b, c], grad[b, c], grad_x[b, c]
            slope, offset, centre, factor = scale[c], shift[c], mean[c], factors[b, c]
            constant, linear, zero = mean_gradient[c], mean_product[c], low - low
            for i in range(counts[b]):
                value = to_float(values[i])
                u = slope * value + offset
                g = factor * to_float(of_y[i]) if low < u and u < high else zero
                out[i] = from_float(slope * (g - constant - (value - centre) * linear), out)
            out[counts[b] :] = 0
