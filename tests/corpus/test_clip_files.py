"""Names of clips as disks have them: other Unicode forms, NUL, bytes that are no text."""

import os
import unicodedata

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import AudioError
from asr_ctc.corpus.clip_files import find_clip
from asr_ctc.corpus.columns import Categories, Strings
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.exclude import exclude_listed, read_excluded

FORMS = "NFC", "NFD"


@pytest.mark.parametrize("listed", FORMS)
@pytest.mark.parametrize("on_disk", FORMS)
@pytest.mark.parametrize("name", ["été.wav", "dossier é/café ü.wav", "각하.wav", "é/ộ/ậ.wav"])
def test_the_other_form_is_found(tmp_path, listed, on_disk, name):
    file = tmp_path / unicodedata.normalize(on_disk, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("sound")
    found = find_clip(tmp_path, unicodedata.normalize(listed, name))
    assert found == file and found.read_text() == "sound"
    absolute = find_clip(
        tmp_path / "elsewhere", str(tmp_path / unicodedata.normalize(listed, name))
    )
    assert absolute == file


def test_a_form_that_is_neither(tmp_path):
    mixed = "e\u0301t\u00e9.wav"
    (tmp_path / mixed).write_text("sound")
    for form in FORMS:
        assert find_clip(tmp_path, unicodedata.normalize(form, mixed)) == tmp_path / mixed
    (tmp_path / mixed).unlink()
    assert find_clip(tmp_path, "été.wav") == tmp_path / "été.wav"


def test_both_forms_are_two_files(tmp_path):
    for form in FORMS:
        (tmp_path / unicodedata.normalize(form, "é")).write_text(form)
    for form in FORMS:
        assert find_clip(tmp_path, unicodedata.normalize(form, "é")).read_text() == form


def test_no_folder_is_listed_for_a_file_that_is_there(tmp_path, monkeypatch):
    (tmp_path / "é").write_text("")
    (tmp_path / "a").write_text("")
    monkeypatch.setattr(os, "listdir", None)
    for name in "é", "a", "none", "\0é", unicodedata.normalize("NFD", "é"):
        find_clip(tmp_path, name)


def test_absent_files_list_their_folder_once(tmp_path, monkeypatch):
    calls, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: calls.append(path) or listdir(path))
    for i in range(100):
        find_clip(tmp_path, f"é{i}")
    assert len(calls) == 1


@given(st.lists(st.binary()))
def test_columns_keep_names_that_are_no_text(names):
    texts = [os.fsdecode(name) for name in names]
    assert list(Strings(texts)) == list(Categories(texts)) == texts


def sound(path):
    with open(path, "wb") as file:
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16_000)
        soundfile.write(file, noise, 16_000, format="WAV")


def test_a_corpus_with_both(tmp_path):
    """NFD on the disk, NFC in the table; a NUL in a path; all others as ever."""
    folder = tmp_path / "v-1.0" / "fr"
    (folder / "clips").mkdir(parents=True)
    for name in unicodedata.normalize("NFD", "été.wav"), "a.wav", "b.wav":
        sound(folder / "clips" / name)
    (folder / "train.tsv").write_text(
        "path\tsentence\nété.wav\tUn.\na.wav\tDeux.\nb.wav\tTrois.\nc\0.wav\tQuatre.\n"
    )
    corpus = with_durations(load_split(folder, "train", index_dir=tmp_path / "index"))
    assert corpus.durations.tolist() == [1.0] * 3
    ((clip, reason),) = corpus.excluded
    assert clip == "train.tsv line 5" and "control character" in reason
    assert len(audio.load(corpus.file(0))) == 16_000
    again = with_durations(load_split(folder, "train", index_dir=tmp_path / "index"))
    assert again.excluded == corpus.excluded
    with pytest.raises(AudioError, match="NUL"):
        audio.load("a\0b")


def test_a_speakers_folder_that_is_no_text(tmp_path):
    name = os.fsdecode(b"train-\xe9")
    chapter = tmp_path / name / "1" / "2"
    chapter.mkdir(parents=True)
    sound(chapter / "1-2-0.flac")
    (chapter / "1-2.trans.txt").write_text("1-2-0 UN\n")
    corpus = with_durations(
        load_split(tmp_path, "train", "librispeech", index_dir=tmp_path / "index")
    )
    assert corpus.path(0) == f"{name}/1/2/1-2-0.flac" and corpus.durations.tolist() == [1.0]
    listed = tmp_path / "exclude.txt"
    listed.write_bytes(os.fsencode(corpus.path(0)) + b"\t# no\nother\n")
    excluded = read_excluded(listed)
    assert set(excluded) == {corpus.path(0), "other"}
    assert exclude_listed(corpus, {"other": ""}).rows.tolist() == [0]
