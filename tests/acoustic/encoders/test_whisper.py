"""Whisper's encoder: the numbers of transformers, lengths, places, windows, and bad folders."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence, unpack_sequence

from asr_ctc.acoustic.encoders.folder import read_encoder
from asr_ctc.acoustic.encoders.safetensors_file import read_safetensors
from asr_ctc.acoustic.encoders.whisper import WhisperEncoder
from asr_ctc.base.errors import UserError
from tests.helpers.whisper_folder import (
    CONFIG,
    make_encoder,
    make_whisper_folder,
    whisper_base,
)


def mel(n_frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n_frames, 80, generator=torch.Generator().manual_seed(seed))


def packed(*clips: torch.Tensor) -> PackedSequence:
    return pack_sequence(list(clips), enforce_sorted=False)


def frames_of(encoder: WhisperEncoder, *clips: torch.Tensor, **options) -> list[torch.Tensor]:
    with torch.inference_mode():
        return unpack_sequence(encoder(packed(*clips), **options))


def noise(n_samples: int) -> torch.Tensor:
    return torch.randn(n_samples, generator=torch.Generator().manual_seed(n_samples))


def transformers_encoder(encoder: WhisperEncoder, config: dict):
    """That of transformers, with the weights of ``encoder``."""
    transformers = pytest.importorskip("transformers")
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as Theirs

    sizes = {k: v for k, v in config.items() if k not in ("model_type", "torch_dtype")}
    theirs = Theirs(transformers.WhisperConfig(**sizes)).eval()
    theirs.load_state_dict(encoder.state_dict())
    return theirs


def padded_encoder(encoder: WhisperEncoder) -> WhisperEncoder:
    other = WhisperEncoder(replace(encoder.settings, padded=True)).eval()
    other.load_state_dict(encoder.state_dict())
    return other


def test_a_padded_clip_costs_whole_windows():
    durations_s = np.array([0.5, 30, 30.01, 75], np.float32)
    encoder = make_encoder()
    window_s = encoder.settings.n_positions / 50
    expected = window_s * np.ceil(durations_s / window_s)
    assert encoder.computed_s(durations_s) is durations_s
    assert padded_encoder(encoder).computed_s(durations_s).tolist() == expected.tolist()


def test_every_layer_is_that_of_transformers():
    encoder = make_encoder()
    spectrogram = mel(3000)
    with torch.inference_mode():
        expected = transformers_encoder(encoder, CONFIG)(
            spectrogram.T[None], output_hidden_states=True
        ).hidden_states
    for layer in range(4):
        (ours,) = frames_of(encoder, spectrogram, layers=[layer])
        assert torch.allclose(ours, expected[layer][0], atol=2e-5)


def assert_padded_is_transformers(encoder: WhisperEncoder, theirs, atol: float) -> None:
    """From samples on, two clips in a batch: every frame is that of transformers' padded clip."""
    transformers = pytest.importorskip("transformers")
    clips = [level * noise(n) for level, n in ((0.1, 48_123), (0.01, 67_200))]
    analyse = encoder.features.analyser()
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    frames = frames_of(encoder, *map(analyse, clips))
    for clip, ours in zip(clips, frames, strict=True):
        padded = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
        with torch.inference_mode():
            expected = theirs(padded).last_hidden_state[0]
        assert len(ours) == encoder.output_lengths(encoder.features.n_frames(len(clip)))
        assert len(ours) >= len(clip) / 320
        assert torch.allclose(ours, expected[: len(ours)], atol=atol)


@pytest.mark.slow
def test_padded_clips_are_those_of_transformers():
    encoder = padded_encoder(make_encoder())
    assert_padded_is_transformers(encoder, transformers_encoder(encoder, CONFIG), atol=2e-5)


@pytest.mark.slow
def test_padded_clips_of_real_weights_are_those_of_transformers():
    """Values are up to 24 large, and the weights in half precision."""
    folder = whisper_base()
    pretrained = read_encoder(str(folder), padded=True)
    encoder = WhisperEncoder(pretrained.settings).eval()
    encoder.load_state_dict(pretrained.state_dict)
    config = json.loads((folder / "config.json").read_text())
    assert_padded_is_transformers(encoder, transformers_encoder(encoder, config), atol=1e-3)


@pytest.mark.parametrize("padded", [False, True])
def test_a_clip_does_not_depend_on_its_batch(padded):
    encoder = padded_encoder(make_encoder()) if padded else make_encoder()
    clips = [mel(n, seed=n) for n in (31, 8, 1, 54)]
    for clip, in_batch in zip(clips, frames_of(encoder, *clips), strict=True):
        (alone,) = frames_of(encoder, clip)
        assert len(alone) == int(encoder.output_lengths(torch.tensor(len(clip))))
        assert torch.allclose(in_batch, alone, atol=1e-5)


def test_layers_go_on_from_the_frames_of_one_below():
    encoder = make_encoder()
    clips = mel(40), mel(22, seed=1)
    first, *_ = frames_of(encoder, *clips, layers=[1])
    n_frames = torch.tensor([len(first)])
    with torch.inference_mode():
        above = encoder.frames_above(first[None], n_frames, first=1, layers=[1, 2, 3])
    joined = frames_of(encoder, *clips, layers=[1, 2, 3])[0]
    assert torch.allclose(above[0], joined, atol=1e-5)
    assert above.shape == (1, 20, 3 * 16)


def test_frames_are_where_output_centres_says():
    """The front's response to a change of feature t is centred on the frame of t."""
    encoder = make_encoder()
    stride, offset = encoder.output_centres
    silence, n_inputs = torch.zeros(1, 64, 80), torch.tensor([64])
    for at in (20, 34):
        changed = silence.clone()
        changed[0, at] = 1.0
        with torch.inference_mode():
            difference = encoder.front(changed, n_inputs) - encoder.front(silence, n_inputs)
        touched = difference[0].abs().amax(1).nonzero()[:, 0]
        centre = float(touched.float().mean())
        assert stride * centre + offset == pytest.approx(at)


def test_a_clip_longer_than_a_window_is_encoded_in_windows():
    encoder = make_encoder()
    small = WhisperEncoder(replace(encoder.settings, n_positions=10)).eval()
    weights = encoder.state_dict()
    weights["embed_positions.weight"] = weights["embed_positions.weight"][:10]
    small.load_state_dict(weights)
    clip = mel(50)
    (whole,) = frames_of(small, clip)
    assert len(whole) == 25
    changed = clip.clone()
    changed[45:] += 1.0
    (other,) = frames_of(small, changed)
    same = (whole - other).abs().amax(1) < 1e-6
    assert same[:20].all() and not same[20:].any()


def test_parts_hold_every_parameter_once():
    encoder = make_encoder()
    parts = encoder.parts()
    assert list(parts) == ["front", "layer 1", "layer 2", "layer 3"]
    held = [id(p) for modules in parts.values() for m in modules for p in m.parameters()]
    assert sorted(held) == sorted(id(p) for p in encoder.parameters())


def test_a_folder_gives_its_encoder(tmp_path):
    pretrained = read_encoder(str(make_whisper_folder(tmp_path / "tiny")))
    encoder = make_encoder()
    assert pretrained.settings == encoder.settings
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(pretrained.state_dict[name], tensor)
    assert pretrained.source == {"folder": "tiny", "license": "mit"}


def test_a_folder_without_a_licence_says_so(tmp_path):
    folder = make_whisper_folder(tmp_path)
    (folder / "README.md").unlink()
    assert read_encoder(str(folder)).source["license"] == "not stated in the folder"


def test_safetensors_are_as_their_own_library_writes_them(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    tensors = {
        "a.x": torch.arange(6.0).view(2, 3),
        "a.y": torch.tensor(3, dtype=torch.int64),
        "a.empty": torch.zeros(0, 4),
        "a.half": torch.ones(5).bfloat16(),
        "b.z": torch.ones(2),
    }
    safetensors.save_file(tensors, tmp_path / "file")
    found = read_safetensors(tmp_path / "file", ("a.",))
    assert found.keys() == {"x", "y", "empty", "half"}
    for name, tensor in found.items():
        assert (
            torch.equal(tensor, tensors[f"a.{name}"]) and tensor.dtype == tensors[f"a.{name}"].dtype
        )


def damage(folder, change) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


BAD_CONFIGS = {
    "wav2vec2": (lambda c: c.update(model_type="wav2vec2"), "no num_hidden_layers"),
    "no kind": (lambda c: c.pop("model_type"), "model_type None; known are"),
    "no size": (lambda c: c.pop("d_model"), "'d_model' is missing"),
    "text": (lambda c: c.update(d_model="16"), "size must be a whole number in 1..65536"),
    "absurd": (lambda c: c.update(encoder_ffn_dim=10**12), "n_hidden must be a whole number in"),
    "deep": (lambda c: c.update(encoder_layers=1001), "n_layers must be at most 1000, found 1001"),
    "heads": (lambda c: c.update(encoder_attention_heads=3), "3 heads cannot share 16 numbers"),
    "relu": (lambda c: c.update(activation_function="relu"), "only Whisper's own activation"),
    "layers": (
        lambda c: c.update(encoder_layers=4),
        "another architecture: missing layers.3.fc1.bias, layers.3.fc1.weight, ",
    ),
}


@pytest.mark.parametrize("kind", BAD_CONFIGS)
def test_bad_configurations_are_refused(tmp_path, kind):
    change, message = BAD_CONFIGS[kind]
    folder = make_whisper_folder(tmp_path)
    damage(folder, change)
    with pytest.raises(UserError, match=message):
        read_encoder(str(folder))


def test_missing_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="--encoder: no folder .*none"):
        read_encoder(str(tmp_path / "none"))
    folder = make_whisper_folder(tmp_path / "a")
    (folder / "config.json").write_text("[1]")
    with pytest.raises(UserError, match="config.json: holds a list; needed an object"):
        read_encoder(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json: not JSON"):
        read_encoder(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match="no config.json"):
        read_encoder(str(folder))
    folder = make_whisper_folder(tmp_path / "b")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="model.safetensors: cannot be read .No such file"):
        read_encoder(str(folder))


def test_damaged_weights_are_refused(tmp_path):
    folder = make_whisper_folder(tmp_path)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    n_header = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + n_header])

    def with_header(change) -> bytes:
        changed = json.loads(json.dumps(header))
        change(changed["model.encoder.conv1.bias"])
        text = json.dumps(changed).encode()
        return len(text).to_bytes(8, "little") + text + whole[8 + n_header :]

    contents = {
        b"": "its header is longer than the file",
        whole[:5]: "its header is longer than the file",
        whole[:100]: "its header is longer than the file",
        whole[:-50]: "truncated",
        b"\xff" * 100: "its header is longer than the file",
        (3).to_bytes(8, "little") + b"[1]" + bytes(9): "has no attribute 'items'",
        with_header(lambda about: about.update(dtype="F7")): "'F7'",
        with_header(lambda about: about.update(shape=[-1, -16])): "impossible sizes",
        with_header(lambda about: about.update(shape=[10**9])): "is truncated",
        with_header(lambda about: about.pop("shape")): "'shape'",
        with_header(lambda about: about.update(shape=[0, 2**80], data_offsets=[0, 0])): "damaged",
        with_header(lambda about: about.update(shape=[2**9], data_offsets=[0, 2**10])): "shares",
    }
    for content, message in contents.items():
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_encoder(str(folder))
    start, end = header["model.encoder.conv1.bias"]["data_offsets"]
    broken = bytearray(whole)
    broken[8 + n_header + start : 8 + n_header + end] = b"\xff" * (end - start)
    path.write_bytes(broken)
    with pytest.raises(UserError, match="conv1.bias holds numbers that are not finite"):
        read_encoder(str(folder))
