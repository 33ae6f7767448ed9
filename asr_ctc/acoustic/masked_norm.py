"""Batch normalisation that counts the frames inside the clips only, and what follows it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.distributed.nn.functional import all_reduce

from asr_ctc.acoustic.clip_mask import frame_mask

COMPILED_TYPES = (torch.bfloat16, torch.float32, torch.float64)


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose training statistics count the frames inside the clips only.

    ``forward(x, mask)`` takes x (B, C, T, F) and a mask (B, 1, T, 1) of ones inside and zeros past
    the end of each clip. Without a mask, and in evaluation mode, it is BatchNorm2d. With
    ``synchronised`` the statistics are computed over the batches of all processes together.
    """

    synchronised = False
    # Running statistics and a momentum are always kept: nn.BatchNorm2d allows to go without.
    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor
    momentum: float

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is None or not self.training:
            return super().forward(x)
        mask = mask.to(x.dtype)
        count = self._sum(mask.sum(dtype=torch.float32) * x.shape[3])
        values = x.to(torch.promote_types(x.dtype, torch.float32)) * mask
        mean = self._sum(values.sum((0, 2, 3), keepdim=True)) / count
        variance = self._sum(((values - mean) * mask).square().sum((0, 2, 3), keepdim=True)) / count
        self.track(mean, variance, count)
        scale = self.weight.view(1, -1, 1, 1) * (variance + self.eps).rsqrt()
        shift = self.bias.view(1, -1, 1, 1) - mean * scale
        # In the statistics' precision: in bf16 a mean much larger than the standard deviation would
        # cancel.
        return torch.addcmul(shift, x.to(scale.dtype), scale).to(x.dtype)

    @torch.no_grad()
    def track(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        """Moves the running statistics towards those of a batch with ``count`` values a channel."""
        self.num_batches_tracked.add_(1)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean.flatten().to(self.running_mean), self.momentum)
        self.running_var.lerp_(unbiased.flatten().to(self.running_var), self.momentum)

    def _sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, through which gradients flow back to all of them."""
        return all_reduce(value) if self.synchronised else value


def after_convolution(
    x: torch.Tensor,
    n_frames: torch.Tensor,
    norm: MaskedBatchNorm2d,
    hardtanh: nn.Hardtanh,
    dropout: nn.Dropout2d,
) -> torch.Tensor:
    """Clips x (B, C, T, F) of ``n_frames`` (B,) through the three; zero past their ends."""
    if (
        norm.training
        and not norm.synchronised
        and x.device.type == "cpu"
        and x.dtype in COMPILED_TYPES
    ):
        statistics = torch.promote_types(x.dtype, torch.float32)
        factors = dropout(torch.ones(*x.shape[:2], 1, 1, dtype=statistics)).flatten(1)
        counts = n_frames * x.shape[3]
        y, mean, variance = _AfterConvolution.apply(
            x.flatten(2), counts, norm.weight, norm.bias, factors, norm.eps, hardtanh
        )
        norm.track(mean, variance, counts.sum())
        return y.view_as(x)
    mask = frame_mask(n_frames, x)
    return dropout(hardtanh(norm(x, mask))) * mask


class _AfterConvolution(torch.autograd.Function):
    """The compiled functions of normalise_steps.py on x (B, C, N): y, and the statistics (C,)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        counts: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        factors: torch.Tensor,
        eps: float,
        hardtanh: nn.Hardtanh,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        from asr_ctc.acoustic import normalise_steps  # numba takes a second to load

        x, bounds = x.contiguous(), (hardtanh.min_val, hardtanh.max_val)
        count = counts.sum()
        mean = _sums(normalise_steps.sum_up, x, counts) / count
        variance = _sums(normalise_steps.sum_squares, x, counts, mean) / count
        deviation = (variance + eps).sqrt()
        scale = weight.to(mean) / deviation
        shift = bias.to(mean) - scale * mean
        y = torch.empty_like(x)
        _run(normalise_steps.forward, len(x), x, counts, scale, shift, factors, *bounds, y)
        ctx.save_for_backward(x, counts, weight, factors, mean, deviation, scale, shift)
        ctx.bounds = bounds
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_y: torch.Tensor, *_: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        from asr_ctc.acoustic import normalise_steps

        x, counts, weight, factors, mean, deviation, scale, shift = ctx.saved_tensors
        grad_y = grad_y.contiguous()
        sums, products = factors.new_zeros(2, *factors.shape)
        parts = (grad_y, x, counts, scale, shift, mean, factors, *ctx.bounds)
        _run(normalise_steps.sum_gradients, len(x), *parts, sums, products)
        total, product = sums.sum(0), products.sum(0)
        count = counts.sum()
        grad_x = torch.empty_like(x)
        means = (total / count, product / (count * deviation.square()))
        _run(normalise_steps.backward, len(x), *parts, *means, grad_x)
        return (
            grad_x, None, (product / deviation).to(weight), total.to(weight), None, None, None,
        )  # fmt: skip


def _sums(function: Callable, x: torch.Tensor, *parts: torch.Tensor) -> torch.Tensor:
    """Per channel (C,); each clip's first, so that they do not depend on the number of threads."""
    kind = torch.promote_types(x.dtype, torch.float32)
    sums = x.new_zeros(x.shape[:2], dtype=kind)
    _run(function, len(x), x, *parts, sums)
    return sums.sum(0)


def _run(function: Callable, n_clips: int, *parts: torch.Tensor | float) -> None:
    """A compiled function on all clips, on as many threads as torch has."""
    from asr_ctc.acoustic.bfloat16 import as_array

    arguments = [as_array(part) if isinstance(part, torch.Tensor) else part for part in parts]
    n_shares = min(torch.get_num_threads(), n_clips)
    bounds = [share * n_clips // n_shares for share in range(n_shares + 1)]
    if n_shares == 1:
        function(0, n_clips, *arguments)
        return
    with ThreadPoolExecutor(n_shares) as pool:
        for done in [
            pool.submit(function, first, last, *arguments)
            for first, last in zip(bounds, bounds[1:], strict=False)
        ]:
            done.result()
