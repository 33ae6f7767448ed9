"""Names of the Hugging Face hub, fetched from one that this machine serves."""

import json
import socket

import pytest
import torch

from asr_ctc.acoustic.encoders import huggingface
from asr_ctc.acoustic.encoders.folder import read_encoder
from asr_ctc.acoustic.encoders.published import open_pretrained
from asr_ctc.base.errors import UserError
from tests.helpers.hub import hub_of
from tests.helpers.published import VOCAB, make_folder
from tests.helpers.whisper_folder import make_whisper_folder

pytest.importorskip("transformers")
load_file = pytest.importorskip("safetensors.torch").load_file
save_file = pytest.importorskip("safetensors.torch").save_file
hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The names of the files that were fetched from a hub of three models."""
    models = {}
    for name in ("me/whisper", "me/mms", "me/pickled"):
        models[name] = folder = tmp_path / "hub" / name
        folder.mkdir(parents=True)
        (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    make_whisper_folder(models["me/whisper"])
    model, _ = make_folder(models["me/mms"], "mms")
    adapter = {name: w.data.contiguous() for name, w in model._get_adapters().items()}
    adapter["lm_head.weight"] = model.lm_head.weight.data
    vocab = json.dumps({"deu": VOCAB, "ita": VOCAB})
    (models["me/mms"] / "vocab.json").write_text(vocab, "utf-8")
    for language in ("deu", "ita"):
        adapter["lm_head.bias"] = torch.randn_like(model.lm_head.bias)
        save_file(adapter, models["me/mms"] / f"adapter.{language}.safetensors")
    make_folder(models["me/pickled"])
    weights = models["me/pickled"] / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    for folder in models.values():
        (folder / "tf_model.h5").write_bytes(b"of no use here")
    with hub_of(models) as (address, files):
        paths = "{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{paths}")
        monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield files


def test_a_whisper_of_the_hub_is_the_folder_that_it_serves(served, tmp_path):
    pretrained = read_encoder("me/whisper")
    folder = read_encoder(str(tmp_path / "hub" / "me" / "whisper"))
    assert pretrained.settings == folder.settings
    assert all(torch.equal(t, folder.state_dict[n]) for n, t in pretrained.state_dict.items())
    assert pretrained.source == {"folder": "whisper", "license": "mit"}
    files = ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]
    assert sorted(served) == files


def test_a_model_is_fetched_once_and_then_needs_no_network(served, monkeypatch):
    first = read_encoder("me/whisper")
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert read_encoder("me/whisper").source == first.source


def test_a_fetch_that_was_interrupted_goes_on(served, tmp_path):
    read_encoder("me/whisper")
    weights = next((tmp_path / "cache").rglob("model.safetensors"))
    weights.resolve().unlink()
    weights.unlink()
    served.clear()
    read_encoder("me/whisper")
    assert served == ["model.safetensors"]


def test_of_the_adapters_only_that_of_the_language_is_fetched(served):
    read_encoder("me/mms", language="deu")
    assert [name for name in served if "adapter" in name] == ["adapter.deu.safetensors"]
    read_encoder("me/mms", language="ita")
    assert [name for name in served if "adapter" in name][1:] == ["adapter.ita.safetensors"]
    assert served.count("model.safetensors") == 1


def test_pickled_weights_are_fetched_where_there_are_no_others(served):
    source = read_encoder("me/pickled").source
    assert source["folder"] == "pickled"
    assert source["license"] == "apache-2.0"
    assert served.count("pytorch_model.bin") == 1


def test_a_whisper_of_the_hub_is_refused_by_its_name_where_a_head_is_needed(served):
    with pytest.raises(UserError, match="^me/whisper: Whisper has no CTC.* --encoder me/whisper"):
        open_pretrained("me/whisper")


def test_a_name_that_the_hub_does_not_have(served):
    with pytest.raises(UserError, match="--encoder: me/nothing: there is no such folder, and no"):
        read_encoder("me/nothing")


def test_a_name_without_network(monkeypatch):
    def fail(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(UserError, match=r"no route to host.*`hf download some/model --local-dir"):
        huggingface.fetch("some/model")
