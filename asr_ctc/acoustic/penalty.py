"""Penalties of large weights, added to the loss."""

from collections.abc import Iterable

import torch


def penalty_of(weights: Iterable[torch.Tensor], *, l1: float, l2: float) -> torch.Tensor | float:
    """l1 · Σ|w| + l2 · Σw² over all numbers of the ``weights``; zero factors cost nothing,
    not even going through them.
    """
    if l1 == 0 and l2 == 0:
        return 0.0
    weights = list(weights)
    total = weights[0].new_zeros(())
    if l1:
        total = total + l1 * sum(w.abs().sum() for w in weights)
    if l2:
        total = total + l2 * sum(w.square().sum() for w in weights)
    return total
