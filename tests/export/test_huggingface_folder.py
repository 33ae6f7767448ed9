"""A fine-tuned model, written as transformers loads it: the same logits, the same text."""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from asr_ctc.acoustic.encoder_model import EncoderArchitecture
from asr_ctc.acoustic.encoders.folder import read_encoder
from asr_ctc.acoustic.model_file import ModelFile, load_model, save_model
from asr_ctc.acoustic.model_kinds import features_of, new_model
from asr_ctc.base.errors import UserError
from asr_ctc.export.huggingface_folder import export_folder, vocabulary
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.phonemes import Phonemes
from tests.helpers.command import call
from tests.helpers.published import clips, make_bundle, make_folder
from tests.helpers.whisper_folder import make_whisper_folder

transformers = pytest.importorskip("transformers")
CHARMAP = CharMap.from_symbols("❌ abcdé'")


def fine_tuned(name, **changes):
    """A model file with the encoder of a name and a new linear layer on it."""
    pretrained = read_encoder(str(name))
    architecture = EncoderArchitecture(
        encoder=pretrained.settings,
        layers=(pretrained.settings.n_layers,),
        **{
            **dict(frame_stack=1, projection=0, nlayers_rnn=0, nhidden_rnn=1, cell_type="GRU"),
            **changes,
        },
        vocab_size=CHARMAP.vocab_size,
    )
    torch.manual_seed(0)
    model = new_model(architecture)
    model.encoder.load_state_dict(pretrained.state_dict)
    return ModelFile(
        state_dict=model.state_dict(),
        architecture=architecture,
        features=features_of(architecture),
        normalization=None,
        charmap=CHARMAP,
    )


KINDS = "wav2vec2 base", "mms", "hubert", "wavlm", "data2vec", "w2v-bert", "WAV2VEC2_BASE"


@pytest.fixture(params=KINDS)
def file(request, tmp_path, monkeypatch):
    if request.param == "WAV2VEC2_BASE":
        make_bundle(monkeypatch, tmp_path, request.param)
        return fine_tuned(request.param)
    (tmp_path / "source").mkdir()
    make_folder(tmp_path / "source", request.param)
    return fine_tuned(tmp_path / "source")


@pytest.mark.few(1)
def test_transformers_loads_the_folder_with_equal_logits(file, tmp_path):
    save_model(tmp_path / "model.pt", file)
    file = load_model(tmp_path / "model.pt")
    assert export_folder(file, tmp_path / "folder") == ""
    model = transformers.AutoModelForCTC.from_pretrained(tmp_path / "folder").eval()
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "folder")
    assert model.config.architectures == [type(model).__name__]
    (waveform,) = clips(9201)
    inputs = processor(waveform.numpy(), sampling_rate=16_000, return_tensors="pt")
    features = file.build_processor().clip(waveform)
    with torch.no_grad():
        ours = file.build_model()(pack_sequence([features])).data
        theirs = model(**inputs).logits[0]
    assert ours.std() > 0.05
    torch.testing.assert_close(ours, theirs, atol=5e-6, rtol=1e-5)
    labels = processor.tokenizer("bad é'a").input_ids
    assert labels == CHARMAP.encode("bad é'a")
    assert processor.tokenizer.decode([0, *labels, 0]) == "bad é'a"


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    make_folder(tmp_path / "source")
    with pytest.raises(UserError, match="has more .projection.: train with --projection"):
        export_folder(fine_tuned(tmp_path / "source", projection=8), tmp_path / "folder")
    whisper = make_whisper_folder(tmp_path / "whisper")
    with pytest.raises(UserError, match="no CTC model with Whisper's encoder: fine-tune one that"):
        export_folder(fine_tuned(whisper, projection=8), tmp_path / "folder")
    make_bundle(monkeypatch, tmp_path, "WAVLM_BASE_PLUS")
    with pytest.raises(UserError, match="WAVLM_BASE_PLUS is, .* own, such as microsoft/wavlm-base"):
        export_folder(fine_tuned("WAVLM_BASE_PLUS"), tmp_path / "folder")
    file = fine_tuned(tmp_path / "source")
    lower = replace(file, architecture=replace(file.architecture, layers=(1,)))
    with pytest.raises(UserError, match="this model has more .other layers."):
        export_folder(lower, tmp_path / "folder")
    phonemes = replace(file, charmap=Phonemes.from_readings(["a"], "fr-fr")[0])
    with pytest.raises(UserError, match="for models of characters, this one is of phonemes"):
        export_folder(phonemes, tmp_path / "folder")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="is not empty"):
        export_folder(file, tmp_path / "folder")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match=r"mine\.txt is a file where a folder is needed"):
        export_folder(file, tmp_path / "folder" / "mine.txt")


@pytest.mark.few(1)
@pytest.mark.parametrize(("name", "is_told"), [("WAV2VEC2_BASE", False), ("WAV2VEC2_XLSR53", True)])
def test_batches_are_padded_as_published(name, is_told, tmp_path, monkeypatch):
    make_bundle(monkeypatch, tmp_path, name)
    export_folder(fine_tuned(name), tmp_path / "folder")
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "folder")
    waveforms = [clip.numpy() for clip in clips(8000, 4000)]
    batch = processor(waveforms, sampling_rate=16_000, padding=True, return_tensors="pt")
    assert ("attention_mask" in batch) == is_told


def test_the_vocabulary_of_the_classic_map():
    vocab = vocabulary(CharMap())
    assert vocab["[PAD]"] == 0 and vocab["|"] == 1 and "[UNK]" in vocab and len(vocab) == 44
    with pytest.raises(UserError, match="the space of transformers"):
        vocabulary(CharMap.from_symbols(" |ab"))


def test_the_command(tmp_path):
    (tmp_path / "source").mkdir()
    make_folder(tmp_path / "source")
    save_model(tmp_path / "model.pt", fine_tuned(tmp_path / "source"))
    done = call("export --format huggingface out --modelpath model.pt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert (
        call(
            "test --pretrained out --format huggingface --audiofile x.wav", cwd=tmp_path
        ).returncode
        == 2
    )
    nothing = call("export out2 --modelpath model.pt", cwd=tmp_path)
    assert nothing.returncode == 2 and "needs --format huggingface" in nothing.stderr
