"""tools/pack_for_gpu.py: a subset is a corpus again, within its room."""

import pytest

from asr_ctc.corpus.corpus import find_corpus
from asr_ctc.loading.selection import prepare_split
from tools import pack_for_gpu
from tools.toy_corpus import make_toy_corpus


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """The folder of two corpora. Read only."""
    folder = tmp_path_factory.mktemp("all")
    make_toy_corpus(folder, (6, 3, 2), "digits-1.0", lang="en")
    make_toy_corpus(folder, (20, 6, 6), "other-1.0", lang="fr")
    return folder


@pytest.mark.slow
def test_what_is_packed_is_a_corpus_within_its_room(corpora, tmp_path):
    whole_mib = pack_for_gpu.size_mib(corpora)
    digits_mib = pack_for_gpu.size_mib(corpora / "digits-1.0")
    room_mib = 1 + digits_mib + (whole_mib - digits_mib) / 2
    counts = pack_for_gpu.pack_corpora(corpora, tmp_path / "pack", room_mib)
    assert counts["en"] == [6, 3, 2] and 0 < counts["fr"][0] < 20
    assert pack_for_gpu.size_mib(tmp_path / "pack") < room_mib
    for lang, numbers in counts.items():
        folder = find_corpus(str(tmp_path / "pack"), None, lang)
        for split, number in zip(("train", "dev", "test"), numbers, strict=True):
            corpus = prepare_split(folder, split)
            assert len(corpus) == number and not corpus.excluded
            assert corpus.file(number - 1).is_file()


@pytest.mark.slow
def test_too_little_room_is_refused(corpora, tmp_path):
    with pytest.raises(ValueError, match="0 MiB are left for clips, too few: .* --present"):
        pack_for_gpu.pack_corpora(corpora, tmp_path / "pack", 0.01)


def test_no_corpora_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ASR_CTC_CORPORA", str(tmp_path / "nowhere"))
    monkeypatch.setattr(pack_for_gpu, "download_wheels", lambda *args: None)
    assert pack_for_gpu.main(["--out", str(tmp_path / "pack")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "no corpus VERSION/en" in said and said.count("\n") == 1


def test_a_folder_that_is_no_pack_is_left_as_it_is(corpora, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ASR_CTC_CORPORA", str(corpora))
    monkeypatch.setattr(pack_for_gpu, "download_wheels", lambda *args: None)
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "mine.tsv").write_text("mine")
    assert pack_for_gpu.main(["--out", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "corpora" / "mine.tsv").read_text() == "mine"
    for _ in range(2):  # its own pack it makes again
        assert pack_for_gpu.main(["--out", str(tmp_path / "pack")]) == 0


def test_what_torch_brings_is_not_packed(tmp_path, monkeypatch):
    """Nor what is there: names are compared as PEP 503 says."""

    def pip(command, check):
        for name in ("typing_extensions-4", "NumPy-2", "soxr-1"):
            (tmp_path / f"{name}-py3-none-any.whl").touch()
        assert not [word for word in command if word.startswith("torch=")]
        assert [word for word in command if word.startswith("soundfile>=")]

    monkeypatch.setattr(pack_for_gpu.subprocess, "run", pip)
    pack_for_gpu.download_wheels(tmp_path, "3.12", ["numpy"])
    assert [wheel.name for wheel in tmp_path.iterdir()] == ["soxr-1-py3-none-any.whl"]
