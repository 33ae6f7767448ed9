"""torchaudio's bundles: the same numbers, from the same files, whatever a clip is batched with."""

import inspect
import urllib.error

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from asr_ctc.acoustic.encoders import torchaudio_bundles
from asr_ctc.acoustic.encoders.catalogue import BUNDLES as PUBLISHED
from asr_ctc.acoustic.encoders.published import open_encoder, open_pretrained
from asr_ctc.acoustic.encoders.torchaudio_bundles import BundleEncoder, load_bundle
from asr_ctc.base.errors import UserError
from tests.helpers.published import BUNDLES, clips, make_bundle

pytest.importorskip("torchaudio")


def frames_of(encoder, waveforms):
    """Frames (B, T', D) of waveforms in one batch, and their lengths."""
    with torch.no_grad():
        packed = encoder(pack_sequence(waveforms, enforce_sorted=False))
    return pad_packed_sequence(packed, batch_first=True)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", BUNDLES)
def test_frames_are_torchaudios_alone_and_in_a_batch(name, tmp_path, monkeypatch):
    theirs = make_bundle(monkeypatch, tmp_path, name)
    encoder, head = load_bundle(name)
    head = head or torch.nn.Identity()
    waveforms = clips(9001, 6300, 401)
    together, lengths = frames_of(encoder, waveforms)
    for number, waveform in enumerate(waveforms):
        with torch.no_grad():
            expected, _ = theirs(waveform[None])
            alone = head(frames_of(encoder, [waveform])[0])
            batched = head(together[number, : lengths[number]])
        assert expected.std() > 0.1
        torch.testing.assert_close(alone, expected, atol=3e-6, rtol=0)
        torch.testing.assert_close(batched, expected[0], atol=3e-6, rtol=0)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", BUNDLES)
def test_an_encoder_is_built_again_from_its_settings(name, tmp_path, monkeypatch):
    make_bundle(monkeypatch, tmp_path, name)
    encoder, _ = load_bundle(name)
    again = BundleEncoder(encoder.settings).eval()
    again.load_state_dict(encoder.state_dict())
    waveforms = clips(8000, 5000)
    torch.testing.assert_close(frames_of(again, waveforms), frames_of(encoder, waveforms))
    of_parts = [p for modules in encoder.parts().values() for m in modules for p in m.parameters()]
    assert len(of_parts) == len(set(map(id, of_parts)))
    assert {*map(id, of_parts)} == {*map(id, encoder.parameters())}


def test_the_labels_are_torchaudios(tmp_path, monkeypatch):
    theirs = make_bundle(monkeypatch, tmp_path, "WAV2VEC2_ASR_BASE_960H")
    file = open_pretrained("WAV2VEC2_ASR_BASE_960H")
    labels = torchaudio_bundles.find_bundle("WAV2VEC2_ASR_BASE_960H").get_labels()
    assert file.charmap.symbols == ("¬", " ", *labels[2:])
    assert file.charmap.decode(file.charmap.encode("it’s so")) == "IT'S SO"
    (waveform,) = clips(16_000)
    with torch.no_grad():
        ours = file.build_model()(pack_sequence([waveform])).data
        torch.testing.assert_close(ours, theirs(waveform[None])[0][0], atol=3e-6, rtol=0)


def test_the_catalogue_is_that_of_torchaudio():
    bundles = torchaudio_bundles.bundles()
    assert {model.name for model in PUBLISHED} == set(bundles)
    for model in PUBLISHED:
        bundle = bundles[model.name]
        assert model.transcribes == (torchaudio_bundles.labels_of(bundle) is not None)
        assert bundle.sample_rate == 16_000
        assert model.licence.split()[0] in inspect.getdoc(bundle).replace("CC-BY", "CC BY")


@pytest.mark.slow
def test_the_sizes_of_the_catalogue_are_those_of_the_models():
    for model in PUBLISHED:
        with torch.device("meta"):
            n = sum(p.numel() for p in torchaudio_bundles.build_model(model.name).parameters())
        assert abs(n / 1e6 - model.size_m) < 1, model.name


def test_an_unknown_name_offers_similar_ones():
    with pytest.raises(UserError, match="WAV2VEC2_BAES: .*similar: WAV2VEC2_BASE"):
        open_encoder("WAV2VEC2_BAES")
    with pytest.raises(UserError, match="similar: HUBERT_BASE"):
        open_encoder("hubert_base")
    with pytest.raises(UserError, match="whisper-base: .*similar: openai/whisper-base"):
        open_encoder("whisper-base")
    with pytest.raises(UserError, match="`pretrained list` shows the names"):
        open_encoder("qqqq")
    with pytest.raises(UserError, match="WAV2VEC2_BAES: .*similar: WAV2VEC2_BASE"):
        torchaudio_bundles.find_bundle("WAV2VEC2_BAES")  # of a model file


def test_a_bundle_without_a_head_names_one_that_transcribes():
    with pytest.raises(UserError, match="WAV2VEC2_BASE: has no CTC head.*WAV2VEC2_ASR_BASE_"):
        open_pretrained("WAV2VEC2_BASE")


def test_no_network_says_which_file_and_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def fail(*args, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(UserError) as caught:
        load_bundle("HUBERT_BASE")
    message, file = str(caught.value), "hubert_fairseq_base_ls960.pth"
    assert "no route to host" in message and "\n" not in message
    assert f"https://download.pytorch.org/torchaudio/models/{file}" in message
    assert str(tmp_path / "hub" / "checkpoints" / file) in message
    assert "--encoder_weights" in message


def test_weights_of_another_architecture_are_refused_by_name(tmp_path, monkeypatch):
    make_bundle(monkeypatch, tmp_path, "WAV2VEC2_BASE")
    make_bundle(monkeypatch, tmp_path, "WAVLM_BASE_PLUS")
    of_wavlm = torchaudio_bundles.cached_file(torchaudio_bundles.find_bundle("WAVLM_BASE_PLUS"))
    with pytest.raises(UserError, match=r"another architecture: missing encoder.*; unknown enc"):
        load_bundle("WAV2VEC2_BASE", of_wavlm)
    state = torch.load(of_wavlm)
    state["encoder.feature_projection.projection.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"projection.bias is \(7,\), needed \(64,\)"):
        load_bundle("WAVLM_BASE_PLUS", tmp_path / "other.pth")


class Boom:
    def __reduce__(self):
        return print, ("this code ran",)


@pytest.mark.parametrize("content", ["code", "text", "list", "absent", "folder"])
def test_files_that_are_no_weights(content, tmp_path, capsys):
    file = tmp_path / "weights.pth"
    if content == "code":
        torch.save({"aux": Boom()}, file)
    elif content == "text":
        file.write_text("not weights")
    elif content == "list":
        torch.save([torch.zeros(2)], file)
    elif content == "folder":
        file.mkdir()
    with pytest.raises(UserError, match=r"weights\.pth") as caught:
        load_bundle("WAV2VEC2_BASE", file)
    assert "\n" not in str(caught.value)
    assert "this code ran" not in capsys.readouterr().out


def test_a_clip_shorter_than_the_receptive_field(tmp_path, monkeypatch):
    make_bundle(monkeypatch, tmp_path, "WAV2VEC2_BASE")
    encoder, _ = load_bundle("WAV2VEC2_BASE")
    assert encoder.min_input == encoder.features.min_samples == 400
    assert frames_of(encoder, clips(400))[1].tolist() == [1]
    with pytest.raises(ValueError, match="399 inputs; needed 400"):
        frames_of(encoder, clips(800, 399))
