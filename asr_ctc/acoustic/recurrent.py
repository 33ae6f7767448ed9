"""Recurrent layers on packed batches, and on padded batches where packed ones are slow.

On a CPU, autograd fills a gradient of the whole sequence with zeros at every time step of a
PackedSequence, and runs a dozen small operations per step, direction and layer. Here the GRU's
backward pass is written by hand: a step costs one matrix product and one compiled function
(gru_steps.py), or all steps are one compiled function (gru_loops.py). The weights are those of
nn.GRU and nn.LSTM.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from asr_ctc.acoustic.compute import has_amx


def run_layers(
    rnn: nn.RNNBase, x: torch.Tensor, n_frames: torch.Tensor, norms: Sequence[nn.Module] = ()
) -> torch.Tensor:
    """As ``run_padded``, in the way that is fast on the device: on a GPU packed, by cuDNN."""
    if not x.is_cuda:
        return run_padded(rnn, x, n_frames, norms)
    packed = pack_padded_sequence(x, n_frames, enforce_sorted=False)
    return pad_packed_sequence(run_packed(rnn, packed, norms))[0]


def run_packed(
    rnn: nn.RNNBase, packed: PackedSequence, norms: Sequence[nn.Module] = ()
) -> PackedSequence:
    """The output of a bidirectional ``rnn`` for packed clips (T, I): (T, 2H) for each.

    ``norms``, if any, are applied between the layers: one fewer than these, each a function of
    single frames (2H,), or one that drops out. The layers then run one at a time.
    """
    if not norms:
        return rnn(packed)[0]
    for x in packed_layers(rnn, packed, norms):  # noqa: B007  the last one
        pass
    return packed._replace(data=x)


def packed_layers(
    rnn: nn.RNNBase, packed: PackedSequence, norms: Sequence[nn.Module] = ()
) -> Iterator[torch.Tensor]:
    """The output of each layer, as the data of the packed batch; arguments as ``run_packed``."""
    x, batch_sizes = packed.data, packed.batch_sizes
    for layer in range(rnn.num_layers):
        weights = [w for way in ("", "_reverse") for w in _weights(rnn, layer, way)]
        zero = x.new_zeros(2, int(batch_sizes[0]), rnn.hidden_size)
        options = (weights, True, 1, 0.0, rnn.training, True)
        if rnn.mode == "GRU":
            x = torch.gru(x, batch_sizes, zero, *options)[0]
        else:
            x = torch.lstm(x, batch_sizes, (zero, zero), *options)[0]
        yield x
        if layer < len(norms):
            x = norms[layer](x)


def run_padded(
    rnn: nn.RNNBase, x: torch.Tensor, n_frames: torch.Tensor, norms: Sequence[nn.Module] = ()
) -> torch.Tensor:
    """The output (T, B, 2H) of a bidirectional ``rnn`` for padded clips x (T, B, I).

    ``n_frames`` (B,) are the clips' lengths. Up to a clip's end the output equals that of
    ``run_packed``: the backward direction reads each clip reversed within its own length.
    Under autocast, matrix products and outputs are in autocast's type.
    """
    n_steps, batch = x.shape[:2]
    time = torch.arange(n_steps, device=x.device)[:, None]
    ends = n_frames.to(x.device)
    mirrored = torch.where(time < ends, ends - 1 - time, time)
    reversal = (mirrored * batch + torch.arange(batch, device=x.device)).flatten()
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    with torch.autocast(x.device.type, enabled=False):
        for layer in range(rnn.num_layers):
            weights = [w.to(x.dtype) for way in ("", "_reverse") for w in _weights(rnn, layer, way)]
            if rnn.mode == "GRU":
                kind = x.dtype if x.dtype != torch.float16 else torch.float32  # as is compiled
                operands = [operand.to(kind) for operand in (x, *weights)]
                y = _GRULayer.apply(operands[0], reversal, torch.is_grad_enabled(), *operands[1:])
                x = y.to(x.dtype)
            else:
                x = _lstm_layer(x, reversal, weights, rnn.training)
            if layer < len(norms):
                x = norms[layer](x)
    return x


def _weights(rnn: nn.RNNBase, layer: int, way: str) -> list[torch.Tensor]:
    """Input weights, recurrent weights, input biases, recurrent biases of a layer and direction."""
    names = ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l")
    return [getattr(rnn, f"{name}{layer}{way}") for name in names]


def _reverse(x: torch.Tensor, reversal: torch.Tensor) -> torch.Tensor:
    """x (T, B, I) with each clip reversed within its length; ``reversal`` (T·B,) are its rows."""
    return x.flatten(0, 1).index_select(0, reversal).view_as(x)


def _lstm_layer(
    x: torch.Tensor, reversal: torch.Tensor, weights: list[torch.Tensor], training: bool
) -> torch.Tensor:
    outputs = []
    for sequence, parameters in ((x, weights[:4]), (_reverse(x, reversal), weights[4:])):
        zero = x.new_zeros(1, x.shape[1], parameters[1].shape[1])
        outputs.append(
            torch.lstm(sequence, (zero, zero), parameters, True, 1, 0.0, training, False, False)[0]
        )
    forward, backward = outputs
    return torch.cat([forward, _reverse(backward, reversal)], dim=2)


class _GRULayer(torch.autograd.Function):
    """A bidirectional GRU layer, from x (T, B, I) to (T, B, 2H).

    Matrix products run in the type of x and the weights; the state and all operations on it are in
    float32, or float64 if x is. The two directions run at the same time, each on a core.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, reversal: torch.Tensor, keep: bool, *weights: torch.Tensor
    ) -> torch.Tensor:
        x_backward = _reverse(x, reversal)
        run_forward, forward = _forward_pass(x, *weights[:4], keep=keep)
        run_backward, backward = _forward_pass(x_backward, *weights[4:], keep=keep)
        _in_parallel(run_forward, run_backward)
        ctx.save_for_backward(reversal, x, x_backward, *weights, *forward, *backward)
        return torch.cat([forward[0][1:], _reverse(backward[0][1:], reversal)], dim=2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        reversal, x, x_backward, *tensors = ctx.saved_tensors
        weights, forward, backward = tensors[:8], tensors[8:14], tensors[14:]
        of_forward, of_backward = grad_output.chunk(2, dim=2)
        run_forward, grads_forward = _backward_pass(of_forward, weights[1], *forward[1:])
        run_backward, grads_backward = _backward_pass(
            _reverse(of_backward, reversal), weights[5], *backward[1:]
        )
        _in_parallel(run_forward, run_backward)
        needs_x = ctx.needs_input_grad[0]
        grad_x, *grads = _gradients(*grads_forward, x, weights[0], forward[0], needs_x=needs_x)
        grad_x_backward, *others = _gradients(
            *grads_backward, x_backward, weights[4], backward[0], needs_x=needs_x
        )
        if grad_x is not None and grad_x_backward is not None:
            grad_x += _reverse(grad_x_backward, reversal)
        return grad_x, None, None, *grads, *others


def _forward_pass(
    x: torch.Tensor,
    w_ih: torch.Tensor,
    w_hh: torch.Tensor,
    b_ih: torch.Tensor,
    b_hh: torch.Tensor,
    *,
    keep: bool,
) -> tuple[Callable[[], None], list[torch.Tensor]]:
    """A direction: what runs its steps, and the tensors that this fills.

    These are the states (T + 1, B, H), the first before the first step, in x's type, and what the
    backward pass needs: the states unrounded, resets, updates, products of the new gate and news,
    (T, B, H) each, or those of one step.
    """
    from asr_ctc.acoustic.bfloat16 import as_array  # numba takes a second to load
    from asr_ctc.acoustic.gru_steps import forward_step

    (n_steps, batch, _), size = x.shape, w_hh.shape[1]
    # The recurrent biases of reset and update gate are added here, once for all time steps; that of
    # the new gate stays separate, because the reset gate multiplies it.
    bias = torch.cat([(b_ih + b_hh)[: 2 * size], b_ih[2 * size :]])
    gates = torch.addmm(bias, x.flatten(0, 1), w_ih.T).view(n_steps, batch, 3 * size)
    kind = torch.promote_types(x.dtype, torch.float32)
    states = x.new_zeros(n_steps + 1, batch, size, dtype=kind)
    # Never the same memory, in whatever type: a loop that writes to arrays which overlap is not
    # vectorised, and takes three times as long.
    rounded = states.to(x.dtype, copy=True)
    saved = states.new_empty(4, n_steps if keep else 1, batch, size).unbind()
    inputs = (gates, b_hh[2 * size :].to(kind))
    arrays = [as_array(tensor) for tensor in (*inputs, states, rounded, *saved)]
    if _has_loops(w_hh):
        from asr_ctc.acoustic.gru_loops import forward_loop

        looped = [as_array(tensor) for tensor in _loop_tensors(w_hh, batch)]
        return lambda: forward_loop(*looped, *arrays), [rounded, states, *saved]
    multiply = _multiplier(w_hh, batch)

    def run() -> None:
        for t, state in enumerate(rounded[:-1].unbind()):
            forward_step(t, as_array(multiply(state)), *arrays)

    return run, [rounded, states, *saved]


def _backward_pass(
    grad_states: torch.Tensor, w_hh: torch.Tensor, states: torch.Tensor, *saved: torch.Tensor
) -> tuple[Callable[[], None], tuple[torch.Tensor, torch.Tensor]]:
    """A direction: what runs its steps, and the gradients that this fills.

    They are those of W h + b (T, B, 3H) and of the argument of tanh (T, B, H).
    """
    from asr_ctc.acoustic.bfloat16 import as_array
    from asr_ctc.acoustic.gru_steps import backward_step

    n_steps, batch, size = grad_states.shape
    grad_products = grad_states.new_empty(n_steps, batch, 3 * size)
    grad_news = torch.empty_like(grad_states, memory_format=torch.contiguous_format)
    carried = states.new_zeros(batch, size)
    inputs = (carried, grad_states.contiguous(), states)
    arrays = [as_array(tensor) for tensor in (*inputs, *saved, grad_products, grad_news)]
    if _has_loops(w_hh):
        from asr_ctc.acoustic.gru_loops import backward_loop

        looped = [as_array(tensor) for tensor in _loop_tensors(w_hh.T, batch)]
        return lambda: backward_loop(*looped, *arrays), (grad_products, grad_news)
    multiply = _multiplier(w_hh.T, batch)

    def run() -> None:
        through = grad_states.new_zeros(batch, size)
        for t, grad_product in reversed([*enumerate(grad_products.unbind())]):
            backward_step(t, as_array(through), *arrays)
            through = multiply(grad_product)

    return run, (grad_products, grad_news)


def _gradients(
    grad_products: torch.Tensor,
    grad_news: torch.Tensor,
    x: torch.Tensor,
    w_ih: torch.Tensor,
    states: torch.Tensor,
    *,
    needs_x: bool,
) -> tuple[torch.Tensor | None, ...]:
    """Of x, and of a direction's weights in the order of ``_weights``."""
    size = states.shape[2]
    grads = grad_products.flatten(0, 1)
    ones = grads.new_ones(1, len(grads))
    grad_w_hh = grads.T @ states[:-1].flatten(0, 1)
    grad_b_hh = (ones @ grads)[0]
    grads[:, 2 * size :] = grad_news.flatten(0, 1)  # the reset gate is not on the input's way
    grad_x = (grads @ w_ih).view_as(x) if needs_x else None
    return grad_x, grads.T @ x.flatten(0, 1), grad_w_hh, (ones @ grads)[0], grad_b_hh


def _in_parallel(first: Callable[[], None], second: Callable[[], None]) -> None:
    """Runs both, each on one thread; one after the other if torch has only one."""
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        first()
        second()
        return
    is_inference = torch.is_inference_mode_enabled()

    def run_second() -> None:
        torch.set_num_threads(1)
        with torch.inference_mode(is_inference), torch.no_grad():
            second()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run_second)
        torch.set_num_threads(1)  # products of a few rows are slower on several
        try:
            first()
        finally:
            torch.set_num_threads(n_threads)
    done.result()


def _has_loops(w_hh: torch.Tensor) -> bool:
    """True where gru_loops.py is known to be faster than steps one by one, for weights (3H, H).

    With AMX a library's product is thought to be faster than ours; that was not measured.
    """
    if w_hh.dtype != torch.bfloat16 or w_hh.shape[1] % 2:
        return False
    from asr_ctc.acoustic import bfloat16_product

    return bfloat16_product.is_supported() and not has_amx()


def _loop_tensors(weight: torch.Tensor, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For a loop of products by ``weight`` (O, I): it, packed, and room for a product."""
    from asr_ctc.acoustic.bfloat16_product import COLUMNS, pack

    packed = pack(weight)
    return packed, weight.new_zeros(batch, COLUMNS * len(packed), dtype=torch.float32)


def _multiplier(weight: torch.Tensor, batch: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """``multiply(x)``: x (B, I) times the transpose of ``weight`` (O, I).

    The weight is laid out once for all products: oneDNN would otherwise rearrange a bfloat16 matrix
    at every product, which for few rows costs as much as the product itself.
    """
    if (packed := _packed_for_onednn(weight, batch)) is not None:
        return lambda x: _packed_product(x, packed)
    matrix = weight.T.contiguous()
    return lambda x: x @ matrix


def _packed_for_onednn(weight: torch.Tensor, batch: int) -> torch.Tensor | None:
    """A bfloat16 ``weight``, laid out for ``_packed_product`` with ``batch`` rows.

    None for other weights, and if this torch cannot do it: the operations are private, missing in
    some builds, and may change. Hence one product is tried.
    """
    if weight.dtype != torch.bfloat16:
        return None
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return None
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), batch)
        _packed_product(weight.new_zeros(batch, weight.shape[1]), packed)
    except (AttributeError, RuntimeError, TypeError):
        return None
    return packed


def _packed_product(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, matrix, None, "none", [], "")
