"""Folders of pretrained models meet seeded damage: they are read, or one line says why not."""

import json

import pytest
import torch

from asr_ctc.acoustic.encoders.folder import read_encoder
from asr_ctc.acoustic.encoders.huggingface import read_folder, read_labels
from asr_ctc.acoustic.encoders.published import open_encoder
from asr_ctc.acoustic.encoders.safetensors_file import read_safetensors
from asr_ctc.base.errors import UserError
from tests.helpers.damage import N, fuzz
from tests.helpers.published import VOCAB, make_folder
from tests.helpers.whisper_folder import make_whisper_folder, write_safetensors

pytestmark = pytest.mark.fuzz

N_OF_MODELS = max(25, N // 20)  # each builds one


def of_file(path, read):
    """A reader for ``fuzz``, of a folder in which one file is damaged."""

    def write_and_read(content: bytes, seed: int) -> None:
        path.write_bytes(content)
        read()

    return write_and_read


def with_damaged_header(path, read):
    """Likewise, of a safetensors file whose header is damaged and of the length that it says."""
    data = path.read_bytes()
    n_header = int.from_bytes(data[:8], "little")
    header, data = data[8 : 8 + n_header], data[8 + n_header :]

    def write_and_read(content: bytes, seed: int) -> None:
        path.write_bytes(len(content).to_bytes(8, "little") + content + data)
        read()

    return header, write_and_read


def test_safetensors(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"a.x": torch.ones(2, 3), "a.y": torch.ones(4), "b.z": torch.ones(1)})

    def read() -> None:
        for prefixes in (("",), ("a.",)):
            tensors = read_safetensors(path, prefixes)
            assert sum(tensor.nbytes for tensor in tensors.values()) <= path.stat().st_size

    whole, header = path.read_bytes(), with_damaged_header(path, read)
    fuzz(whole, of_file(path, read))
    fuzz(*header)


@pytest.mark.slow
def test_whisper_folders(tmp_path):
    folder = make_whisper_folder(tmp_path / "tiny", max_source_positions=20)

    def read() -> None:
        read_encoder(str(folder))

    config, weights = folder / "config.json", folder / "model.safetensors"
    whole = config.read_bytes()
    fuzz(whole, of_file(config, read), N_OF_MODELS)
    config.write_bytes(whole)
    fuzz(*with_damaged_header(weights, read), N_OF_MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wav2vec2 base", "w2v-bert"])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_huggingface_folders(tmp_path, kind, name):
    make_folder(tmp_path, kind)
    path = tmp_path / name

    def read() -> None:
        open_encoder(str(tmp_path))

    if path.suffix == ".json":
        fuzz(path.read_bytes(), of_file(path, read), N_OF_MODELS)
    else:
        fuzz(*with_damaged_header(path, read), N_OF_MODELS)


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer_config.json"])
@pytest.mark.parametrize("language", [None, "fra"])
def test_labels(tmp_path, name, language):
    """Of one language, and of an MMS model, which has a vocabulary for each."""
    weights, tokens = tmp_path / "model.safetensors", {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    weights.write_bytes(b"")
    (tmp_path / "adapter.fra.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    vocab = VOCAB if language is None else {"fra": VOCAB, "deu": VOCAB}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), "utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokens))
    folder = read_folder(tmp_path)

    def read() -> None:
        charmap, classes = read_labels(folder, len(VOCAB), language)
        assert len(classes) == charmap.vocab_size and max(classes) < len(VOCAB)
        charmap.text(range(charmap.vocab_size))

    path = tmp_path / name
    fuzz(path.read_bytes(), of_file(path, read))


def test_a_language_without_labels(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "adapter.fra.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    (tmp_path / "vocab.json").write_text(json.dumps({"fra": 1, "deu": VOCAB}), "utf-8")
    with pytest.raises(UserError, match="vocab.json: fra holds a int; needed an object"):
        read_labels(read_folder(tmp_path), len(VOCAB), "fra")
