import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr_ctc.acoustic import bfloat16_product, recurrent
from asr_ctc.acoustic.recurrent import run_packed, run_padded
from tests.helpers.examples import examples

CELLS = {"GRU": nn.GRU, "LSTM": nn.LSTM}


def make(cell, n_layers, dtype=torch.float64, size=4, hidden=3):
    torch.manual_seed(0)
    rnn = CELLS[cell](size, hidden, n_layers, bidirectional=True).to(dtype)
    for parameter in rnn.parameters():
        nn.init.normal_(parameter)
    return rnn


def packed(rnn, x, n_frames):
    sequence = pack_padded_sequence(x, n_frames, enforce_sorted=False)
    return pad_packed_sequence(rnn(sequence)[0], total_length=len(x))[0]


def results(run, rnn, x, n_frames):
    """The outputs inside the clips, and the gradients of x and of all weights."""
    rnn.zero_grad()
    x = x.clone().requires_grad_()
    y = run(rnn, x, n_frames)
    inside = (torch.arange(len(x))[:, None] < n_frames)[:, :, None]
    y = torch.where(inside, y, 0)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    (y * weights).sum().backward()
    return [y.detach(), x.grad, *(parameter.grad.clone() for parameter in rnn.parameters())]


@pytest.mark.few(2)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("n_layers", [1, 2])
@examples(20)
@given(n_frames=st.lists(st.integers(1, 7), min_size=1, max_size=4), n_padding=st.integers(0, 2))
def test_padded_is_packed_gradients_included(cell, n_layers, n_frames, n_padding):
    rnn = make(cell, n_layers)
    lengths = torch.tensor(n_frames)
    x = torch.randn(max(n_frames) + n_padding, len(n_frames), 4, dtype=torch.float64)
    ours, theirs = (results(run, rnn, x, lengths) for run in (run_padded, packed))
    assert len(ours) == 2 + 8 * n_layers
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-10)


def layer_by_layer(rnn, norms, x, n_frames):
    """The oracle: each layer a recurrent module of its own, run on a PackedSequence."""
    for layer in range(rnn.num_layers):
        alone = type(rnn)(x.shape[2], rnn.hidden_size, bidirectional=True, dtype=x.dtype)
        names = [name for name, _ in alone.named_parameters()]
        weights = {name: getattr(rnn, name.replace("l0", f"l{layer}")) for name in names}
        sequence = pack_padded_sequence(x, n_frames, enforce_sorted=False)
        hidden = torch.func.functional_call(alone, weights, (sequence,))[0]
        x = pad_packed_sequence(hidden, total_length=len(x))[0]
        if layer < rnn.num_layers - 1:
            norm = norms[layer]
            centred = x - x.mean(2, keepdim=True)
            deviation = (centred.square().mean(2, keepdim=True) + norm.eps).sqrt()
            x = centred / deviation * norm.weight + norm.bias
    return x


@pytest.mark.few(2)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("n_layers", [2, 3])
@examples(10)
@given(n_frames=st.lists(st.integers(1, 7), min_size=1, max_size=4), n_padding=st.integers(0, 2))
def test_norms_between_the_layers(cell, n_layers, n_frames, n_padding):
    """Padded and packed as a plain module per layer, gradients of the norms included."""
    rnn = make(cell, n_layers)
    norms = nn.ModuleList(nn.LayerNorm(6, dtype=torch.float64) for _ in range(n_layers - 1))
    for parameter in norms.parameters():
        nn.init.normal_(parameter)
    parts = nn.ModuleDict({"rnn": rnn, "norms": norms})

    def packed(parts, x, n_frames):
        sequence = pack_padded_sequence(x, n_frames, enforce_sorted=False)
        return pad_packed_sequence(run_packed(rnn, sequence, norms), total_length=len(x))[0]

    x = torch.randn(max(n_frames) + n_padding, len(n_frames), 4, dtype=torch.float64)
    expected, *others = (
        results(run, parts, x, torch.tensor(n_frames))
        for run in (
            lambda parts, x, n_frames: layer_by_layer(rnn, norms, x, n_frames),
            lambda parts, x, n_frames: run_padded(rnn, x, n_frames, norms),
            packed,
        )
    )
    assert len(expected) == 2 + 8 * n_layers + 2 * (n_layers - 1)
    for found in others:
        for a, b in zip(found, expected, strict=True):
            assert torch.allclose(a, b, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("cell", CELLS)
def test_in_single_precision(cell):
    rnn = make(cell, 2, torch.float32)
    x, lengths = torch.randn(30, 3, 4), torch.tensor([30, 11, 1])
    for a, b in zip(
        results(run_padded, rnn, x, lengths), results(packed, rnn, x, lengths), strict=True
    ):
        assert a.dtype == torch.float32 and torch.allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_padded_does_not_matter(cell):
    rnn, lengths = make(cell, 2), torch.tensor([5, 3])
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    other = x.clone()
    other[3:, 1] = 1e3
    for a, b in zip(
        results(run_padded, rnn, x, lengths), results(run_padded, rnn, other, lengths), strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_without_gradients_and_in_inference_mode(cell):
    rnn, lengths = make(cell, 2), torch.tensor([5, 3])
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    expected = run_padded(rnn, x, lengths).detach()
    with torch.no_grad():
        assert torch.allclose(run_padded(rnn, x, lengths), expected, rtol=0, atol=1e-12)
    with torch.inference_mode():
        assert torch.allclose(run_padded(rnn.eval(), x, lengths), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("with_gradients", "n_kept"), [(True, 50), (False, 1)])
def test_what_the_backward_pass_needs_is_kept_for_it_only(monkeypatch, with_gradients, n_kept):
    rnn, x = make("GRU", 1), torch.randn(50, 2, 4, dtype=torch.float64)
    kept = []
    forward_pass = recurrent._forward_pass

    def spy(*arguments, **kinds):
        run, (rounded, states, *saved) = forward_pass(*arguments, **kinds)
        kept.extend(len(tensor) for tensor in saved)
        return run, [rounded, states, *saved]

    monkeypatch.setattr(recurrent, "_forward_pass", spy)
    with torch.set_grad_enabled(with_gradients):
        run_padded(rnn, x, torch.tensor([50, 20]))
    assert kept == [n_kept] * 8  # four kinds, two directions


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_directions_on_two_threads_give_the_same(two_threads):
    rnn, lengths = make("GRU", 2), torch.tensor([5, 3])
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    together = results(run_padded, rnn, x, lengths)
    assert torch.get_num_threads() == 2
    with torch.inference_mode():
        assert torch.equal(run_padded(rnn, x, lengths)[:3], together[0][:3])
    torch.set_num_threads(1)
    for a, b in zip(together, results(run_padded, rnn, x, lengths), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_an_error_on_the_second_thread_arrives(two_threads):
    def fail():
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        recurrent._in_parallel(lambda: None, fail)
    with pytest.raises(MemoryError, match="no room"):
        recurrent._in_parallel(fail, lambda: None)
    assert torch.get_num_threads() == 2


def test_gates_of_any_size():
    """A GRU of one frame whose new gate is tanh of the input; NaN stays NaN."""
    x = torch.cat([torch.linspace(-12, 12, 2001), torch.tensor([1e30, -1e30, torch.nan])])
    rnn = nn.GRU(1, 1, bidirectional=True)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.zero_()
        rnn.weight_ih_l0[2] = 1
        rnn.bias_ih_l0[1] = -1e9  # the update gate is 0
        y = run_padded(rnn, x[None, :, None], torch.ones(len(x), dtype=torch.int64))[0, :, 0]
    assert torch.allclose(y[:-1], x[:-1].double().tanh().float(), rtol=5e-7, atol=1e-7)
    assert y[-1].isnan()


@pytest.mark.parametrize("cell", CELLS)
def test_half_precision_is_near(cell):
    """Under autocast to bfloat16, which keeps eight bits: weights' gradients point the same way."""
    rnn = make(cell, 1, torch.float32, size=16, hidden=16)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.mul_(0.25)
    x, lengths = torch.randn(12, 3, 16), torch.tensor([12, 7, 1])
    single = results(run_padded, rnn, x, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        half = results(run_padded, rnn, x, lengths)
    assert torch.allclose(half[0].float(), single[0], atol=0.05)
    for a, b in zip(half[1:], single[1:], strict=True):
        assert nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99


@pytest.mark.skipif(not bfloat16_product.is_supported(), reason="needs AVX512-BF16")
@pytest.mark.parametrize(("batch", "hidden"), [(1, 2), (3, 24), (8, 16), (15, 34)])
def test_all_steps_in_one_loop(monkeypatch, batch, hidden):
    """As the steps one by one, but for their rounding of the products; and for one clip alone."""
    rnn = make("GRU", 2, torch.bfloat16, size=6, hidden=hidden)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.mul_(0.25)
    x = torch.randn(12, batch, 6).bfloat16()
    lengths = torch.randint(1, 13, (batch,), generator=torch.Generator().manual_seed(0))
    lengths[0] = 12
    runs = []
    for has_loops in True, False:
        monkeypatch.setattr(recurrent, "_has_loops", lambda w_hh, has_loops=has_loops: has_loops)
        runs.append(results(run_padded, rnn, x, lengths))
        with torch.no_grad():
            runs[-1].append(run_padded(rnn, x[:, :1], torch.tensor([12])))
    for looped, single in zip(*runs, strict=True):
        looped, single = looped.float().flatten(), single.float().flatten()
        assert (looped - single).norm() < 0.02 * single.norm()


def test_where_the_loops_run(monkeypatch):
    weight = torch.zeros(12, 4)
    monkeypatch.setattr(bfloat16_product, "is_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert recurrent._has_loops(weight.bfloat16())
    assert not recurrent._has_loops(weight) and not recurrent._has_loops(weight.half())
    assert not recurrent._has_loops(torch.zeros(9, 3).bfloat16())
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert not recurrent._has_loops(weight.bfloat16())


@pytest.fixture
def step_by_step(monkeypatch):
    monkeypatch.setattr(recurrent, "_has_loops", lambda w_hh: False)


def test_packed_weights_multiply_alike(step_by_step, monkeypatch):
    rnn = make("GRU", 1, torch.bfloat16, size=16, hidden=24)
    if recurrent._packed_for_onednn(rnn.weight_hh_l0.detach(), 3) is None:
        pytest.skip("oneDNN has no bfloat16 here")
    x, lengths = torch.randn(12, 3, 16).bfloat16(), torch.tensor([12, 7, 1])
    packed = results(run_padded, rnn, x, lengths)
    monkeypatch.setattr(recurrent, "_packed_for_onednn", lambda weight, batch: None)
    plain = results(run_padded, rnn, x, lengths)
    for a, b in zip(packed, plain, strict=True):
        a, b = a.float().flatten(), b.float().flatten()
        assert nn.functional.cosine_similarity(a, b, dim=0) > 0.999


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_a_torch_without_the_private_operations_multiplies_all_the_same(
    step_by_step, monkeypatch, error
):
    rnn = make("GRU", 1, torch.bfloat16, size=16, hidden=24)
    x, lengths = torch.randn(12, 3, 16).bfloat16(), torch.tensor([12, 7, 1])
    packed_for_onednn = recurrent._packed_for_onednn
    monkeypatch.setattr(recurrent, "_packed_for_onednn", lambda weight, batch: None)
    plain = results(run_padded, rnn, x, lengths)
    monkeypatch.setattr(recurrent, "_packed_for_onednn", packed_for_onednn)

    class NoOperations:
        def __getattr__(self, name):
            raise error(f"no such operation: {name}")

    monkeypatch.setattr(torch.ops, "mkldnn", NoOperations(), raising=False)
    for a, b in zip(results(run_padded, rnn, x, lengths), plain, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_the_states_in_both_types_never_share_memory(monkeypatch, kind):
    """In overlapping memory the compiled steps are right, but not vectorised."""
    n_shared, forward_pass = [], recurrent._forward_pass

    def spy(*arguments, **kinds):
        run, tensors = forward_pass(*arguments, **kinds)
        n_shared.append(len(tensors) - len({tensor.data_ptr() for tensor in tensors}))
        return run, tensors

    monkeypatch.setattr(recurrent, "_forward_pass", spy)
    run_padded(make("GRU", 1, kind), torch.randn(5, 2, 4, dtype=kind), torch.tensor([5, 3]))
    assert n_shared == [0, 0]


def test_in_float16_on_a_processor():
    rnn, lengths = make("GRU", 2, torch.float32), torch.tensor([5, 3])
    x = torch.randn(5, 2, 4)
    expected = results(run_padded, rnn, x, lengths)
    halves = results(run_padded, rnn.half(), x.half(), lengths)
    for a, b in zip(halves, expected, strict=True):
        assert a.dtype == torch.float16 and torch.allclose(a.float(), b, rtol=0.02, atol=0.02)


def test_a_gradient_of_a_gradient_is_refused():
    x = torch.randn(5, 2, 4, dtype=torch.float64, requires_grad=True)
    y = run_padded(make("GRU", 1), x, torch.tensor([5, 3]))
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
