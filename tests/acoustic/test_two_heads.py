"""A second output layer: on the last recurrent layer or a lower one, trained with the first."""

import math
import pickle
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.log_posteriors import both_log_posteriors, log_posteriors
from asr_ctc.acoustic.loss import ctc_losses, two_headed_objective
from asr_ctc.acoustic.model_kinds import architecture_from_dict, architecture_to_dict
from asr_ctc.acoustic.recurrent import run_packed
from asr_ctc.acoustic.two_heads import run_tapped
from asr_ctc.loading.batch import BatchCollate, Clip

SIZES = Architecture(
    n_mels=8, nhidden_rnn=6, nlayers_rnn=3, cell_type="GRU", vocab_size=5, aux_vocab_size=7
)


def make(**sizes) -> CTCModel:
    torch.manual_seed(0)
    return CTCModel(replace(SIZES, **sizes)).eval()


def spectrograms(*lengths: int):
    torch.manual_seed(1)
    return pack_sequence([torch.randn(n, 8) for n in lengths], enforce_sorted=False)


def test_the_first_head_is_that_of_a_model_without_a_second():
    both, one = make(), make(aux_vocab_size=0)
    one.load_state_dict({k: v for k, v in both.state_dict().items() if "auxlin" not in k})
    clips = spectrograms(40, 61)
    assert torch.equal(log_posteriors(both, clips)[0], log_posteriors(one, clips)[0])
    assert torch.equal(both_log_posteriors(both, clips)[0], log_posteriors(one, clips)[0])


@pytest.mark.few(4)
@pytest.mark.parametrize("rnn_norm", [False, True])
@pytest.mark.parametrize("cell_type", ["GRU", "LSTM"])
@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_the_second_is_on_the_layer_that_is_asked_for(layer, cell_type, rnn_norm):
    """As in a model of that many layers, whose only head it is."""
    model = make(aux_layer=layer, cell_type=cell_type, rnn_norm=rnn_norm)
    n_layers = layer or 3
    alone = make(
        nlayers_rnn=n_layers, vocab_size=7, aux_vocab_size=0, cell_type=cell_type, rnn_norm=rnn_norm
    )
    state = {
        name.replace("auxlin", "charlin"): tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("charlin")
    }
    alone.load_state_dict({name: state[name] for name in alone.state_dict()})
    clips = spectrograms(40, 61, 17)
    expected, lengths = log_posteriors(alone, clips)
    model.head = "aux"
    found, found_lengths = log_posteriors(model, clips)
    assert torch.equal(lengths, found_lengths)
    for one, other, n in zip(found, expected, lengths.tolist(), strict=True):
        torch.testing.assert_close(one[:n], other[:n])
    _, of_both, _ = both_log_posteriors(model, clips)
    assert torch.equal(of_both, found)


def test_layers_that_run_packed_are_tapped_too(monkeypatch):
    """As on a GPU."""
    model = make()
    monkeypatch.setattr(
        "asr_ctc.acoustic.two_heads.run_layers",
        lambda rnn, x, n_frames, norms: pad_packed_sequence(
            run_packed(
                rnn,
                torch.nn.utils.rnn.pack_padded_sequence(x, n_frames, enforce_sorted=False),
                norms,
            )
        )[0],
    )
    x, lengths = torch.randn(9, 2, model.rnn.input_size), torch.tensor([4, 9])
    _, packed = run_tapped(model.rnn, x, lengths, [], layer=2)
    monkeypatch.undo()
    _, padded = run_tapped(model.rnn, x, lengths, [], layer=2)
    in_order = torch.nn.utils.rnn.pack_padded_sequence(padded, lengths, enforce_sorted=False)
    torch.testing.assert_close(packed, in_order.data)


def batch():
    torch.manual_seed(2)
    clips = [
        Clip(str(n), torch.randn(n, 8), torch.tensor(labels), "", 1.0, True, torch.tensor(aux))
        for n, labels, aux in ((40, [1, 2], [6, 5, 4]), (60, [3], [1]))
    ]
    return BatchCollate()(clips)


def test_the_loss_is_the_weighted_sum_of_both():
    model, clips = make(), batch()
    logp, aux_logp, lengths = both_log_posteriors(model, clips.spectrograms)
    expected = 0.75 * ctc_losses(logp, lengths, clips.transcripts)
    expected += 0.25 * ctc_losses(aux_logp, lengths, clips.aux_transcripts)
    objective = partial(two_headed_objective, aux_weight=0.25)
    torch.testing.assert_close(objective(model, clips), expected)
    objective(model, clips).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.auxlin.parameters())
    assert math.isfinite(expected.sum().item())


def test_labels_of_both_travel_with_a_batch():
    sent = pickle.loads(pickle.dumps(batch()))
    for part in ("spectrograms", "transcripts", "aux_transcripts"):
        for one, other in zip(getattr(sent, part), getattr(batch(), part), strict=True):
            assert (one is other is None) or torch.equal(one, other)
    without = BatchCollate()([Clip("a", torch.zeros(3, 8), torch.tensor([1]), "", 1.0)])
    assert pickle.loads(pickle.dumps(without)).aux_transcripts is None


def test_sizes_of_models_with_one_head_are_as_before():
    values = architecture_to_dict(replace(SIZES, aux_vocab_size=0))
    assert not any(name.startswith("aux") for name in values)
    both = replace(SIZES, aux_layer=2)
    assert architecture_from_dict(architecture_to_dict(both)) == both
    state = make(aux_layer=2).state_dict()
    assert replace(Architecture.of_state_dict(state), aux_layer=2) == both


@pytest.mark.parametrize(
    "sizes", [{"aux_layer": 4}, {"aux_layer": -1}, {"aux_vocab_size": -1},
              {"aux_vocab_size": 0, "aux_layer": 1}, {"aux_vocab_size": 1.5}]
)  # fmt: skip
def test_impossible_heads_are_refused(sizes):
    with pytest.raises(ValueError, match="aux_"):
        replace(SIZES, **sizes)


@pytest.mark.parametrize("head", ["main", "aux"])
def test_an_untrained_layer_starts_from_the_shares_of_its_classes(head):
    model = make(aux_vocab_size=4)
    layers = [model.charlin[0], model.auxlin[0]]
    layer, other = layers if head == "main" else reversed(layers)
    before = other.bias.clone()
    counts = torch.arange(layer.out_features)  # the first never occurs, and counts once
    model.set_priors(head, counts)
    shares = layer.bias.detach().softmax(0) * (counts.sum() + len(counts))
    assert shares.tolist() == pytest.approx([1 + n for n in range(layer.out_features)])
    assert torch.equal(other.bias, before)
