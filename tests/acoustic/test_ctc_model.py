import math

import pytest
import torch
import torchinfo
from torch import nn
from torch.nn.utils.rnn import (
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    unpack_sequence,
)

from asr_ctc.acoustic import ctc_model, two_heads
from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.log_posteriors import log_posteriors
from asr_ctc.acoustic.recurrent import run_layers, run_packed
from asr_ctc.models import CTCModel
from asr_ctc.text.charmap import CharMap

CHARMAP = CharMap()
CELLS = {"GRU": nn.GRU, "LSTM": nn.LSTM}
PARTS = [14_464, 64, 236_576, 64, 64_929_792, 90_156]  # convolution, norm, twice; rnn; charlin


def make(cell="GRU", n_mels=20, n_layers=2, hidden=6, dtype=torch.float32, **kwargs):
    """A model whose weights, biases and BatchNorm statistics are all random."""
    torch.manual_seed(0)
    model = CTCModel(CHARMAP, n_mels, hidden, n_layers, cell, 0.3, **kwargs).to(dtype).eval()
    for name, parameter in model.named_parameters():
        if "bias" in name or parameter.dim() == 1:
            nn.init.normal_(parameter)
    for norm in model.cnn[1], model.cnn[5]:
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.3, 3)
    return model


def make_clips(*lengths, n_mels=20, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, n_mels, generator=generator, dtype=dtype) for n in lengths]


def pack(clips):
    return pack_sequence(clips, enforce_sorted=False)


# --- The published architecture ------------------------------------------------------------------


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):  # the shapes, without a quarter of a gigabyte
        return CTCModel(CHARMAP, 20, 1024, 4, "GRU", 0.1)


def test_the_published_numbers_of_parameters(published):
    layers = [published.cnn[i] for i in (0, 1, 4, 5)] + [published.rnn, published.charlin]
    counts = [sum(p.numel() for p in layer.parameters()) for layer in layers]
    assert counts == PARTS and sum(counts) == 65_271_116
    assert sum(p.numel() for p in published.parameters()) == 65_271_116


def test_torchinfo_says_so(published):
    assert "Total params: 65,271,116" in str(torchinfo.summary(published, verbose=0))


def test_the_published_layers(published):
    names = "Conv2d MaskedBatchNorm2d Hardtanh Dropout2d".split()
    assert [type(layer).__name__ for layer in published.cnn] == names * 2
    first, second = published.cnn[0], published.cnn[4]
    assert (first.in_channels, first.out_channels, first.kernel_size) == (1, 32, (41, 11))
    assert (first.stride, first.padding) == ((2, 2), (20, 5))
    assert (second.in_channels, second.out_channels, second.kernel_size) == (32, 32, (21, 11))
    assert (second.stride, second.padding) == ((2, 1), (10, 5))
    assert all((layer.min_val, layer.max_val) == (0, 20) for layer in published.cnn[2::4])
    assert all(layer.p == 0.1 for layer in published.cnn[3::4])
    assert (published.rnn.input_size, published.rnn.bidirectional) == (320, True)
    assert isinstance(published.rnn, nn.GRU) and len(published.charlin) == 1
    assert published.architecture.n_mels == 20


def test_state_dict_keys():
    norm = "weight bias running_mean running_var num_batches_tracked".split()
    keys = [f"cnn.{i}.{name}" for i in (0, 4) for name in ("weight", "bias")]
    keys += [f"cnn.{i}.{name}" for i in (1, 5) for name in norm]
    keys += [
        f"rnn.{name}_{end}{direction}"
        for name in ("weight", "bias")
        for end in ("ih_l0", "hh_l0", "ih_l1", "hh_l1")
        for direction in ("", "_reverse")
    ]
    assert sorted(make().state_dict()) == sorted([*keys, "charlin.0.weight", "charlin.0.bias"])


@pytest.mark.parametrize("training", [True, False])
def test_the_shape_of_cnn(training):
    model = CTCModel(CHARMAP, 80, 4, 1, "GRU", 0.1).train(training)
    assert model.cnn(torch.randn(10, 1, 124, 80)).shape == (10, 32, 31, 40)


@pytest.mark.parametrize("n_mels", [1, 2, 13, 20, 80])
def test_the_input_of_rnn(n_mels):
    model = make(n_mels=n_mels, n_layers=1)
    assert model.rnn.input_size == 32 * math.ceil(n_mels / 2)
    (logits,) = unpack_sequence(model(pack(make_clips(9, n_mels=n_mels))))
    assert logits.shape == (3, 44)


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_one_clip_through_plain_torch_layers(cell):
    """The oracle is the architecture as it was published, in the layers that torch brings."""
    model = make(cell)
    cnn = nn.Sequential(
        nn.Conv2d(1, 32, (41, 11), (2, 2), (20, 5)),
        nn.BatchNorm2d(32),
        nn.Hardtanh(0, 20),
        nn.Dropout2d(0.3),
        nn.Conv2d(32, 32, (21, 11), (2, 1), (10, 5)),
        nn.BatchNorm2d(32),
        nn.Hardtanh(0, 20),
        nn.Dropout2d(0.3),
    )
    parts = {"cnn": cnn, "rnn": CELLS[cell](320, 6, 2, bidirectional=True)}
    plain = nn.ModuleDict({**parts, "charlin": nn.Sequential(nn.Linear(12, 44))}).eval()
    plain.load_state_dict(model.state_dict())
    (clip,) = make_clips(57)
    features = plain["cnn"](clip[None, None])  # (1, C, T', F')
    hidden, _ = plain["rnn"](features.permute(2, 0, 1, 3).flatten(2))
    (logits,) = unpack_sequence(model(pack([clip])))
    assert torch.allclose(logits, plain["charlin"](hidden)[:, 0], atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_normalised_between_recurrent_layers(cell):
    """Off, the model holds nothing for it; on, all that a layer tells the next goes through it."""
    plain, normed = make(cell, n_layers=3), make(cell, n_layers=3, rnn_norm=True)
    added = set(normed.state_dict()) - set(plain.state_dict())
    assert added == {f"rnn_norms.{i}.{name}" for i in (0, 1) for name in ("weight", "bias")}
    clips = pack(make_clips(40, 40))
    for model in plain, normed:
        one, other = unpack_sequence(model(clips))
        assert (one - other).abs().max() > 1e-4
    normed.rnn_norms[1].weight.zero_()  # the last layer reads the same of every clip
    one, other = unpack_sequence(normed(clips))
    assert (one - other).abs().max() < 1e-6


def test_refuses_other_cells_and_other_features():
    with pytest.raises(ValueError, match="cell_type must be GRU or LSTM, found 'RNN'"):
        CTCModel(CHARMAP, 20, 4, 1, "RNN", 0.1)
    with pytest.raises(ValueError, match="20 mel bins are needed, found 13"):
        make()(pack(make_clips(9, n_mels=13)))


# --- Lengths -------------------------------------------------------------------------------------


@torch.no_grad()
def test_output_lengths_are_what_comes_out():
    model = make(n_mels=2)
    all_lengths = model.output_lengths(torch.arange(1, 61)).tolist()
    for n_frames in range(1, 61):
        n_output_frames = model.cnn(torch.zeros(1, 1, n_frames, 2)).shape[2]
        assert n_output_frames == model.output_lengths(n_frames) == all_lengths[n_frames - 1]
        assert n_output_frames == math.ceil(math.ceil(n_frames / 2) / 2)


@torch.no_grad()
def test_lengths_and_order_of_a_batch():
    lengths = [5, 30, 1, 17]
    logits = unpack_sequence(make()(pack(make_clips(*lengths))))
    assert [clip.shape for clip in logits] == [(n, 44) for n in (2, 8, 1, 5)]


# --- A clip is the same alone and in any batch ---------------------------------------------------


@pytest.mark.few(3)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("n_mels", [20, 13])
@pytest.mark.parametrize("options", [{}, {"rnn_norm": True}, {"mel_stride": 2, "time_reach": 2}])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@torch.no_grad()
def test_alone_and_in_any_batch(cell, n_mels, options, dtype, tolerance):
    model = make(cell, n_mels, dtype=dtype, **options)
    # Every remainder by 4, and clips shorter than what a convolution sees at once.
    clips = make_clips(1, 2, 3, 8, 17, 30, 43, 60, n_mels=n_mels, dtype=dtype)
    alone = [unpack_sequence(model(pack([clip])))[0] for clip in clips]
    assert max(logits.abs().max() for logits in alone) > 0.5
    for batch in [0, 7], [7, 0], [3, 1, 6], [5, 4], [6, 5, 7, 2, 0, 1, 3, 4]:
        together = unpack_sequence(model(pack([clips[i] for i in batch])))
        for i, logits in zip(batch, together, strict=True):
            assert (logits - alone[i]).abs().max() <= tolerance


@torch.no_grad()
def test_what_stands_in_the_padding_does_not_matter():
    model, clips = make(), make_clips(30, 11)
    padded = nn.utils.rnn.pad_sequence(clips)
    padded[11:, 1] = 50.0
    logits = unpack_sequence(model(pack_padded_sequence(padded, [30, 11])))
    expected = unpack_sequence(model(pack(clips)))
    assert all(torch.equal(a, b) for a, b in zip(logits, expected, strict=True))


# --- BatchNorm -----------------------------------------------------------------------------------


def test_the_model_trains_its_batch_norms_on_valid_frames():
    """Statistics of a padded batch are those of its clips, whatever is padded to what."""
    model = make().train()
    model.cnn[3].p = model.cnn[7].p = 0.0
    clips = make_clips(40, 7, 22)
    model(pack(clips))
    convolved = [model.cnn[0](clip[None, None])[0].flatten(1) for clip in clips]
    values = torch.cat(convolved, dim=1)
    fresh = make()
    for name, statistic in ("running_mean", values.mean(1)), ("running_var", values.var(1)):
        expected = torch.lerp(getattr(fresh.cnn[1], name), statistic, fresh.cnn[1].momentum)
        assert torch.allclose(getattr(model.cnn[1], name), expected, atol=1e-5)


# --- Penalty, posteriors, sizes ------------------------------------------------------------------


@pytest.mark.parametrize(("l1", "l2"), [(0.5, 0.0), (0.0, 0.25), (0.5, 0.25)])
def test_penalty_by_hand(l1, l2):
    model = make(n_layers=1, l1=l1, l2=l2)
    n_weights = 32 * 41 * 11 + 32 * 32 * 21 * 11  # convolutions
    n_weights += 2 * 3 * 6 * (320 + 6) + 44 * 12  # recurrent layer, linear layer
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_weight = "weight" in name and name not in ("cnn.1.weight", "cnn.5.weight")
            parameter.fill_(-2.0 if is_weight else 7.0)
    penalty = model.penalty()
    assert penalty.item() == pytest.approx(n_weights * (l1 * 2 + l2 * 4), rel=1e-6)
    penalty.backward()
    assert torch.allclose(model.rnn.weight_hh_l0.grad, torch.tensor(-l1 - 2 * l2 * 2))
    for parameter in model.rnn.bias_hh_l0, model.charlin[0].bias, model.cnn[0].bias:
        assert parameter.grad is None
    assert model.cnn[1].weight.grad is None


def test_no_penalty_costs_nothing():
    assert make().penalty() == 0.0 and not torch.is_tensor(make().penalty())


@torch.no_grad()
def test_log_posteriors():
    model, clips = make(), make_clips(5, 30)
    logp, lengths = log_posteriors(model, pack(clips))
    assert logp.shape == (2, 8, 44) and logp.dtype == torch.float32
    assert lengths.tolist() == [2, 8]
    (logits,) = unpack_sequence(model(pack(clips[:1])))
    assert torch.allclose(logp[0, :2], logits.log_softmax(-1), atol=1e-4)
    assert torch.allclose(logp[1].exp().sum(-1), torch.ones(8))
    with torch.autocast("cpu", torch.bfloat16):
        half = log_posteriors(model, pack(clips))[0]
    assert half.dtype == torch.float32 and torch.allclose(half[1], logp[1], atol=0.2)
    assert torch.allclose(half[1].exp().sum(-1), torch.ones(8))  # the log-softmax is in float32


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("n_mels", "rnn_norm"), [(20, False), (80, False), (20, True)])
def test_sizes_are_read_from_the_tensors(cell, n_mels, rnn_norm):
    state = make(cell, n_mels, n_layers=3, hidden=5, rnn_norm=rnn_norm).state_dict()
    assert Architecture.of_state_dict(state) == Architecture(
        n_mels=n_mels,
        nhidden_rnn=5,
        nlayers_rnn=3,
        cell_type=cell,
        vocab_size=44,
        rnn_norm=rnn_norm,
    )


SIZES = dict(n_mels=20, nhidden_rnn=4, nlayers_rnn=2, cell_type="GRU", vocab_size=44)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, [0, -1, 1.5, "3", None, True]) for name in SIZES if name != "cell_type"),
        ("cell_type", ["RNN", "gru", None, 3, ["GRU"]]),
        ("rnn_norm", [1, "yes", None]),
        ("mel_stride", [0, 3, "2", True, None]),
        ("time_reach", [-1, 51, "3", True, 3.0, None]),
    ],
)
def test_impossible_architectures_are_refused(name, values):
    Architecture(**SIZES)
    for value in values:
        with pytest.raises(ValueError, match=f"{name} must be"):
            Architecture(**{**SIZES, name: value})


def test_lengths_need_no_model():
    """Those that the convolutions leave, found by running them."""
    architecture, model = Architecture(**SIZES), make().double()
    for n_frames in range(1, 20):
        left = model.cnn(torch.zeros(1, 1, n_frames, 20).double())
        assert architecture.output_lengths(n_frames) == left.shape[2]
    assert architecture.output_lengths(torch.tensor([1, 16, 17])).tolist() == [1, 4, 5]


@pytest.mark.parametrize(
    ("mel_stride", "bins"), [(1, [1, 1, 2, 2, 3, 20]), (2, [1, 1, 1, 1, 2, 10])]
)
def test_bins_that_the_convolutions_leave(mel_stride, bins):
    for n_mels, expected in zip([1, 2, 3, 4, 5, 40], bins, strict=True):
        model = make(n_mels=n_mels, mel_stride=mel_stride)
        left = model.cnn(torch.zeros(1, 1, 9, n_mels)).shape
        assert left[3] == model.architecture.output_bins == expected
        assert left[2] == model.architecture.output_lengths(9) == 3
        assert model.output_centres == (4, 0.0)


def run_packed_layers(rnn, x, n_frames, norms=()):
    packed = pack_padded_sequence(x, n_frames, enforce_sorted=False)
    return pad_packed_sequence(run_packed(rnn, packed, norms))[0]


@pytest.mark.few(2)
@pytest.mark.parametrize("run", [run_layers, run_packed_layers])
@pytest.mark.parametrize("rnn_norm", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_dropout_between_the_recurrent_layers(cell, rnn_norm, run, monkeypatch):
    """Each layer's outputs but the last one's are 0 or larger by 1 / 0.8, so the mean is kept."""
    monkeypatch.setattr(two_heads, "run_layers", run)
    sizes = dict(n_layers=3, hidden=40, rnn_norm=rnn_norm)
    model, clips = make(cell, rnn_dropout=0.2, **sizes), pack(make_clips(60, 41))
    evaluated = model(clips).data
    torch.testing.assert_close(evaluated, make(cell, **sizes)(clips).data)
    passed = []
    model.rnn_dropout.register_forward_hook(lambda _, x, y: passed.append((*x, y)))
    model.rnn_dropout.train()

    def trained(seed):
        torch.manual_seed(seed)
        return model(clips).data

    outputs = trained(1)
    assert len(passed) == 2
    for before, after in passed:
        is_kept = after != 0
        assert float(is_kept.float().mean()) == pytest.approx(0.8, abs=0.04)
        torch.testing.assert_close(after[is_kept], before[is_kept] / 0.8)
    assert torch.equal(trained(1), outputs)
    assert not torch.allclose(trained(2), outputs) and not torch.allclose(outputs, evaluated)


def test_one_recurrent_layer_has_nothing_to_drop():
    model, clips = make(n_layers=1, rnn_dropout=0.5), pack(make_clips(20))
    evaluated = model(clips).data
    model.rnn_dropout.train()
    assert torch.equal(model(clips).data, evaluated)


def test_the_classic_signature_and_the_architecture_build_one_model():
    torch.manual_seed(0)
    classic = CTCModel(CHARMAP, 20, 4, 2, "LSTM", 0.25, 0.5, 0.75, True, 0.1)
    torch.manual_seed(0)
    architecture = Architecture(**{**SIZES, "cell_type": "LSTM", "rnn_norm": True})
    model = ctc_model.CTCModel(architecture, dropout=0.25, rnn_dropout=0.1, l1=0.5, l2=0.75)
    assert classic.rnn_dropout.p == model.rnn_dropout.p == 0.1
    assert classic.architecture == model.architecture == architecture
    assert (classic.l1, classic.l2, classic.cnn[3].p) == (model.l1, model.l2, model.cnn[3].p)
    for (name, value), (other, same) in zip(
        classic.state_dict().items(), model.state_dict().items(), strict=True
    ):
        assert name == other and torch.equal(value, same)
    assert isinstance(classic, ctc_model.CTCModel)
    assert isinstance(model, CTCModel) and not isinstance(nn.Linear(1, 1), CTCModel)


def test_tensors_of_another_model_are_refused():
    state = make().state_dict()
    with pytest.raises(ValueError, match=r"tensors missing: cnn\.4\.weight, charlin\.0\.weight"):
        Architecture.of_state_dict(
            {k: v for k, v in state.items() if k not in ("cnn.4.weight", "charlin.0.weight")}
        )
    with pytest.raises(ValueError, match="neither a GRU's nor an LSTM's"):
        Architecture.of_state_dict({**state, "rnn.weight_hh_l0": torch.zeros(6, 6)})
