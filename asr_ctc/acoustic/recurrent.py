"""Recurrent layers on packed batches, and on padded batches where packed ones are slow.

On a CPU, autograd fills a gradient of the whole sequence with zeros at every time step of a
PackedSequence, and runs a dozen small operations per step, direction and layer. Here both
directions step together, and the GRU's backward pass is written by hand: a step costs one matrix
product and a few operations on the gates. The weights are those of nn.GRU and nn.LSTM.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

# Numbers in a matrix from which packing it for oneDNN gains more than the one call per direction
# (in place of one for both) costs.
PACKED_FROM = 256 * 1024
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input


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
    single frames (2H,). The layers then run one at a time.
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
                x = _GRULayer.apply(x, reversal, torch.is_grad_enabled(), *weights)
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

        r, z = σ(gates_rz + W_rz h + b_rz)
        n = tanh(gates_n + r (W_n h + b_n))
        h' = n + z (h − n)

    where the gates are the input's contribution. Cho et al. 2014, in cuDNN's variant, which applies
    r after the product. Matrix products run in the type of x and the weights; the state and all
    operations on it are in float32 at least. Buffers are (D, T, B, ...) with D = 2 directions.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, reversal: torch.Tensor, keep: bool, *weights: torch.Tensor
    ) -> torch.Tensor:
        (n_steps, batch, _), size = x.shape, weights[1].shape[1]
        inputs = torch.stack([x, _reverse(x, reversal)])
        state_type = torch.promote_types(x.dtype, torch.float32)
        gates = x.new_empty(2, n_steps, batch, 3 * size)
        new_bias = x.new_empty(2, 1, size, dtype=state_type)
        for d, (w_ih, _, b_ih, b_hh) in enumerate((weights[:4], weights[4:])):
            # The recurrent biases of reset and update gate are added here, once for all time steps;
            # that of the new gate stays separate, because the reset gate multiplies it.
            bias = torch.cat([(b_ih + b_hh)[: 2 * size], b_ih[2 * size :]])
            torch.addmm(bias, inputs[d].flatten(0, 1), w_ih.T, out=gates[d].flatten(0, 1))
            new_bias[d] = b_hh[2 * size :]
        n_saved = n_steps if keep else 1
        reset_update = new_bias.new_empty(2, n_saved, batch, 2 * size)
        products, news = new_bias.new_empty(2, 2, n_saved, batch, size)
        states = x.new_zeros(2, n_steps + 1, batch, size)
        multiply = _multiplier([weights[1], weights[5]], batch)
        product = new_bias.new_empty(2, batch, 3 * size)
        state = new_bias.new_zeros(2, batch, size)
        each_step = zip(
            gates[..., : 2 * size].unbind(1),
            gates[..., 2 * size :].unbind(1),
            states[:, :-1].unbind(1),
            states[:, 1:].unbind(1),
            *(
                part.unbind(1) * (n_steps // n_saved)
                for part in (reset_update, *reset_update.chunk(2, dim=3), products, news)
            ),
            strict=True,
        )
        for gates_rz, gates_n, before, after, rz, r, z, product_n, new in each_step:
            multiply(before, product)
            torch.add(product[..., : 2 * size], gates_rz, out=rz).sigmoid_()
            torch.add(product[..., 2 * size :], new_bias, out=product_n)
            # tanh x = 2 σ(2x) − 1: the exponential of σ is several times as fast as torch's tanh.
            torch.addcmul(gates_n, r, product_n, out=new).mul_(2).sigmoid_()
            new.sub_(0.5).mul_(2)
            after.copy_(torch.lerp(new, state, z, out=state))
        ctx.save_for_backward(reversal, inputs, reset_update, products, news, states, *weights)
        output = x.new_empty(n_steps, batch, 2 * size)
        output[..., :size] = states[0, 1:]
        output[..., size:] = _reverse(states[1, 1:], reversal)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        reversal, inputs, reset_update, products, news, states, *weights = ctx.saved_tensors
        _, n_steps, batch, size = news.shape
        grad_states = torch.stack(
            [grad_output[..., :size], _reverse(grad_output[..., size:], reversal)]
        )
        grad_products = inputs.new_empty(2, n_steps, batch, 3 * size)
        grad_news = inputs.new_empty(2, n_steps, batch, size)
        multiply = _multiplier([weights[1].T, weights[5].T], batch)
        grad, through, carried, through_new, scratch = news.new_zeros(5, 2, batch, size)
        by_gate = news.new_empty(2, batch, 3 * size)
        grad_rz, grad_n = by_gate[..., : 2 * size], by_gate[..., 2 * size :]
        grad_r, grad_z = grad_rz[..., :size], grad_rz[..., size:]
        saved = (reset_update, *reset_update.chunk(2, dim=3), products, news, states[:, :-1])
        each_step = zip(
            *(reversed(part.unbind(1)) for part in (grad_states, grad_products, grad_news, *saved)),
            strict=True,
        )
        for grad_state, grad_product, grad_new, rz, r, z, product_n, new, before in each_step:
            torch.add(through, grad_state, out=grad).add_(carried)
            torch.mul(grad, z, out=carried)
            torch.sub(grad, carried, out=through_new)
            tanh_backward(through_new, new, grad_input=through_new)
            torch.mul(through_new, r, out=grad_n)
            torch.mul(through_new, product_n, out=grad_r)
            torch.mul(grad, torch.sub(before, new, out=scratch), out=grad_z)
            sigmoid_backward(grad_rz, rz, grad_input=grad_rz)
            grad_new.copy_(through_new)
            multiply(grad_product.copy_(by_gate), through)
        flat = grad_products.flatten(1, 2)
        ones = flat.new_ones(1, flat.shape[1])
        grad_w_hh = [g.T @ h[:-1].flatten(0, 1) for g, h in zip(flat, states, strict=True)]
        grad_b_hh = [(ones @ g)[0] for g in flat]
        grad_products[..., 2 * size :] = grad_news
        grad_w_ih = [g.T @ i.flatten(0, 1) for g, i in zip(flat, inputs, strict=True)]
        grad_b_ih = [(ones @ g)[0] for g in flat]
        grad_x = None
        if ctx.needs_input_grad[0]:
            forward, backward = (
                (g @ w).view(n_steps, batch, -1)
                for g, w in zip(flat, (weights[0], weights[4]), strict=True)
            )
            grad_x = _reverse(backward, reversal).add_(forward)
        by_way = zip(grad_w_ih, grad_w_hh, grad_b_ih, grad_b_hh, strict=True)
        return grad_x, None, None, *(grad for way in by_way for grad in way)


def _multiplier(
    weights: list[torch.Tensor], batch: int
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """``multiply(x, out)``: x (D, B, I) times the transposes of D ``weights`` (O, I), to (D, B, O).

    The weights are laid out once for all products: oneDNN would otherwise rearrange a bfloat16
    matrix at every product, which for few rows costs as much as the product itself.
    """
    first = weights[0]
    if first.numel() >= PACKED_FROM and (packed := _packed_for_onednn(weights, batch)):

        def multiply_packed(x: torch.Tensor, out: torch.Tensor) -> None:
            for rows, matrix, result in zip(x, packed, out, strict=True):
                result.copy_(_packed_product(rows, matrix))

        return multiply_packed
    matrices = torch.stack([w.T for w in weights])
    product = first.new_empty(len(weights), batch, first.shape[0])

    def multiply(x: torch.Tensor, out: torch.Tensor) -> None:
        out.copy_(torch.bmm(x, matrices, out=product))

    return multiply


def _packed_for_onednn(weights: list[torch.Tensor], batch: int) -> list[torch.Tensor] | None:
    """bfloat16 ``weights`` on a CPU, laid out for ``_packed_product`` with ``batch`` rows.

    None for other weights, and if this torch cannot do it: the operations are private, missing in
    some builds, and may change. Hence one product is tried.
    """
    first = weights[0]
    if first.device.type != "cpu" or first.dtype != torch.bfloat16:
        return None
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return None
        packed = [torch.ops.mkldnn._reorder_linear_weight(w.contiguous(), batch) for w in weights]
        _packed_product(first.new_zeros(batch, first.shape[1]), packed[0])
    except (AttributeError, RuntimeError, TypeError):
        return None
    return packed


def _packed_product(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, matrix, None, "none", [], "")
