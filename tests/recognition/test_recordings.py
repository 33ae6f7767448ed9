"""What --audiofile finds in folders, and what it says it does not."""

import sys

import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.recognition.recordings import find_recordings


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


@pytest.fixture
def without_pyav(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)


def test_what_needs_pyav_is_named(tmp_path, without_pyav, caplog, log_everything):
    make(tmp_path, "a.wav", "b.txt", "c.m4a", "deep/d.WebM", "e.amr", "f.3gp", "README")
    assert find_recordings([str(tmp_path)]) == [tmp_path / "a.wav"]
    (said,) = caplog.messages
    assert said == (
        f"note: {tmp_path}: skipped 4 recordings for want of a package (pip install av): "
        "c.m4a, deep/d.WebM, e.amr, ..."
    )


def test_a_folder_of_nothing_else(tmp_path, without_pyav):
    make(tmp_path, "c.m4a")
    with pytest.raises(UserError, match=r"holds no audio; skipped 1 recording .*av\): c.m4a$"):
        find_recordings([str(tmp_path)])


def test_with_pyav_they_are_found(tmp_path, monkeypatch, caplog, log_everything):
    monkeypatch.setitem(sys.modules, "av", sys)
    make(tmp_path, "a.wav", "c.m4a")
    assert find_recordings([str(tmp_path)]) == [tmp_path / "a.wav", tmp_path / "c.m4a"]
    assert caplog.messages == []


def test_linked_folders_are_read_once(tmp_path, caplog, log_everything):
    make(tmp_path, "in/a.wav", "elsewhere/b.wav")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in")
    found = find_recordings([str(tmp_path / "in")])
    assert found == [tmp_path / "in" / "a.wav", tmp_path / "in" / "link" / "b.wav"]


@pytest.mark.parametrize("word", ["a\0.wav", "a" * 5000 + ".wav", "no\udcff.wav", "\0*"])
def test_names_that_no_file_can_have_are_left_to_the_reader(tmp_path, word):
    from asr_ctc.audio import decode as audio
    from asr_ctc.base.errors import AudioError

    try:
        (file,) = find_recordings([word])
    except UserError:
        assert "*" in word
        return
    with pytest.raises(AudioError):
        audio.load(file)
