"""Recurrent layers on padded batches, for processors where the packed ones are slow.

On a CPU, autograd fills a gradient of the whole sequence with zeros at every time step of a
PackedSequence, and runs a dozen small operations per step, direction and layer. Here both
directions step together, and the GRU's backward pass is written out, so that a step costs one
matrix product and a few operations on the gates. The weights are those of nn.GRU and nn.LSTM.
"""

import torch
from torch import nn


def run_padded(rnn: nn.RNNBase, x: torch.Tensor, n_frames: torch.Tensor) -> torch.Tensor:
    """What a bidirectional ``rnn`` makes of the clips in x (T, B, I), padded: (T, B, 2H).

    ``n_frames`` (B,) are the clips' lengths. The same numbers as on a PackedSequence, frames past
    a clip's end excepted: the backward direction reads each clip reversed within its own length.
    """
    time = torch.arange(x.shape[0], device=x.device)[:, None]
    ends = n_frames.to(x.device)
    reversal = torch.where(time < ends, ends - 1 - time, time)[:, :, None]

    def reverse(sequence: torch.Tensor) -> torch.Tensor:
        return sequence.gather(0, reversal.expand_as(sequence))

    run_layer = {"GRU": _gru_layer, "LSTM": _lstm_layer}[rnn.mode]
    for layer in range(rnn.num_layers):
        forward, backward = run_layer(rnn, layer, x, reverse(x))
        x = torch.cat([forward, reverse(backward)], dim=2)
    return x


def _weights(rnn: nn.RNNBase, suffix: str) -> list[torch.Tensor]:
    """Input weights, recurrent weights, input biases, recurrent biases of a layer and direction."""
    names = ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l")
    return [getattr(rnn, name + suffix) for name in names]


def _lstm_layer(rnn: nn.LSTM, layer: int, x: torch.Tensor, reversed_x: torch.Tensor):
    outputs = []
    for sequence, suffix in ((x, f"{layer}"), (reversed_x, f"{layer}_reverse")):
        zero = sequence.new_zeros(1, sequence.shape[1], rnn.hidden_size)
        weights = _weights(rnn, suffix)
        outputs.append(
            torch.lstm(sequence, (zero, zero), weights, True, 1, 0.0, rnn.training, False, False)[0]
        )
    return outputs


def _gru_layer(rnn: nn.GRU, layer: int, x: torch.Tensor, reversed_x: torch.Tensor):
    """Outputs (T, B, H) of the forward and the backward direction, the latter in reversed time."""
    gates, recurrent, new_bias = [], [], []
    for sequence, suffix in ((x, f"{layer}"), (reversed_x, f"{layer}_reverse")):
        w_ih, w_hh, b_ih, b_hh = _weights(rnn, suffix)
        # The recurrent biases of reset and update gate are added here, once for all time steps;
        # that of the new gate stays apart, because the reset gate weighs it.
        summed = torch.cat([b_hh[: 2 * rnn.hidden_size], torch.zeros_like(b_hh[: rnn.hidden_size])])
        gates.append(nn.functional.linear(sequence, w_ih, b_ih + summed))
        recurrent.append(w_hh)
        new_bias.append(b_hh[2 * rnn.hidden_size :])
    product_type = gates[0].dtype
    state_type = torch.promote_types(product_type, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        hidden = _GRUSteps.apply(
            torch.stack(gates, dim=1).to(state_type),
            torch.stack(recurrent).to(product_type),
            torch.stack(new_bias)[:, None].to(state_type),
        )
    return hidden[:, 0], hidden[:, 1]


class _GRUSteps(torch.autograd.Function):
    """The recurrence of D independent GRUs over the same number of steps.

    ``gates`` (T, D, B, 3H): what the input adds to reset, update and new gate, biases included;
    ``weights`` (D, 3H, H); ``new_bias`` (D, 1, H). Gives the states (T, D, B, H).

        r, z = σ(gates_rz + W_rz h)    n = tanh(gates_n + r (W_n h + b))    h' = n + z (h − n)

    Matrix products run in the type of the weights, all else in the type of the gates. Cho et al.
    2014, in cuDNN's variant, where r is applied after the product.
    """

    @staticmethod
    def forward(ctx, gates, weights, new_bias):
        n_steps, n_directions, batch, _ = gates.shape
        size = weights.shape[2]
        shape = (n_steps, n_directions, batch, size)
        states = gates.new_zeros(n_steps + 1, *shape[1:])
        reset_update = gates.new_empty(*shape[:3], 2 * size)
        products, news = gates.new_empty(shape), gates.new_empty(shape)
        transposed = weights.transpose(1, 2).contiguous()
        state = transposed.new_empty(shape[1:])
        product = transposed.new_empty(*shape[1:3], 3 * size)
        for t in range(n_steps):
            torch.bmm(state.copy_(states[t]), transposed, out=product)
            rz = torch.add(gates[t, ..., : 2 * size], product[..., : 2 * size], out=reset_update[t])
            rz.sigmoid_()
            torch.add(product[..., 2 * size :], new_bias, out=products[t])
            r, z = rz[..., :size], rz[..., size:]
            new = torch.addcmul(gates[t, ..., 2 * size :], r, products[t], out=news[t]).tanh_()
            torch.lerp(new, states[t], z, out=states[t + 1])
        ctx.save_for_backward(weights, states, reset_update, products, news)
        return states[1:]

    @staticmethod
    def backward(ctx, grad_states):
        weights, states, reset_update, products, news = ctx.saved_tensors
        n_steps, n_directions, batch, size = news.shape
        r, z = reset_update[..., :size], reset_update[..., size:]
        # What one unit of the state's gradient gives each gate before its non-linearity, for all
        # steps at once; only the state's gradient itself has to be found step by step.
        to_new = (1 - z) * (1 - news * news)
        factors = torch.stack(
            [to_new * products * r * (1 - r), (states[:-1] - news) * z * (1 - z), to_new * r], dim=3
        )
        grad_steps = torch.empty_like(news)
        grad_products = weights.new_empty(n_steps, n_directions, batch, 3 * size)
        through = weights.new_empty(n_directions, batch, size)
        for t in range(n_steps - 1, -1, -1):
            if t == n_steps - 1:
                grad = grad_steps[t].copy_(grad_states[t])
            else:
                grad = torch.add(grad_states[t], through, out=grad_steps[t])
                grad.addcmul_(grad_steps[t + 1], z[t + 1])
            here = grad_products[t].view(n_directions, batch, 3, size)
            here.copy_(grad[:, :, None] * factors[t])
            torch.bmm(grad_products[t], weights, out=through)
        grad_weights = torch.stack(
            [
                grad_products[:, d].reshape(-1, 3 * size).T
                @ states[:-1, d].reshape(-1, size).to(weights.dtype)
                for d in range(n_directions)
            ]
        )
        grad_gates = grad_products.to(news.dtype, copy=True)
        grad_bias = grad_gates[..., 2 * size :].sum((0, 2))[:, None]
        torch.mul(grad_steps, to_new, out=grad_gates[..., 2 * size :])
        return grad_gates, grad_weights, grad_bias
