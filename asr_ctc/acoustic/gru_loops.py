"""All time steps of a GRU's direction, matrix products included, in one compiled function.

It frees Python's lock for the whole loop, so that the two directions run beside each other. Only
for bfloat16 on a processor that ``bfloat16_product`` supports; elsewhere recurrent.py calls
gru_steps.py at every step.
"""

import numba
import numpy as np

from asr_ctc.acoustic import bfloat16, bfloat16_product, gru_steps
from asr_ctc.acoustic.bfloat16_product import multiply
from asr_ctc.acoustic.gru_steps import backward_at, forward_at
from asr_ctc.base.compiled import compiled

USES = [bfloat16, bfloat16_product, gru_steps]


def _signature(*arrays: str) -> numba.core.typing.Signature:
    """Each array is a letter and its dimensions: b bfloat16, f float32, w a packed matrix."""
    kinds = {"b": numba.uint16, "f": numba.float32, "w": numba.int32}
    return numba.void(*(numba.types.Array(kinds[a[0]], int(a[1]), "C") for a in arrays))


@compiled(_signature(*"w3 f2 b3 f1 f3 b3 f3 f3 f3 f3".split()), "the GRU's steps", USES)
def forward_loop(
    packed: np.ndarray,
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
    """``forward_at`` every step; ``packed`` is W, ``product`` (B, at least 3H) is its room."""
    for t in range(gates.shape[0]):
        multiply(rounded[t], packed, product)
        forward_at(
            t, product, gates, new_bias, states, rounded, resets, updates, products_new, news
        )


@compiled(_signature(*"w3 f2 f2 b3 f3 f3 f3 f3 f3 b3 b3".split()), "the GRU's steps backward", USES)
def backward_loop(
    packed: np.ndarray,
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
    """``backward_at`` every step, the last first; ``packed`` is the transpose of W.

    ``through`` (B, at least H) and ``carried`` are zeros at first.
    """
    for t in range(len(grad_products) - 1, -1, -1):
        backward_at(
            t,
            through,
            carried,
            grad_states,
            states,
            resets,
            updates,
            products_new,
            news,
            grad_products,
            grad_news,
        )
        multiply(grad_products[t], packed, through)
