"""Folders of the Hugging Face kind: the same numbers as transformers', and every bad folder."""

import json
import math
import shutil
import sys
import zipfile

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from asr_ctc.acoustic.encoders import huggingface
from asr_ctc.acoustic.encoders.catalogue import HUB
from asr_ctc.acoustic.encoders.folder import read_encoder
from asr_ctc.acoustic.encoders.huggingface import (
    FolderEncoder,
    FolderSettings,
    load_folder,
    read_folder,
)
from asr_ctc.acoustic.encoders.published import open_encoder, open_pretrained
from asr_ctc.acoustic.encoders.weight_files import read_state_dict
from asr_ctc.acoustic.encoders.whisper import WhisperEncoder, WhisperSettings
from asr_ctc.base.errors import UserError
from tests.helpers.published import FOLDERS, LETTERS, VOCAB, clips, make_folder
from tests.helpers.whisper_folder import make_whisper_folder

transformers = pytest.importorskip("transformers")
# Even numbers of mel frames: see test_an_odd_mel_frame_is_no_frame.
LENGTHS = 9201, 6321, 4080


def frames_of(encoder, waveforms):
    """Frames (B, T', D) of waveforms in one batch, and their lengths."""
    analyse = encoder.features.analyser()
    with torch.no_grad():
        packed = encoder(pack_sequence([analyse(w) for w in waveforms], enforce_sorted=False))
    return pad_packed_sequence(packed, batch_first=True)


def logits_of(model, extractor, waveform):
    """What transformers itself makes of a clip alone: (T', V)."""
    inputs = extractor(waveform.numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits[0]


@pytest.mark.few(3)
@pytest.mark.parametrize("kind", FOLDERS)
def test_logits_are_those_of_transformers_alone_and_in_a_batch(kind, tmp_path):
    model, extractor = make_folder(tmp_path, kind)
    encoder, head = load_folder(read_folder(tmp_path), head=True)
    waveforms = clips(*LENGTHS)
    together, lengths = frames_of(encoder, waveforms)
    for number, waveform in enumerate(waveforms):
        expected = logits_of(model, extractor, waveform)
        assert expected.std() > 0.05
        with torch.no_grad():
            alone = head(frames_of(encoder, [waveform])[0][0])
            batched = head(together[number, : lengths[number]])
        torch.testing.assert_close(alone, expected, atol=3e-6, rtol=1e-6)
        torch.testing.assert_close(batched, expected, atol=3e-6, rtol=1e-6)


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", FOLDERS)
def test_an_encoder_is_built_again_from_its_settings(kind, tmp_path):
    make_folder(tmp_path, kind, head=False)
    encoder, _ = load_folder(read_folder(tmp_path), head=False)
    assert encoder.settings.n_layers == encoder.n_layers == 2
    again = FolderEncoder(encoder.settings).eval()
    again.load_state_dict(encoder.state_dict())
    waveforms = clips(8000, 5000)
    torch.testing.assert_close(frames_of(again, waveforms), frames_of(encoder, waveforms))
    of_parts = [p for modules in encoder.parts().values() for m in modules for p in m.parameters()]
    own = [p for name, p in encoder.named_parameters() if "masked_spec_embed" not in name]
    assert len(of_parts) == len(set(map(id, of_parts)))
    assert {*map(id, of_parts)} == {*map(id, own)}


def test_an_odd_mel_frame_is_no_frame(tmp_path):
    """transformers pads an odd number of mel frames with one more, and then masks the pair; its
    last logits, of half a frame of sound, have no counterpart here, and the others are equal."""
    model, extractor = make_folder(tmp_path, "w2v-bert")
    encoder, head = load_folder(read_folder(tmp_path), head=True)
    (waveform,) = clips(6240)  # 37 mel frames
    expected = logits_of(model, extractor, waveform)
    frames, lengths = frames_of(encoder, [waveform])
    assert lengths.tolist() == [len(expected) - 1] == [18]
    with torch.no_grad():
        torch.testing.assert_close(head(frames[0]), expected[:-1], atol=3e-6, rtol=1e-6)


@pytest.mark.slow
def test_lengths_are_those_of_transformers(tmp_path):
    for kind in ("wav2vec2 base", "wav2vec2 subsampling"):
        folder = tmp_path / kind
        folder.mkdir()
        model, _ = make_folder(folder, kind)
        encoder, _ = load_folder(read_folder(folder), head=True)
        for n_samples in (400, 719, 720, 5000, 16_001):
            theirs = model._get_feat_extract_output_lengths(n_samples)
            assert encoder.output_lengths(n_samples) == int(theirs)


def test_a_fine_tuned_folder_gives_its_encoder_without_subsampling(tmp_path):
    make_folder(tmp_path, "w2v-bert subsampling")
    encoder, assumed = open_encoder(str(tmp_path))
    assert (encoder.adapter, assumed) == (None, "")
    assert FolderEncoder(encoder.settings).state_dict().keys() == encoder.state_dict().keys()
    frames, lengths = frames_of(encoder, clips(16_000))
    assert frames.shape == (1, 49, 32) and lengths.tolist() == [49]


def test_centres_are_those_of_what_a_frame_sees(tmp_path):
    make_folder(tmp_path, "wav2vec2 base", head=False)
    encoder, _ = load_folder(read_folder(tmp_path), head=False)
    assert encoder.output_centres == (320, 199.5)
    folder = tmp_path / "mels"
    folder.mkdir()
    make_folder(folder, "w2v-bert subsampling")
    encoder, _ = load_folder(read_folder(folder), head=True)
    stride, offset = encoder.output_centres
    hop = encoder.features.hop
    # Two layers of kernel 3, stride 2, padding 1: frame i is centred on pair 4 · i, and the first
    # pair on the middle of samples 0 to 559.
    assert (stride * hop, offset * hop) == (4 * 320, 279.5)


# ------------------------------------------------------------------------------ what folders hold


def text_of(folder, waveform):
    """The text that our greedy decoding and that of transformers write for a clip."""
    from asr_ctc.recognition.recognizer import Recognizer

    file = open_pretrained(str(folder))
    return Recognizer(file, "cpu").transcribe(waveform, rate=16_000).text


@pytest.mark.slow
def test_the_text_is_that_of_transformers_tokenizer(tmp_path):
    model, extractor = make_folder(tmp_path)
    with torch.no_grad():  # centred and scaled: more than one letter for the whole clip
        (waveform,) = clips(48_000)
        logits = logits_of(model, extractor, waveform)
        kept = [VOCAB[label] for label in VOCAB if len(label) == 1] + [VOCAB["[PAD]"]]
        model.lm_head.bias[kept] -= logits[:, kept].mean(0)
        scale = 1 / logits[:, kept].std(0)
        model.lm_head.bias[kept] *= scale
        model.lm_head.weight[kept] *= scale[:, None]
    model.save_pretrained(tmp_path)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    expected = tokenizer.decode(logits_of(model, extractor, waveform).argmax(-1))
    assert len(set(expected)) > 8 and " " in expected
    assert text_of(tmp_path, waveform) == " ".join(expected.split(" ")).strip()


def test_labels_are_permuted_with_their_classes(tmp_path):
    make_folder(tmp_path)
    file = open_pretrained(str(tmp_path))
    assert file.charmap.symbols == ("¬", " ", *LETTERS)
    assert file.model.head.out_features == len(VOCAB) - 3  # <s>, </s>, [UNK] have no class
    head = load_folder(read_folder(tmp_path), head=True)[1]
    for label in "aéz'":
        ours = file.model.head.weight[file.charmap.char2idx[label]]
        assert torch.equal(ours, head.weight[VOCAB[label]])
    assert torch.equal(file.model.head.bias[0], head.bias[VOCAB["[PAD]"]])


def test_config_and_weights_alone_load(tmp_path):
    make_folder(tmp_path, head=False)
    (tmp_path / "preprocessor_config.json").unlink()
    _, assumed = open_encoder(str(tmp_path))
    assert "no preprocessor_config.json" in assumed and "\n" not in assumed


def test_normalisation_is_that_of_the_preprocessor(tmp_path):
    model, _ = make_folder(tmp_path)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False)
    extractor.save_pretrained(tmp_path)
    encoder, head = load_folder(read_folder(tmp_path), head=True)
    (waveform,) = clips(9000)
    with torch.no_grad():
        ours = head(frames_of(encoder, [waveform])[0][0])
    torch.testing.assert_close(ours, logits_of(model, extractor, waveform), atol=3e-6, rtol=1e-6)


def test_transformers_5_writes_one_file_for_features_and_tokens(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "preprocessor_config.json").rename(tmp_path / "other.json")
    features = json.loads((tmp_path / "other.json").read_text())
    features["do_normalize"] = False
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": features}))
    encoder, _ = load_folder(read_folder(tmp_path), head=True)
    assert not encoder.normalize


# -------------------------------------------------------------------------- adapters of MMS


@pytest.fixture
def mms(tmp_path):
    """An MMS folder of two languages, of which one has an adapter; (folder, its adapter)."""
    from safetensors.torch import save_file

    model, extractor = make_folder(tmp_path, "mms")
    vocab = {"eng": VOCAB, "fra": {"<pad>": 0, "|": 1, "à": 2, "b": 3}, "deu": VOCAB}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), "utf-8")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    adapter = {name: torch.randn_like(w) for name, w in model._get_adapters().items()}
    adapter["lm_head.weight"], adapter["lm_head.bias"] = torch.randn(4, 32), torch.randn(4)
    save_file(adapter, tmp_path / "adapter.fra.safetensors")
    return tmp_path, extractor


def test_an_adapter_brings_its_layers_labels_and_head(mms):
    folder, extractor = mms
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(folder)
    theirs.load_adapter("fra")
    file = open_pretrained(str(folder), language="fra")
    assert file.charmap.symbols == ("¬", " ", "à", "b")
    (waveform,) = clips(8000)
    with torch.no_grad():
        ours = file.build_model()(pack_sequence([waveform])).data
    expected = logits_of(theirs.eval(), extractor, waveform)
    torch.testing.assert_close(ours, expected, atol=3e-6, rtol=1e-6)


def test_adapters_that_are_not_there(mms, tmp_path_factory):
    folder, _ = mms
    with pytest.raises(UserError, match="name one with --adapter, such as fra"):
        open_pretrained(str(folder))
    with pytest.raises(UserError, match="--adapter frn: .*similar: fra"):
        open_pretrained(str(folder), language="frn")
    with pytest.raises(UserError, match=r"no adapter\.deu\.safetensors"):
        open_pretrained(str(folder), language="deu")
    plain = tmp_path_factory.mktemp("plain")
    make_folder(plain)
    with pytest.raises(UserError, match="--adapter fra: .* has no adapters"):
        open_pretrained(str(plain), language="fra")


# ------------------------------------------------------------------------------------ bad folders


def damage(folder, what):  # noqa: C901  # a case each
    """Makes a good folder bad."""
    config = json.loads((folder / "config.json").read_text())
    if what == "no config":
        (folder / "config.json").unlink()
    elif what == "no weights":
        (folder / "model.safetensors").unlink()
    elif what == "no tokenizer":
        (folder / "vocab.json").unlink()
    elif what == "not JSON":
        (folder / "config.json").write_text('{"model_type": ')
    elif what == "a list":
        (folder / "config.json").write_text("[1]")
    elif what == "another kind":
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    elif what == "impossible sizes":
        (folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 5}))
    elif what == "more layers":
        (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    elif what == "truncated":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif what == "pickled code":
        (folder / "model.safetensors").unlink()
        torch.save({"wav2vec2": Boom()}, folder / "pytorch_model.bin")
    elif what == "no blank":
        (folder / "vocab.json").write_text(json.dumps({"a": 0, "b": 1}))
    elif what == "two labels of a class":
        (folder / "vocab.json").write_text(json.dumps({**VOCAB, "a": 2}))
    elif what == "more labels":
        (folder / "vocab.json").write_text(json.dumps({**VOCAB, "ñ": 99}))
    elif what == "labels that are none":
        (folder / "vocab.json").write_text(json.dumps({**VOCAB, "a": "one"}))


class Boom:
    def __reduce__(self):
        return print, ("this code ran",)


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("what", "message"),
    {
        "no config": "no config.json",
        "no weights": r"put model\.safetensors beside",
        "no tokenizer": r"no vocab\.json, which says what the 36 classes",
        "not JSON": r"config\.json: not JSON",
        "a list": "holds a list; needed an object",
        "another kind": "model_type 'bert'; known are data2vec-audio",
        "impossible sizes": r"config\.json makes no model|cannot be loaded",
        "more layers": r"another architecture: missing wav2vec2\.encoder\.layers\.2.* and 13 more",
        "truncated": "cannot be loaded",
        "pickled code": r"pytorch_model\.bin: holds pickled code.*nothing in it was run",
        "no blank": r"no class for \[PAD\], the blank",
        "two labels of a class": "is class 2; needed one of its own",
        "more labels": "'ñ' is class 99; the head has 36",
        "labels that are none": "'a' is class 'one'",
    }.items(),
)
def test_bad_folders(what, message, tmp_path, capsys):
    make_folder(tmp_path)
    damage(tmp_path, what)
    with pytest.raises(UserError, match=message) as caught:
        open_pretrained(str(tmp_path))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    assert "this code ran" not in capsys.readouterr().out


def test_weights_only_pickles_load(tmp_path):
    model, extractor = make_folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    encoder, head = load_folder(read_folder(tmp_path), head=True)
    (waveform,) = clips(5000)
    with torch.no_grad():
        ours = head(frames_of(encoder, [waveform])[0][0])
    torch.testing.assert_close(ours, logits_of(model, extractor, waveform), atol=3e-6, rtol=1e-6)


def test_remote_code_is_never_run(tmp_path):
    make_folder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCTC": "evil.Model", "AutoConfig": "evil.Config"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("raise SystemExit('this code ran')")
    assert open_pretrained(str(tmp_path)).charmap.vocab_size == len(VOCAB) - 3


def test_a_folder_without_a_head_is_to_be_fine_tuned(tmp_path):
    make_folder(tmp_path, head=False)
    with pytest.raises(UserError, match="has no CTC head: it is to be fine-tuned"):
        open_pretrained(str(tmp_path))


def test_weights_of_other_sizes_and_truncated_ones_are_named(tmp_path):
    make_folder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 72}))
    with pytest.raises(UserError, match=r"architecture: .*dense.bias is \(\d+,\), needed \(72"):
        open_pretrained(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": "abc"}))
    with pytest.raises(UserError, match="field 'hidden_size': [^\n]+"):
        open_pretrained(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged or truncated, fetch them again"):
        open_encoder(str(tmp_path))


def test_what_is_no_folder_of_a_model_is_said(tmp_path):
    (tmp_path / "best_model.pt").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"is a model file: `test --modelpath` and `train --resume"):
        open_pretrained(str(tmp_path / "best_model.pt"))
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(UserError, match=r"config\.json is a file: name the folder that holds"):
        open_encoder(str(tmp_path / "config.json"))
    with pytest.raises(UserError, match=r"Whisper has no CTC head.*`train --encoder "):
        open_pretrained(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match="'llama'; known are .*wavlm, whisper"):
        open_encoder(str(tmp_path))


def test_without_transformers_it_says_what_to_install(tmp_path, monkeypatch):
    make_folder(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"need transformers.*pip install '.\[pretrained\]'"):
        open_pretrained(str(tmp_path))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one name, and an empty cache: a function that puts files on the hub."""
    from fnmatch import fnmatch

    module = pytest.importorskip("huggingface_hub")
    served, cache = tmp_path / "served", tmp_path / "cache"
    served.mkdir()

    def download(name, *, allow_patterns, local_files_only=False):
        if local_files_only and not cache.exists():
            raise OSError("not in the cache")
        cache.mkdir(exist_ok=True)
        for file in served.iterdir() if not local_files_only else ():
            if any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copy(file, cache)
        return str(cache)

    monkeypatch.setattr(module, "snapshot_download", download)
    return served, cache


def test_one_adapter_of_a_thousand_is_fetched(hub):
    served, cache = hub
    make_folder(served, "mms")
    for language in ("fra", "deu"):
        (served / f"adapter.{language}.safetensors").write_bytes(b"")
        (served / f"adapter.{language}.bin").write_bytes(b"")
    huggingface.fetch("some/mms", "fra")
    assert {f.name for f in cache.glob("adapter.*")} == {"adapter.fra.safetensors"}
    huggingface.fetch("some/mms", "deu")  # what is there lacks it
    assert (cache / "adapter.deu.safetensors").exists()


def test_pickled_weights_are_fetched_where_there_are_no_others(hub):
    served, cache = hub
    model, _ = make_folder(served)
    torch.save(model.state_dict(), served / "pytorch_model.bin")
    open_encoder("some/model")
    assert not (cache / "pytorch_model.bin").exists()
    shutil.rmtree(cache)
    (served / "model.safetensors").unlink()
    encoder, _ = open_encoder("some/model")
    assert torch.equal(
        encoder.state_dict()["model.encoder.layer_norm.bias"],
        model.state_dict()["wav2vec2.encoder.layer_norm.bias"],
    )


def test_a_folder_of_which_a_part_was_fetched_is_fetched_whole(hub):
    served, cache = hub
    make_folder(served)
    cache.mkdir()
    shutil.copy(served / "config.json", cache)
    open_encoder("some/model")


def test_a_name_of_the_hub_is_looked_up_once(hub, monkeypatch):
    make_folder(hub[0])
    names, fetch = [], huggingface.fetch
    monkeypatch.setattr(huggingface, "fetch", lambda *about: names.append(about) or fetch(*about))
    read_encoder("some/model")
    assert names == [("some/model", None)]


def test_a_whisper_of_the_hub(hub):
    served, _ = hub
    make_whisper_folder(served)
    pretrained = read_encoder("some/tiny")
    assert pretrained.source == {"folder": "tiny", "license": "mit"}
    assert pretrained.settings.n_layers == 3


def test_code_that_a_configuration_names_is_not_looked_for(tmp_path):
    """transformers fetches a kernel of attention that is named so, and runs it."""
    make_folder(tmp_path)
    named = {"attn_implementation": "some/kernel", "quantization_config": {"quant_method": "gptq"}}
    for changes in (named, {"_attn_implementation": "some/kernel"}):
        change(tmp_path, **changes)
        encoder = open_pretrained(str(tmp_path)).model.encoder
        assert encoder.model.config._attn_implementation == "sdpa"
        FolderEncoder(encoder.settings)


@pytest.mark.slow
def test_a_small_folder_takes_little_memory(tmp_path):
    make_folder(tmp_path)
    from safetensors.torch import save_file

    save_file({}, tmp_path / "model.safetensors", {"format": "pt"})
    change(tmp_path, intermediate_size=900_000, num_hidden_layers=90)
    with pytest.raises(UserError, match=r"a model of .* numbers; its weights are \d+ bytes"):
        open_encoder(str(tmp_path))


def test_a_small_pickle_takes_little_memory(tmp_path):
    path = tmp_path / "weights.bin"
    torch.save({"a": torch.zeros(10**6)}, path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "b.bin", "w") as packed:
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member), zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="not a file of weights, or damaged"):
        read_state_dict(tmp_path / "b.bin")


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_weights_that_are_not_finite(value, tmp_path):
    model, _ = make_folder(tmp_path)
    with torch.no_grad():
        model.lm_head.bias[3] = value
    model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"lm_head\.bias holds numbers that are not finite"):
        open_pretrained(str(tmp_path))


def change(folder, file="config.json", **values):
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": ["wav2vec2"]}, r"model_type \['wav2vec2'\]"),
        ({"architectures": 5}, "has no CTC head"),
        ({"num_hidden_layers": 0}, "no num_hidden_layers of at least 1"),
        ({"num_hidden_layers": 5000}, "at most 1000 are possible"),
        ({"conv_stride": [0] * 7}, "a stride of 0"),
        ({"conv_kernel": [10**9] * 7}, "conv_kernel of config.json is 1000000000"),
        ({"conv_dim": [16] * 3000}, "conv_dim of config.json has 3000 items"),
        ({"hidden_act": "no"}, "config.json makes no model: 'no'"),
        ({"hidden_size": "32"}, "config.json: Validation error"),
    ],
)
def test_bad_configurations(values, message, tmp_path):
    make_folder(tmp_path)
    change(tmp_path, **values)
    with pytest.raises(UserError, match=message):
        open_pretrained(str(tmp_path))


@pytest.mark.few(2)
@pytest.mark.parametrize("rate", ["abc", -1, 10**12, [16000], 16000.5])
def test_bad_rates(rate, tmp_path):
    make_folder(tmp_path)
    change(tmp_path, "preprocessor_config.json", sampling_rate=rate)
    with pytest.raises(UserError, match="rate must be a whole number in 1..192000"):
        open_pretrained(str(tmp_path))


def test_features_that_are_no_object(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text('{"feature_extractor": [1]}')
    with pytest.raises(UserError, match="its feature_extractor is a list"):
        open_pretrained(str(tmp_path))


def test_nothing_is_fetched_for_a_folder(tmp_path, monkeypatch):
    import socket

    make_folder(tmp_path)
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert open_pretrained(str(tmp_path)).charmap.vocab_size == len(VOCAB) - 3


@pytest.mark.parametrize(
    "name", ["./absent", "/absent/folder", "~/absent/x", "a/b/c", "./" + "x" * 5000]
)
def test_absent_folders_are_not_looked_for_in_the_hub(name, monkeypatch):
    monkeypatch.setattr(huggingface, "fetch", None)
    with pytest.raises(UserError, match="no folder"):
        open_encoder(name)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[]", "config must be an object"),
        ("{", "Expecting"),
        ('{"hidden_size": 8}', "no num_hidden_layers"),
        ('{"num_hidden_layers": 1000000000}', "at most 1000 are possible"),
        ('{"num_hidden_layers": 2, "hidden_size": 1000000000}', "at most 1000000 are possible"),
        ('{"num_hidden_layers": "2"}', "no num_hidden_layers"),
    ],
)
def test_settings_that_no_model_file_holds(config, message):
    with pytest.raises(ValueError, match=message):
        FolderSettings(config=config, features="{}")


WHISPERS = {  # width, layers, heads: Radford et al. 2022, table 1
    "tiny": (384, 4, 6),
    "base": (512, 6, 8),
    "small": (768, 12, 12),
    "medium": (1024, 24, 16),
    "large-v2": (1280, 32, 20),
}
LARGE = dict(
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    feat_extract_norm="layer",
    do_stable_layer_norm=True,
    conv_bias=True,
)
LARGER = LARGE | dict(hidden_size=1280, num_hidden_layers=48, intermediate_size=5120)
ON_THE_HUB = {  # what their configurations change of the defaults of transformers
    "facebook/wav2vec2-xls-r-300m": ("Wav2Vec2Model", LARGE),
    "facebook/mms-300m": ("Wav2Vec2Model", LARGE),
    "facebook/data2vec-audio-base": ("Data2VecAudioModel", {}),
    "facebook/w2v-bert-2.0": ("Wav2Vec2BertModel", {}),
    "microsoft/wavlm-base-plus": ("WavLMModel", {}),
    "facebook/mms-1b-all": ("Wav2Vec2ForCTC", LARGER | dict(adapter_attn_dim=16, vocab_size=154)),
    "facebook/wav2vec2-base-960h": ("Wav2Vec2ForCTC", {}),
}


@pytest.mark.slow
def test_the_sizes_of_the_hubs_models_are_those_of_their_configurations():
    found = {}
    with torch.device("meta"):
        for name, (size, n_layers, n_heads) in WHISPERS.items():
            sizes = dict(n_mels=80, n_hidden=4 * size, n_positions=1500)
            settings = WhisperSettings(size=size, n_layers=n_layers, n_heads=n_heads, **sizes)
            found[f"openai/whisper-{name}"] = WhisperEncoder(settings)
        for name, (kind, changes) in ON_THE_HUB.items():
            config = kind.removesuffix("Model").removesuffix("ForCTC") + "Config"
            model = getattr(transformers, kind)(getattr(transformers, config)(**changes))
            found[name] = model
    assert found.keys() == {model.name for model in HUB}
    for model in HUB:
        n = sum(parameter.numel() for parameter in found[model.name].parameters())
        assert abs(n / 1e6 - model.size_m) < 1, (model.name, n)
