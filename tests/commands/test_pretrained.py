"""Published models that transcribe and align without training."""

import json
import socket
import sys

import numpy as np
import pytest
import soundfile
import torch

from tests.helpers.command import call
from tests.helpers.corpora import corpus_folder
from tests.helpers.published import VOCAB, make_bundle, make_folder


def test_the_list_names_language_rate_size_and_licence(tmp_path):
    listed = call("pretrained list", cwd=tmp_path)
    assert listed.returncode == 0
    assert "WAV2VEC2_XLSR_300M" in listed.stdout and "128 languages" in listed.stdout
    line = next(line for line in listed.stdout.splitlines() if "10K_FR" in line)
    assert line.split()[1:] == "French 16 kHz 94 M CC BY-NC 4.0 yes parliament, 211 h".split()
    models = json.loads(call("pretrained list --json", cwd=tmp_path).stdout)
    assert {"name", "language", "size_m", "licence", "rate_hz"} <= models[0].keys()


def test_pretrained_takes_the_word_list(tmp_path):
    for words in ("pretrained", "pretrained lost"):
        found = call(words, cwd=tmp_path)
        assert found.returncode == 2 and found.stderr.count("\n") == 1


@pytest.fixture
def clip(tmp_path):
    """A file of noise at 22,050 Hz, which is not the models' rate."""
    noise = np.random.default_rng(0).standard_normal(2 * 22_050).astype(np.float32)
    soundfile.write(tmp_path / "clip.wav", 0.1 * noise, 22_050)
    return "clip.wav"


def test_a_folder_transcribes_aligns_and_writes_formats(tmp_path, clip):
    folder = tmp_path / "model"
    folder.mkdir()
    make_folder(folder)
    found = call("test --pretrained model --audiofile", clip, "--format json", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    transcript = json.loads(found.stdout)
    assert transcript["duration_s"] == pytest.approx(2.0, abs=0.01)
    letters = {label for label in VOCAB if len(label) == 1} | {" "}
    assert transcript["text"] and {*transcript["text"]} <= letters - {"|"}
    beam = call("test --pretrained model --beamsearch --audiofile", clip, cwd=tmp_path)
    assert beam.returncode == 0 and len(beam.stdout.splitlines()) > 2
    aligned = call(
        "align --pretrained model --format json --text bonjour l'été --audiofile",
        clip,
        cwd=tmp_path,
    )
    assert aligned.returncode == 0, aligned.stderr
    words = json.loads(aligned.stdout)["words"]
    assert [word["word"] for word in words] == ["bonjour", "l'été"]
    unknown = call("align --pretrained model --text bonjour 7 --audiofile", clip, cwd=tmp_path)
    assert (
        unknown.returncode == 2 and "no class for these characters of the text: 7" in unknown.stderr
    )


@pytest.mark.slow
def test_a_published_model_is_inspected_layer_by_layer(tmp_path, clip):
    (tmp_path / "model").mkdir()
    make_folder(tmp_path / "model")
    found = call("inspect --pretrained model --layers --audiofile", clip, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    page = (tmp_path / "inspect" / "clip.html").read_text(encoding="utf-8")
    assert "layer 1" in page and "layer 2" in page and "é" in page


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_recordings_of_other_rates_are_resampled_to_the_models(rate, tmp_path):
    """The same sound, whatever its rate; read as 16 kHz it would be another."""
    folder = tmp_path / "model"
    folder.mkdir()
    make_folder(folder)
    from asr_ctc.acoustic.encoders.published import open_pretrained
    from asr_ctc.recognition.recognizer import Recognizer

    recognizer = Recognizer(open_pretrained(str(folder)), "cpu")

    def posteriors(rate: int) -> np.ndarray:
        time_s = np.arange(rate) / rate
        sound = sum(np.sin(2 * np.pi * f * time_s) for f in (150, 410, 730)) * np.hanning(rate)
        return np.exp(recognizer.log_posteriors((0.1 * sound).astype(np.float32), rate=rate))

    expected, found = posteriors(16_000), posteriors(rate)
    assert found.shape == expected.shape
    assert abs(found - expected).mean() < 0.1 * expected.std(0).mean()


def test_a_clip_shorter_than_the_receptive_field_is_refused_by_name(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    make_folder(folder)
    soundfile.write(tmp_path / "short.wav", np.full(399, 0.1, np.float32), 16_000)
    for words in ("test", "align --text a"):
        found = call(f"{words} --pretrained model --audiofile short.wav", cwd=tmp_path)
        assert "short.wav: " in refusal(found)


def test_a_bundle_transcribes_in_its_own_labels(tmp_path, clip, monkeypatch):
    make_bundle(monkeypatch, tmp_path, "WAV2VEC2_ASR_BASE_960H")
    found = call(
        "test --pretrained WAV2VEC2_ASR_BASE_960H --format text --audiofile",
        clip,
        cwd=tmp_path,
        TORCH_HOME=str(tmp_path),
    )
    assert found.returncode == 0, found.stderr
    assert {*found.stdout.strip()} <= {*"ABCDEFGHIJKLMNOPQRSTUVWXYZ' "}


@pytest.mark.slow
def test_a_split_is_scored_and_a_language_model_used(tmp_path):
    folder, version = corpus_folder("cv-corpus-17.0-delta-2024-03-15", "fr"), "--lang fr"
    (tmp_path / "model").mkdir()
    make_folder(tmp_path / "model")
    (tmp_path / "text.txt").write_text("bonjour à tous\nbonjour l'été\n" * 20)
    built = call(
        "lm --text text.txt --order 2 --out lm.arpa --charset auto --datasetroot",
        folder.parents[1],
        version,
        cwd=tmp_path,
    )
    assert built.returncode == 0, built.stderr
    found = call(
        "test --pretrained model --beamsearch --lm lm.arpa --split dev --max_duration 2.5",
        "--nthreads 0 --json --datasetroot",
        folder.parents[1],
        version,
        cwd=tmp_path,
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["wer"]["rate"] > 0.5


@pytest.mark.slow
def test_a_language_model_is_tuned_for_a_published_model(tmp_path, few_root):
    folder = tmp_path / "model"
    folder.mkdir()
    make_folder(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "text.txt").write_text("bonjour à tous\nbonjour l'été\n" * 20)
    root = "--nthreads 0 --datasetroot", few_root
    built = call("lm --text text.txt --order 2 --out lm.arpa --datasetroot", few_root, cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    tune = "lm --tune --pretrained model --lm lm.arpa --beamwidth 2 --unk_logp -8"
    tuned = call(tune, *root, cwd=tmp_path)
    assert tuned.returncode == 0, tuned.stderr
    *_, best, last = tuned.stdout.splitlines()
    assert best.startswith("lowest WER + CER: WER ") and last.startswith("nothing is written: ")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    words, flags = best.split(), best.partition(" with ")[2]
    scored = call(
        f"test --pretrained model --beamsearch --beamwidth 2 --lm lm.arpa {flags} --split dev",
        *root,
        cwd=tmp_path,
    )
    assert f"WER {float(words[5]):6.2f} %" in scored.stdout, scored.stderr
    for flags, message in {
        "--modelpath a.pt": "--pretrained names the model; omit --modelpath",
        "--adapter fra": "has no adapters; omit it",
        "--units phoneme": "--units: a published model has its own labels; omit it",
    }.items():
        refused = call(tune, flags, *root, cwd=tmp_path)
        assert refused.returncode == 2 and message in refused.stderr
    refused = call("lm --pretrained model", *root, cwd=tmp_path)
    assert refused.returncode == 2 and "--pretrained and --nthreads need --tune" in refused.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--pretrained nothing", "neither a folder nor the name of a published model"),
        ("--pretrained ./nothing", "no folder ./nothing"),
        ("--pretrained WAV2VEC2_ASR_BASE_960H --adapter fra", "has no adapters; omit it"),
        ("--pretrained WAV2VEC2_BASE", "has no CTC head"),
        ("--pretrained x --modelpath y.pt", "omit --modelpath"),
        ("--adapter fra", "--adapter needs --pretrained"),
        ("--pretrained WAV2VEC2_ASR_BASE_960H --encoder_weights absent.pth", "no file of weights"),
    ],
)
def test_wrong_use(flags, message, tmp_path, clip):
    pytest.importorskip("torchaudio")
    assert message in refusal(call(f"test {flags} --audiofile", clip, cwd=tmp_path))


def refusal(found) -> str:
    """The one line of a command that was refused, besides that which names the model."""
    assert found.returncode == 2 and found.stdout == "", found.stdout + found.stderr
    lines = [line for line in found.stderr.splitlines() if not line.startswith("model ")]
    assert len(lines) == 1 and lines[0].startswith("error: "), found.stderr
    return lines[0]


def more_layers(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))


OTHER_SIZES = "another architecture: missing wav2vec2.encoder.layers.2"
NO_NETWORK = "name resolution"
BAD = {  # what is missing, or changes the folder; the name; what is said
    "unknown name": (None, "WAV2VEC2_ASR_BASE_960", "similar: WAV2VEC2_ASR_BASE_960H"),
    "architecture": (more_layers, "model", OTHER_SIZES),
    "tokenizer": (lambda folder: (folder / "vocab.json").unlink(), "model", "no vocab.json, which"),
    "transformers": ("transformers", "model", "pip install '.[pretrained]'"),
    "torchaudio": ("torchaudio", "MMS_FA", "pip install '.[pretrained]'"),
    "network, bundle": (None, "MMS_FA", f"({NO_NETWORK}): put the file of https://"),
    "network, hub": (None, "some/model", "where there is a network run `hf download some/model"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_missing_is_said_in_one_line(case, tmp_path, clip, monkeypatch):
    missing, name, message = BAD[case]
    if name == "model":
        (tmp_path / "model").mkdir()
        make_folder(tmp_path / "model")
    elif case != "torchaudio":
        pytest.importorskip("huggingface_hub" if "/" in name else "torchaudio")
    if callable(missing):
        missing(tmp_path / "model")
    elif missing:
        monkeypatch.setitem(sys.modules, missing, None)

    def unresolved(*address, **options):
        raise socket.gaierror(NO_NETWORK)

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    found = call(
        "test --audiofile", clip, "--pretrained", name, cwd=tmp_path, TORCH_HOME=str(tmp_path)
    )
    assert message in refusal(found)


def test_an_impulse_is_timed_where_it_is(tmp_path):
    """A model without context whose one word is a click: the word is where the click is."""
    from asr_ctc.acoustic.encoders.published import open_pretrained
    from asr_ctc.recognition.recognizer import Recognizer

    model, extractor = make_folder(tmp_path, conv_bias=True)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "out_proj" in name or "output_dense" in name:
                weight.zero_()
            if name.endswith(("original0", "pos_conv_embed.conv.bias")):
                weight.zero_()
        # Half of the channels follow the click, the others are 1: one sign where it is loud, the
        # other where it is silent.
        for layer in model.wav2vec2.feature_extractor.conv_layers:
            layer.conv.weight.fill_(4 / layer.conv.weight[0].numel())
            layer.conv.bias.zero_()
        layer.conv.weight[8:] = 0.0
        layer.conv.bias[8:] = 1.0
        norm = model.wav2vec2.feature_extractor.conv_layers[0].layer_norm
        norm.weight.fill_(1.0)
        norm.bias.zero_()
        click = torch.zeros(1, 16_000)
        click[0, 8000] = 1.0
        hidden = model.wav2vec2(click).last_hidden_state[0]
        direction = hidden[(8000 - 200) // 320] - hidden[0]
        threshold = float((hidden[(8000 - 200) // 320] + hidden[0]) / 2 @ direction)
        scale = 100 / float(direction.square().sum())
        model.lm_head.weight.zero_()
        model.lm_head.bias.fill_(-1e4)
        model.lm_head.weight[VOCAB["a"]] = direction * scale
        model.lm_head.bias[VOCAB["a"]] = -threshold * scale
        model.lm_head.bias[VOCAB["[PAD]"]] = 0.0
    model.save_pretrained(tmp_path)
    extractor.do_normalize = False
    extractor.save_pretrained(tmp_path)
    recognizer = Recognizer(open_pretrained(str(tmp_path)), "cpu")
    for at_s in (0.55, 0.74, 1.222, 1.5):  # far enough from the ends to reach to both sides
        samples = torch.zeros(32_000).numpy()
        samples[round(at_s * 16_000)] = 1.0
        transcript = recognizer.transcribe(samples, rate=16_000)
        assert transcript.text == "a"
        (word,) = transcript.words
        middle_s = (word.start_s + word.end_s) / 2
        assert word.start_s < at_s < word.end_s and abs(middle_s - at_s) < 0.015
