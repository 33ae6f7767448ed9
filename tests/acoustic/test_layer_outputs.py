"""The layers of a model one by one: the last of them is what the model itself says."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.encoders.published import open_pretrained
from asr_ctc.acoustic.layer_outputs import convolved, layer_outputs
from tests.acoustic.test_encoder_model import make_model
from tests.helpers.published import make_folder


def logits_of(model, features):
    with torch.inference_mode():
        return model(pack_sequence([features])).data


@pytest.mark.parametrize("cell_type", ["GRU", "LSTM"])
@pytest.mark.parametrize("rnn_norm", [False, True])
def test_layers_of_a_classic_model(cell_type, rnn_norm):
    torch.manual_seed(0)
    model = CTCModel(
        Architecture(
            n_mels=20,
            nhidden_rnn=8,
            nlayers_rnn=3,
            cell_type=cell_type,
            vocab_size=5,
            rnn_norm=rnn_norm,
        )
    ).eval()
    features = torch.randn(37, 20)
    outputs = layer_outputs(model, features)
    assert [o.name for o in outputs] == [
        "convolutions",
        *(f"recurrent layer {i}" for i in (1, 2, 3)),
    ]
    assert [tuple(o.frames.shape) for o in outputs] == [(10, 320), *[(10, 16)] * 3]
    assert outputs[0].logits is None
    torch.testing.assert_close(outputs[-1].logits, logits_of(model, features))
    with torch.inference_mode():
        torch.testing.assert_close(outputs[1].logits, model.charlin(outputs[1].frames))
    assert torch.equal(convolved(model, features).flatten(1), outputs[0].frames)


@pytest.mark.parametrize(
    ("time_reach", "frames"), [(10, 41 + 2 * 20), (5, 41 + 2 * 10), (0, 41), (3, 41 + 2 * 6)]
)
def test_a_frame_of_the_convolutions_is_made_of_the_frames_it_is_said_to_be(time_reach, frames):
    """Changing a single input frame changes the output frames within its reach, and no others."""
    torch.manual_seed(0)
    architecture = Architecture(
        n_mels=20,
        nhidden_rnn=4,
        nlayers_rnn=1,
        cell_type="GRU",
        vocab_size=5,
        time_reach=time_reach,
    )
    model = CTCModel(architecture).eval()
    torch.nn.init.constant_(model.cnn[1].bias, 5.0)  # within the bounds of Hardtanh
    torch.nn.init.constant_(model.cnn[5].bias, 5.0)
    features = torch.randn(200, 20)
    changed = features.clone()
    changed[100] += 0.5
    with torch.inference_mode():
        differs = (convolved(model, features) != convolved(model, changed)).flatten(1).any(dim=1)
    stride, reach = architecture.output_centres[0], architecture.receptive_frames
    assert reach == frames
    near = torch.tensor([abs(stride * i - 100) <= reach // 2 for i in range(len(differs))])
    assert torch.equal(differs, near)


@pytest.mark.parametrize("changes", [{}, {"layers": (1, 3)}, {"nlayers_rnn": 0}])
def test_layers_of_a_model_with_an_encoder(changes):
    model = make_model(**changes).eval()
    features = torch.randn(101, 80)
    outputs = layer_outputs(model, features)
    n_layers, n_recurrent = model.encoder.n_layers, model.architecture.nlayers_rnn
    assert len(outputs) == 1 + n_layers + n_recurrent
    expected = logits_of(model, features)
    assert all(o.logits.shape == expected.shape for o in outputs)
    if n_recurrent or model.architecture.layers == (n_layers,):
        torch.testing.assert_close(outputs[-1].logits, expected)


def test_layers_of_a_published_model(tmp_path):
    make_folder(tmp_path)
    model = open_pretrained(str(tmp_path)).build_model()
    features = torch.randn(8000)
    outputs = layer_outputs(model, features)
    assert [o.name for o in outputs] == [
        "encoder, below its layers",
        "encoder layer 1",
        "encoder layer 2",
    ]
    torch.testing.assert_close(outputs[-1].logits, logits_of(model, features))
