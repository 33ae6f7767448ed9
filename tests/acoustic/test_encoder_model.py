"""Models with a pretrained encoder: lengths, cached frames, layers, masks, freezing, their file."""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from asr_ctc.acoustic.encoder_model import EncoderArchitecture, EncoderModel
from asr_ctc.acoustic.encoders.span_masks import SpanMasks
from asr_ctc.acoustic.model_file import ModelFile, load_model, save_model
from asr_ctc.audio.log_mel import FeatureSettings
from asr_ctc.audio.whisper_mel import WhisperFeatures
from asr_ctc.base.errors import UserError
from asr_ctc.text.charmap import CharMap
from tests.helpers.whisper_folder import make_encoder

LENGTHS = (31, 8, 1, 54)


def make_architecture(**changes) -> EncoderArchitecture:
    return EncoderArchitecture(
        **{
            "encoder": make_encoder().settings,
            "layers": (3,),
            "frame_stack": 2,
            "projection": 12,
            "nlayers_rnn": 1,
            "nhidden_rnn": 8,
            "cell_type": "GRU",
            "vocab_size": CharMap().vocab_size,
        }
        | changes
    )


def make_model(dropout: float = 0.0, **changes) -> EncoderModel:
    torch.manual_seed(0)
    model = EncoderModel(make_architecture(**changes), dropout=dropout).eval()
    model.encoder.load_state_dict(make_encoder().state_dict())
    return model


def clips(*lengths: int) -> list[torch.Tensor]:
    return [torch.randn(n, 80, generator=torch.Generator().manual_seed(n)) for n in lengths]


def outputs(model: EncoderModel, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    with torch.inference_mode():
        return unpack_sequence(model(pack_sequence(inputs, enforce_sorted=False)))


SHAPES = {
    "one layer": {},
    "no recurrent layer": {"nlayers_rnn": 0},
    "several layers, LSTM": {"layers": (0, 2, 3), "nlayers_rnn": 2, "cell_type": "LSTM"},
    "three frames": {"frame_stack": 3, "layers": (2,), "rnn_norm": True, "nlayers_rnn": 2},
    "single frames": {"frame_stack": 1},
}


@pytest.mark.few(2)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_clip_does_not_depend_on_its_batch(shape):
    model = make_model(**shape)
    inputs = clips(*LENGTHS)
    for clip, in_batch in zip(inputs, outputs(model, inputs), strict=True):
        (alone,) = outputs(model, [clip])
        assert len(alone) == model.output_lengths(len(clip))
        assert int(model.output_lengths(torch.tensor(len(clip)))) == len(alone)
        assert torch.allclose(alone, in_batch, atol=1e-5)


@pytest.mark.few(2)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_frames_of_the_encoder_in_place_of_features_give_the_same(shape):
    """All the layers that are read; and one below them, from which the encoder goes on."""
    model = make_model(**shape)
    inputs = clips(*LENGTHS)
    expected = outputs(model, inputs)
    packed = pack_sequence(inputs, enforce_sorted=False)
    for layers in {model.architecture.layers, (model.architecture.layers[0],), (0,)}:
        with torch.inference_mode():
            frames = unpack_sequence(model.encoder(packed, layers))
        model.input_layers = layers
        assert all(
            model.output_lengths(len(clip)) == len(logits)
            for clip, logits in zip(frames, expected, strict=True)
        )
        for ours, logits in zip(outputs(model, frames), expected, strict=True):
            assert torch.allclose(ours, logits, atol=1e-5)
        model.input_layers = None


def test_the_weighted_sum_of_layers_is_learned():
    model = make_model(layers=(1, 3), nlayers_rnn=0)
    with torch.no_grad():
        model.layer_weights.copy_(torch.tensor([0.0, 3.0]).log())
    assert model.layer_weights.softmax(0).tolist() == pytest.approx([0.0, 1.0])
    only = make_model(layers=(3,), nlayers_rnn=0)
    only.load_state_dict({n: w for n, w in model.state_dict().items() if n != "layer_weights"})
    (both,), (one,) = outputs(model, clips(20)), outputs(only, clips(20))
    assert torch.allclose(both, one, atol=1e-5)
    model(pack_sequence(clips(20))).data.sum().backward()
    assert model.layer_weights.grad is not None


def test_output_frames_are_centred_between_the_frames_they_join():
    assert make_model().output_centres == (4, 1.0)
    assert make_model(frame_stack=1).output_centres == (2, 0.0)
    assert make_model(frame_stack=3).output_centres == (6, 2.0)


def test_masks_are_of_training_alone():
    model = make_model()
    (seen,) = outputs(model, clips(200))
    model.masks = SpanMasks(time_share=0.5)
    assert torch.equal(seen, outputs(model, clips(200))[0])
    torch.manual_seed(1)
    (masked,) = outputs(model.train(), clips(200))
    assert not torch.allclose(seen, masked, atol=1e-3)
    torch.manual_seed(1)  # whatever the clip is padded to
    torch.testing.assert_close(outputs(model, clips(200, 100))[0], masked)


def test_the_penalty_is_of_the_head():
    model = make_model(nlayers_rnn=0)
    model.l2 = 2.0
    weights = model.projection.weight, model.charlin[0].weight
    expected = 2 * sum(w.detach().square().sum() for w in weights)
    assert model.penalty().detach() == pytest.approx(expected)


BAD = {
    "layers": ({"layers": (4,)}, "layers must be in 0..3, found"),
    "no layer": ({"layers": ()}, "layers must be in 0..3, found"),
    "order": ({"layers": (2, 1)}, "layers must increase"),
    "stack": ({"frame_stack": 0}, "frame_stack must be a whole number of at least 1"),
    "recurrent": ({"nlayers_rnn": -1}, "nlayers_rnn must be a whole number of at least 0"),
    "cell": ({"cell_type": "RNN"}, "cell_type must be GRU or LSTM"),
}


@pytest.mark.parametrize("kind", BAD)
def test_impossible_sizes_are_refused(kind):
    changes, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        make_architecture(**changes)


def make_file(**changes) -> ModelFile:
    model = make_model(**changes)
    weights = model.state_dict()
    weights |= {n: w.half() for n, w in weights.items() if n.startswith("encoder.")}
    return ModelFile(
        state_dict=weights,
        architecture=model.architecture,
        features=WhisperFeatures(),
        normalization=None,
        charmap=CharMap(),
        origin={"encoder": {"folder": "tiny", "license": "mit"}},
    )


@pytest.mark.few(2)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_file_gives_the_model_back(tmp_path, shape):
    """The encoder's weights, which are of half precision here, too."""
    save_model(tmp_path / "a.pt", make_file(**shape))
    file = load_model(tmp_path / "a.pt")
    model = file.build_model()
    assert file.architecture == make_architecture(**shape)
    assert file.features == WhisperFeatures() and file.normalization is None
    assert all(w.dtype == torch.float32 for w in model.parameters())
    inputs = clips(*LENGTHS)
    for ours, theirs in zip(
        outputs(model, inputs), outputs(make_model(**shape), inputs), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_padded_model_of_an_earlier_version_hears_what_it_heard(tmp_path):
    """Its file has features of clips with reflected ends, where new models have padded ones."""
    padded = replace(make_encoder().settings, padded=True)
    for features in (WhisperFeatures(), WhisperFeatures(padded_to=3000)):
        file = replace(
            make_file(), features=features, architecture=make_architecture(encoder=padded)
        )
        save_model(tmp_path / "a.pt", file)
        assert load_model(tmp_path / "a.pt").features == features


CONTRADICTIONS = {
    "padded features": ({"features": WhisperFeatures(padded_to=3000)}, "not those of its encoder"),
    "other features": ({"features": WhisperFeatures(nmels=81)}, "not those of its encoder"),
    "normalised": ({"normalization": (1.0, 2.0)}, "do not belong together"),
    "log-mel": (
        {"features": FeatureSettings(rate=16_000, win_length=0.025, win_step=0.01, nmels=80)},
        "do not belong together",
    ),
    "sizes": ({"architecture": make_architecture(projection=13)}, r"needed \(13, 32\)"),
    "layers": ({"architecture": make_architecture(nlayers_rnn=2)}, "tensors missing or unknown"),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_files_that_contradict_themselves_are_refused(tmp_path, kind):
    changes, message = CONTRADICTIONS[kind]
    save_model(tmp_path / "a.pt", replace(make_file(), **changes))
    with pytest.raises(UserError, match=f"not a model of this program: .*{message}"):
        load_model(tmp_path / "a.pt")


def test_a_file_with_an_unknown_encoder_is_refused(tmp_path):
    save_model(tmp_path / "a.pt", make_file())
    content = torch.load(tmp_path / "a.pt")
    content["architecture"]["encoder"]["kind"] = "bark"
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match="an encoder of unknown kind: 'bark'"):
        load_model(tmp_path / "a.pt")
