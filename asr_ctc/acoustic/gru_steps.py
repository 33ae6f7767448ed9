"""What a GRU does at a time step but for the matrix products, forward and backward, compiled.

    r, z = σ(gates_rz + W_rz h + b_rz)
    n = tanh(gates_n + r (W_n h + b_n))
    h' = n + z (h − n)

where the gates (T, B, 3H) are the input's contribution, biases b_rz included. Cho et al. 2014, in
cuDNN's variant, which applies r after the product. A step in torch costs a dozen operations on a
few thousand numbers each, and most of their time is spent on calling them.

Matrix products, the input's included, are in a type of their own, which may be bfloat16 (seen as
uint16); the state and all operations on it are in float32, or float64 if the products are.
"""

import math

import numba
import numpy as np
from numba.extending import overload

from asr_ctc.acoustic import bfloat16
from asr_ctc.acoustic.bfloat16 import from_float, to_float
from asr_ctc.base.compiled import VECTORISED, compiled, without_refcounts

# Eigen's rational approximation of tanh in float32, odd over even powers, within 4 units in the
# last place; beyond the limit tanh is 1 in float32.
LIMIT = np.float32(7.90531110763549805)
ODD = tuple(
    np.float32(value)
    for value in (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
)
EVEN = tuple(
    np.float32(value)
    for value in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03)
)
ONE, HALF = np.float32(1), np.float32(0.5)


def _tanh(x: float) -> float:
    """Hyperbolic tangent, in x's own precision."""
    return math.tanh(x)


@overload(_tanh)
def _compiled_tanh(x):  # type: ignore[no-untyped-def]
    if x != numba.float32:
        return lambda x: math.tanh(x)

    def rational(x):  # type: ignore[no-untyped-def]
        x = LIMIT if x > LIMIT else x  # min and max would make a number of NaN
        x = -LIMIT if x < -LIMIT else x
        square = x * x
        odd = ODD[0]
        odd = odd * square + ODD[1]
        odd = odd * square + ODD[2]
        odd = odd * square + ODD[3]
        odd = odd * square + ODD[4]
        odd = odd * square + ODD[5]
        odd = odd * square + ODD[6]
        even = EVEN[0] * square + EVEN[1]
        even = even * square + EVEN[2]
        even = even * square + ODD[6]
        return x * odd / even

    return rational


def _signatures(*arrays: str) -> list:
    """For each type of the matrix products, a step's number and these arrays.

    Each is a letter and its dimensions: p in the products' type, s in that of the state.
    """
    return [
        numba.void(
            numba.int64,
            *(
                numba.types.Array({"p": product, "s": state}[array[0]], int(array[1]), "C")
                for array in arrays
            ),
        )
        for product, state in (
            (numba.uint16, numba.float32),
            (numba.float32, numba.float32),
            (numba.float64, numba.float64),
        )
    ]


def _forward(
    t: int,
    product: np.ndarray,
    gates: np.ndarray,
    new_bias: np.ndarray,
    states: np.ndarray,
    rounded: np.ndarray,
    resets: np.ndarray,
    updates: np.ndarray,
    products_new: np.ndarray,
    news: np.ndarray,
) -> None:
    """Writes the state after step t to both states[t + 1], and what its gradient needs.

    product (B, 3H): W h; gates (T, B, 3H); new_bias (H,): b_n; states (T + 1, B, H), the first
    before step 0, and ``rounded``, the same in the products' type; resets r, updates z,
    products_new (W_n h + b_n) and news n are (T, B, H), or (1, B, H) if no gradient is wanted.
    """
    size = states.shape[2]
    kept = min(t, len(news) - 1)
    for b in range(states.shape[1]):
        rows, inputs = product[b], gates[t, b]
        before, after, output = states[t, b], states[t + 1, b], rounded[t + 1, b]
        reset, update = resets[kept, b], updates[kept, b]
        product_new, new = products_new[kept, b], news[kept, b]
        for j in range(size):
            r = HALF + HALF * _tanh(HALF * (to_float(rows[j]) + to_float(inputs[j])))
            k = size + j
            z = HALF + HALF * _tanh(HALF * (to_float(rows[k]) + to_float(inputs[k])))
            k += size
            p = to_float(rows[k]) + new_bias[j]
            n = _tanh(to_float(inputs[k]) + r * p)
            after[j] = n + z * (before[j] - n)
            output[j] = from_float(after[j], output)
            reset[j], update[j], product_new[j], new[j] = r, z, p, n


def _backward(
    t: int,
    through: np.ndarray,
    carried: np.ndarray,
    grad_states: np.ndarray,
    states: np.ndarray,
    resets: np.ndarray,
    updates: np.ndarray,
    products_new: np.ndarray,
    news: np.ndarray,
    grad_products: np.ndarray,
    grad_news: np.ndarray,
) -> None:
    """The gradients of W h + b, to grad_products[t], and of n's argument, to grad_news[t].

    through and carried (B, H): the gradient of the state after step t, from step t + 1, through the
    matrix product and past it; carried becomes that of the state before step t, past it.
    grad_states (T, B, H): from the layer's output.
    """
    size = states.shape[2]
    for b in range(states.shape[1]):
        product, past, output = through[b], carried[b], grad_states[t, b]
        before, reset, update = states[t, b], resets[t, b], updates[t, b]
        product_new, new = products_new[t, b], news[t, b]
        grad_product, grad_new = grad_products[t, b], grad_news[t, b]
        for j in range(size):
            r, z, n = reset[j], update[j], new[j]
            grad = to_float(product[j]) + past[j] + to_float(output[j])
            to_new = (ONE - z) * grad * (ONE - n * n)
            past[j] = z * grad
            to_reset = to_new * product_new[j] * r * (ONE - r)
            to_update = grad * (before[j] - n) * z * (ONE - z)
            grad_product[j] = from_float(to_reset, grad_product)
            grad_product[size + j] = from_float(to_update, grad_product)
            grad_product[2 * size + j] = from_float(to_new * r, grad_product)
            grad_new[j] = from_float(to_new, grad_new)


# Within compiled functions; there the product may be float32 where others are bfloat16.
forward_at = without_refcounts(_forward, **VECTORISED)
backward_at = without_refcounts(_backward, **VECTORISED)

# By themselves.
forward_step = compiled(
    _signatures(*"p2 p3 s1 s3 p3 s3 s3 s3 s3".split()),
    "the GRU's forward step",
    uses=[bfloat16],
    vectorised=True,
)(_forward)
backward_step = compiled(
    _signatures(*"p2 s2 p3 s3 s3 s3 s3 s3 p3 p3".split()),
    "the GRU's backward step",
    uses=[bfloat16],
    vectorised=True,
)(_backward)
