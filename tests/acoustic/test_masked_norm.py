"""Batch norm inside the clips, and the compiled passes of batch norm, Hardtanh and dropout."""

import pytest
import torch
from torch import nn

from asr_ctc.acoustic import masked_norm
from asr_ctc.acoustic.masked_norm import MaskedBatchNorm2d, after_convolution

LENGTHS = torch.tensor([9, 4, 1, 9])

# --- Batch norm ----------------------------------------------------------------------------------


def test_batch_norm_counts_valid_frames_only():
    """As BatchNorm on the valid frames put end to end: outputs, running statistics, gradients."""
    torch.manual_seed(0)
    ours, theirs = MaskedBatchNorm2d(4).double(), nn.BatchNorm2d(4).double()
    for norm in ours, theirs:
        nn.init.constant_(norm.weight, 1.7)
        nn.init.constant_(norm.bias, -0.4)
    for lengths in [7, 2, 5], [3, 6, 1]:  # two steps, so that the running statistics add up
        n_frames = torch.tensor(lengths)
        inside = (torch.arange(max(lengths)) < n_frames[:, None])[:, None, :, None]
        x = 5 + 3 * torch.randn(3, 4, max(lengths), 6, dtype=torch.float64)
        x = torch.where(inside, x, 1e4).requires_grad_()
        target = torch.randn_like(x)

        y = ours(x, inside.to(x.dtype))
        (y * target * inside).sum().backward()
        ours_grads = [x.grad.clone(), ours.weight.grad.clone(), ours.bias.grad.clone()]
        x.grad = None

        def end_to_end(values, lengths=lengths):
            return torch.cat([clip[:, :n] for clip, n in zip(values, lengths, strict=True)], dim=1)[
                None
            ]

        expected = theirs(end_to_end(x))
        (expected * end_to_end(target)).sum().backward()
        assert torch.allclose(end_to_end(y), expected, rtol=1e-9, atol=1e-9)
        assert torch.allclose(ours_grads[0] * inside, x.grad, rtol=1e-9, atol=1e-9)
        assert (ours_grads[0] * ~inside == 0).all()
        assert torch.allclose(ours_grads[1], theirs.weight.grad)
        assert torch.allclose(ours_grads[2], theirs.bias.grad)
    for name, buffer in theirs.named_buffers():
        assert torch.allclose(getattr(ours, name), buffer, rtol=1e-6)
    assert ours.num_batches_tracked == 2


def test_batch_norm_in_half_precision_takes_off_a_large_mean():
    x = (100 + torch.randn(2, 4, 50, 10)).bfloat16()
    expected = nn.BatchNorm2d(4)(x.float())
    normed = MaskedBatchNorm2d(4)(x, torch.ones(2, 1, 50, 1).bfloat16())
    assert normed.dtype == torch.bfloat16 and torch.allclose(normed.float(), expected, atol=0.02)


def test_batch_norm_without_mask_or_in_evaluation_is_torchs():
    ours, theirs = MaskedBatchNorm2d(4), nn.BatchNorm2d(4)
    x = torch.randn(3, 4, 5, 6)
    assert torch.equal(ours(x), theirs(x))
    mask = torch.zeros(3, 1, 5, 1)
    assert torch.equal(ours.eval()(x, mask), theirs.eval()(x))


# --- Compiled ------------------------------------------------------------------------------------


def make_norm(kind: torch.dtype, seed: int = 0) -> MaskedBatchNorm2d:
    torch.manual_seed(seed)
    norm = MaskedBatchNorm2d(5).to(torch.promote_types(kind, torch.float32))
    with torch.no_grad():
        norm.weight.uniform_(-2, 2)
        norm.bias.normal_()
    return norm


def run(kind: torch.dtype, monkeypatch=None) -> dict[str, torch.Tensor]:
    """Results and gradients of a batch of clips in which a fifth of the values is clamped."""
    if monkeypatch:  # as operations of torch
        monkeypatch.setattr(masked_norm, "COMPILED_TYPES", ())
    norm = make_norm(kind)
    x = (1 + 3 * torch.randn(4, 5, 9, 6, dtype=torch.float64)).to(kind).requires_grad_()
    y = after_convolution(x, LENGTHS, norm, nn.Hardtanh(-1, 2), nn.Dropout2d(0.3))
    y.backward(torch.randn(y.shape, dtype=torch.float64).to(kind))
    return {
        "y": y,
        "x": x.grad,
        "weight": norm.weight.grad,
        "bias": norm.bias.grad,
        **dict(norm.named_buffers()),
        "next random number": torch.rand(1),
    }


@pytest.mark.parametrize(
    ("kind", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5), (torch.bfloat16, 0.02)]
)
def test_compiled_passes_equal_operations_of_torch(monkeypatch, kind, tolerance):
    results, expected = run(kind), run(kind, monkeypatch)
    y = expected["y"]
    assert 0.05 < ((y == y.max()) | (y == y.min())).double().mean() < 0.5  # clamped
    for name, value in expected.items():
        assert results[name].dtype == value.dtype
        assert torch.allclose(results[name], value, rtol=tolerance, atol=tolerance), name


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences():
    norm = make_norm(torch.float64)

    def function(x, weight, bias):
        norm._parameters.update(weight=weight, bias=bias)
        return after_convolution(x, LENGTHS, norm, nn.Hardtanh(-1, 2), nn.Dropout2d(0.0))

    x = torch.randn(4, 5, 9, 2, dtype=torch.float64, requires_grad=True)
    parameters = [p.detach().clone().requires_grad_() for p in norm.parameters()]
    assert torch.autograd.gradcheck(function, (x, *parameters))


def test_results_do_not_depend_on_the_number_of_threads():
    n_threads, results = torch.get_num_threads(), []
    try:
        for n in 1, 2, 3, 7:
            torch.set_num_threads(n)
            results.append(run(torch.float32))
    finally:
        torch.set_num_threads(n_threads)
    for other in results[1:]:
        assert all(torch.equal(other[name], value) for name, value in results[0].items())


def test_what_is_past_the_end_of_a_clip_is_zero_and_gets_no_gradient():
    for training in True, False:
        norm = make_norm(torch.float32).train(training)
        x = torch.full((4, 5, 9, 6), 1e9)
        for clip, n in zip(x, LENGTHS, strict=True):
            clip[:, :n] = torch.randn(5, int(n), 6)
        x.requires_grad_()
        y = after_convolution(x, LENGTHS, norm, nn.Hardtanh(0, 20), nn.Dropout2d(0.0))
        y.sum().backward()
        for values in y, x.grad:
            assert all((v[:, n:] == 0).all() for v, n in zip(values, LENGTHS, strict=True))
            assert torch.isfinite(values).all()


def test_nan_is_not_hidden():
    for kind in torch.float32, torch.bfloat16:
        x = torch.randn(4, 5, 9, 6).to(kind)
        x[2, 3, 0, 1] = torch.nan
        y = after_convolution(x, LENGTHS, make_norm(kind), nn.Hardtanh(0, 20), nn.Dropout2d(0.0))
        assert y[:, 3][0].isnan().all() and not y[:, [0, 1, 2, 4]].isnan().any()


def test_a_batch_that_is_not_contiguous():
    """As convolutions return it for inputs whose channels come last."""
    results = []
    for layout in torch.contiguous_format, torch.channels_last:
        norm = make_norm(torch.float32)
        x = torch.randn(4, 5, 9, 6).contiguous(memory_format=layout).requires_grad_()
        y = after_convolution(x, LENGTHS, norm, nn.Hardtanh(-1, 2), nn.Dropout2d(0.0))
        y.backward(torch.randn(4, 5, 6, 9).transpose(2, 3))
        results.append((y, x.grad, norm.weight.grad, norm.running_var))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_gradient_of_a_gradient_is_refused():
    x = torch.randn(4, 5, 9, 6, requires_grad=True)
    norm = make_norm(torch.float32)
    y = after_convolution(x, LENGTHS, norm, nn.Hardtanh(-1, 2), nn.Dropout2d(0.0))
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
