import copy
import errno
import io
import os
import pickle
import random
import resource
import zipfile
from dataclasses import fields, replace

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.model_file import ModelFile, load_model, newest_model, save_model
from asr_ctc.audio.log_mel import FeatureSettings
from asr_ctc.audio.spec_augment import SpecAugment
from asr_ctc.base.errors import UserError
from asr_ctc.base.files import write_atomically
from asr_ctc.models import CTCModel
from asr_ctc.text.charmap import CharMap

CLIP = torch.randn(40, 20, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(tmp_path, tiny_model):
    save_model(tmp_path / "best_model.pt", tiny_model)
    return tmp_path / "best_model.pt"


@pytest.fixture
def light(path):
    """The model file, to be written again with one thing changed; a megabyte."""
    load_model(path)
    return path


def content_of(path):
    return torch.load(path, weights_only=True)


def saved(content, path):
    torch.save(content, path)
    return path


@torch.no_grad()
def logits(model):
    return unpack_sequence(model(pack_sequence([CLIP])))[0]


# --- There and back ------------------------------------------------------------------------------


def test_a_model_file_is_all_that_is_needed(path, tiny_model):
    file = load_model(path)
    for name in "architecture", "features", "normalization", "charmap", "scores", "origin":
        assert getattr(file, name) == getattr(tiny_model, name)
    assert file.assumed == ""
    for key, value in tiny_model.state_dict.items():
        assert torch.equal(file.state_dict[key], value)
    model = file.build_model()
    assert not model.training and torch.equal(logits(model), logits(tiny_model.build_model()))
    processor = file.build_processor(SpecAugment())
    assert (processor.settings, processor.hop) == (tiny_model.features, 160)
    assert (processor.normalization, processor.spec_augment) == ((-22.0, 12.0), SpecAugment())


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
@pytest.mark.parametrize("options", [{}, {"rnn_norm": True}, {"mel_stride": 2, "time_reach": 4}])
def test_any_architecture_and_charset(tmp_path, cell, options):
    charmap = CharMap.from_transcripts(["Съешь ещё"])[0]
    model = CTCModel(charmap, 13, 5, 2, cell, 0.0, **options).eval()
    file = ModelFile(
        model.state_dict(),
        model.architecture,
        FeatureSettings(rate=8_000, win_length=0.03, win_step=0.015, nmels=13),
        (1.5, 2.5),
        charmap,
    )
    save_model(tmp_path / "m.pt", file)
    again = load_model(tmp_path / "m.pt")
    assert again.architecture == file.architecture and again.charmap == charmap
    spectrograms = pack_sequence([CLIP[:, :13]])
    with torch.no_grad():
        assert torch.equal(again.build_model()(spectrograms).data, model(spectrograms).data)


@pytest.mark.parametrize("mel_stride", [1, 2])
def test_a_stride_that_does_not_match_its_tensors(light, mel_stride):
    content = content_of(light)
    model = CTCModel(CharMap(), 20, 6, 2, "LSTM", 0.0, mel_stride=mel_stride)
    content["state_dict"] = model.state_dict()
    content["architecture"] = {**OLD_FILE["architecture"], "mel_stride": mel_stride}
    assert load_model(saved(content, light)).architecture.mel_stride == mel_stride
    other = 3 - mel_stride
    content["architecture"]["mel_stride"] = other
    with pytest.raises(UserError, match=f"not a model of this program: .*mel_stride={other}"):
        load_model(saved(content, light))


def test_a_file_older_than_a_layer_option_has_it_off(light):
    content = content_of(light)
    del content["architecture"]["rnn_norm"]
    assert not load_model(saved(content, light)).architecture.rnn_norm


def test_settings_of_training_are_the_callers(path):
    model = load_model(path).build_model(dropout=0.4, l1=0.5, l2=0.25)
    assert (model.cnn[3].p, model.cnn[7].p, model.l1, model.l2) == (0.4, 0.4, 0.5, 0.25)


OLD_FILE = {
    "format": "asr_ctc model",
    "format_version": 1,
    "architecture": {
        "n_mels": 20,
        "nhidden_rnn": 6,
        "nlayers_rnn": 2,
        "cell_type": "LSTM",
        "vocab_size": 44,
    },
    "features": {"rate": 16_000, "win_length": 0.04, "win_step": 0.01, "nmels": 20},
    "normalization": [-22.0, 12.0],
    "charmap": {
        "symbols": list("¬ ¦',.0123456789¶❌abcdefghijklmnopqrstuvwxyz"),
        "unknown": "❌",
        "soschar": "¶",
        "eoschar": "¦",
        "lowercase": True,
        "fold": True,
    },
    "scores": {"epoch": 1, "dev_cer": 0.5, "dev_wer": 1.0, "dev_loss": 2.0},
    "origin": {"command": "python main_ctc.py train"},
}  # as the first version wrote it


def test_a_file_of_the_first_version_loads(tmp_path):
    model = CTCModel(CharMap(), 20, 6, 2, "LSTM", 0.0).eval()
    path = saved({**OLD_FILE, "state_dict": model.state_dict()}, tmp_path / "old.pt")
    file = load_model(path)
    assert file.architecture == model.architecture
    assert file.charmap == replace(CharMap(), apostrophe=None)  # as it read apostrophes then
    assert torch.equal(logits(file.build_model()), logits(model))
    processor = file.build_processor()
    assert (processor.rate, processor.settings.n_fft, processor.hop) == (16_000, 640, 160)
    assert processor.normalization == (-22.0, 12.0) and processor.spec_augment is None


def test_the_first_version_reads_what_is_written_now(tmp_path):
    """Its tables have the same keys, and it refused others; ``rnn_norm`` came later."""
    model = CTCModel(CharMap(), 20, 6, 2, "LSTM", 0.0)
    path = saved({**OLD_FILE, "state_dict": model.state_dict()}, tmp_path / "old.pt")
    save_model(tmp_path / "new.pt", load_model(path))
    content = content_of(tmp_path / "new.pt")
    assert content.keys() == {*OLD_FILE, "state_dict"}
    assert content["features"] == OLD_FILE["features"]
    assert content["architecture"] == {**OLD_FILE["architecture"], "rnn_norm": False}


@pytest.mark.few(2)
@pytest.mark.parametrize("key", ["rate", "win_length", "win_step", "nmels"])
def test_a_feature_setting_that_is_missing_is_not_guessed(light, key):
    content = content_of(light)
    del content["features"][key]
    with pytest.raises(UserError, match=f"not a model of this program: .*{key}"):
        load_model(saved(content, light))


def test_layer_normalisation_with_one_layer_is_none(tmp_path):
    """Nothing lies between one layer: the file says so, and loads."""
    model = CTCModel(CharMap(), 20, 6, 1, "GRU", 0.0, rnn_norm=True)
    file = ModelFile(
        model.state_dict(),
        model.architecture,
        FeatureSettings(rate=16_000, win_length=0.04, win_step=0.01, nmels=20),
        (0.0, 1.0),
        CharMap(),
    )
    save_model(tmp_path / "m.pt", file)
    assert not load_model(tmp_path / "m.pt").architecture.rnn_norm


# --- A bare state dict of the published architecture ---------------------------------------------


@pytest.mark.few(2)
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("cell", "n_mels", "n_layers"), [("GRU", 20, 2), ("LSTM", 80, 1)])
def test_bare_tensors(tmp_path, cell, n_mels, n_layers, zipped):
    model = CTCModel(CharMap(), n_mels, 6, n_layers, cell, 0.1).eval()
    torch.save(model.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=zipped)
    file = load_model(tmp_path / "old.pt")
    assert file.architecture == model.architecture
    assert file.charmap == CharMap() and file.normalization == (-31, 32)
    assert "44 classes" in file.assumed and "(-31, 32)" in file.assumed
    assert file.features == FeatureSettings(
        rate=16_000, win_length=0.04, win_step=0.01, nmels=n_mels
    )
    spectrograms = pack_sequence([CLIP.repeat(1, 4)[:, :n_mels]])
    with torch.no_grad():
        assert torch.equal(file.build_model()(spectrograms).data, model(spectrograms).data)


def test_bare_tensors_with_other_classes_are_refused(tmp_path):
    model = CTCModel(CharMap.from_symbols("abc"), 20, 6, 1, "GRU", 0.1)
    path = saved(model.state_dict(), tmp_path / "old.pt")
    with pytest.raises(UserError, match="bare tensors with 4 classes; only the published model's"):
        load_model(path)


# --- Code is refused without running it ----------------------------------------------------------


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


class Executed(Payload):
    def __reduce__(self):
        return exec, (f"import os; os.mkdir({str(self.victim)!r})",)


@pytest.mark.parametrize("payload", [Payload, Executed])
@pytest.mark.parametrize("where", ["alone", "in the model file", "bare pickle", "old format"])
def test_pickled_code_is_refused_and_not_run(path, tmp_path, payload, where):
    victim = tmp_path / "victim"
    content = payload(victim)
    if where == "in the model file":
        content = {**content_of(path), "origin": {"command": content}}
    if where == "bare pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=where != "old format")
    with pytest.raises(UserError, match="(was not|nothing in it was) run"):
        load_model(path)
    assert not victim.exists()
    # It would have run.
    if where == "bare pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert victim.exists()


# --- Files that are no models --------------------------------------------------------------------


def test_missing_folder_and_unreadable(tmp_path):
    with pytest.raises(UserError, match="no model file at .*none.pt"):
        load_model(tmp_path / "none.pt")
    with pytest.raises(UserError, match="is a folder"):
        load_model(tmp_path)


@pytest.mark.few(1)
@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_anywhere(light, zipped):
    path = light
    torch.save(content_of(path), path, _use_new_zipfile_serialization=zipped)
    load_model(path)
    whole = path.read_bytes()
    draw = random.Random(0)
    places = {0, 1, 2, 4, len(whole) // 2, len(whole) - 1, len(whole) - 22}
    places |= {draw.randrange(len(whole)) for _ in range(100)}
    for n_bytes in sorted(places):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(UserError):
            load_model(path)


def test_a_flipped_bit_is_refused(path, tiny_model):
    whole, stored = path.read_bytes(), tiny_model.state_dict["charlin.0.weight"].numpy().tobytes()
    for place in 0, len(stored) // 2, len(stored) - 1:
        damaged = bytearray(whole)
        damaged[whole.index(stored) + place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged|truncated"):
            load_model(path)


def test_random_bytes_are_refused(tmp_path):
    draw = random.Random(0)
    path = tmp_path / "m.pt"
    for _ in range(100):
        path.write_bytes(draw.randbytes(draw.randrange(1, 300)))
        with pytest.raises(UserError):
            load_model(path)


def test_files_of_other_programs_are_refused(tmp_path):
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(UserError):
        load_model(path)
    for content in [1, "text", [], {}, {"weight": torch.zeros(2)}, {"model": {}, "epoch": 3}]:
        with pytest.raises(UserError, match="not a model of this program"):
            load_model(saved(content, path))


def test_another_version_of_the_format_is_refused(light):
    saved({**content_of(light), "format_version": 99}, light)
    with pytest.raises(UserError, match="written in format 99; this program reads 1"):
        load_model(light)


KEYS = "architecture features normalization charmap scores origin state_dict format_version".split()
STRANGE = [None, 5, -1, 1.5, "x", [], [1], {}, {"a": 1}, {1: 2}, float("nan"), torch.zeros(2, 2)]


@pytest.mark.few(2)
@pytest.mark.parametrize("key", KEYS)
def test_a_missing_part_is_refused(light, key):
    content = content_of(light)
    del content[key]
    with pytest.raises(UserError, match=f"not a model of this program: .*{key}"):
        load_model(saved(content, light))


@pytest.mark.few(2)
@pytest.mark.parametrize("key", KEYS)
def test_parts_of_a_wrong_kind_are_refused(light, key):
    content = content_of(light)
    for value in STRANGE:
        if key in ("scores", "origin") and isinstance(value, dict):
            continue  # any table will do
        with pytest.raises(UserError, match="not a model of this program"):
            load_model(saved({**content, key: value}, light))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "key"),
    [
        *(("architecture", f.name) for f in fields(Architecture)),
        *(("features", name) for name in ("rate", "nmels")),
        *(("charmap", name) for name in ("symbols", "lowercase", "fold")),
        *(("state_dict", name) for name in ("cnn.0.weight", "rnn.weight_hh_l0", "rnn.bias_ih_l0")),
    ],
)
def test_values_of_a_wrong_kind_are_refused(light, part, key):
    content = content_of(light)
    for value in STRANGE:
        strange = copy.deepcopy(content)
        strange[part][key] = value
        with pytest.raises(UserError, match="not a model of this program"):
            load_model(saved(strange, light))
        if part == "state_dict":
            with pytest.raises(UserError, match="not a model of this program"):
                load_model(saved(strange[part], light))


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("architecture", {"nhidden_rnn": 7}),
        ("architecture", {"nlayers_rnn": 10**12}),  # before a terabyte is asked for
        ("architecture", {"n_mels": 10**12}),
        ("architecture", {"cell_type": "LSTM"}),
        ("architecture", {"vocab_size": 43}),
        ("architecture", {"extra": 1}),
        ("features", {"nmels": 13}),
        ("features", {"nmels": 19}),
        ("features", {"win_step": 0.0}),
        ("features", {"augment": True}),
        ("charmap", {"symbols": ["¬", "❌", "¶", "¦"]}),
        ("charmap", {"extra": 1}),
        ("state_dict", {"extra": torch.zeros(2)}),
        ("state_dict", {"charlin.0.bias": torch.zeros(2)}),
    ],
)
def test_contradictions_are_refused(light, part, change):
    content = content_of(light)
    content[part] = {**content[part], **change}
    with pytest.raises(UserError, match="not a model of this program"):
        load_model(saved(content, light))


def test_normalisation_layers_that_are_not_there_are_refused(tmp_path):
    model = CTCModel(CharMap(), 20, 6, 2, "LSTM", 0.0)
    architecture = {**OLD_FILE["architecture"], "rnn_norm": True}
    content = {**OLD_FILE, "architecture": architecture, "state_dict": model.state_dict()}
    with pytest.raises(UserError, match="not a model of this program: .*rnn_norm=True"):
        load_model(saved(content, tmp_path / "old.pt"))


@pytest.mark.parametrize("normalization", [[0.0, 0.0], [0.0, -1.0], [float("nan"), 1.0], [1.0]])
def test_impossible_normalisation_is_refused(light, normalization):
    with pytest.raises(UserError, match="not a model of this program"):
        load_model(saved({**content_of(light), "normalization": normalization}, light))


# --- Whole or not at all -------------------------------------------------------------------------


def test_writing_replaces_the_file(tmp_path):
    path = tmp_path / "a"
    for data in b"first", b"second, longer", b"3":
        write_atomically(path, data)
        assert path.read_bytes() == data and os.listdir(tmp_path) == ["a"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("there_before", [True, False])
def test_a_disk_that_fills_destroys_nothing(tmp_path, monkeypatch, step, there_before):
    path = tmp_path / "a"
    if there_before:
        path.write_bytes(b"before")

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(UserError, match="cannot write .*No space left on device") as caught:
        write_atomically(path, b"after")
    assert ("the file there before is kept" in str(caught.value)) == there_before
    assert os.listdir(tmp_path) == ["a"] * there_before
    assert not there_before or path.read_bytes() == b"before"


def test_a_model_that_does_not_fit_destroys_nothing(path, tiny_model):
    """A real limit: the system refuses to write more than a part of the file."""
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot write .*the file there before is kept"):
            save_model(path, tiny_model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_ctrl_c_while_writing_destroys_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"before")

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a"]


def test_the_data_is_on_the_disk_before_it_replaces(tmp_path, monkeypatch):
    done = []
    for name in "fsync", "replace":
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, c=call: (done.append(n), c(*a)))
    write_atomically(tmp_path / "a", b"data")
    assert done == ["fsync", "replace", "fsync"]  # the data, the name, the folder


def test_a_missing_folder_is_a_users_error(tmp_path):
    with pytest.raises(UserError, match="cannot write .*No such file or directory"):
        write_atomically(tmp_path / "none" / "a", b"data")


# --- The newest ----------------------------------------------------------------------------------


def test_newest_model(tmp_path):
    with pytest.raises(UserError, match="no best_model.pt below .*train"):
        newest_model(tmp_path)
    for time_s, run in enumerate(["a", "c", "b/deep"]):
        folder = tmp_path / run
        folder.mkdir(parents=True)
        for name in "best_model.pt", "last.pt":
            (folder / name).write_bytes(b"")
            os.utime(folder / name, (time_s, time_s))
    os.utime(tmp_path / "a/last.pt", (99, 99))
    assert newest_model(tmp_path) == tmp_path / "b/deep/best_model.pt"
    assert newest_model(str(tmp_path / "a")) == tmp_path / "a/best_model.pt"


def test_saving_moves_tensors_off_their_graph(tmp_path, tiny_model):
    file = copy.copy(tiny_model)
    file.state_dict = {k: v.clone() for k, v in tiny_model.state_dict.items()}
    file.state_dict["charlin.0.bias"].requires_grad_()
    save_model(tmp_path / "m.pt", file)
    assert not any(v.requires_grad for v in load_model(tmp_path / "m.pt").state_dict.values())
    assert io.BytesIO((tmp_path / "m.pt").read_bytes()).read(2) == b"PK"
