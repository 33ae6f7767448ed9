"""The corpus of digits: the strings that were published, from recordings made up here."""

import csv
import re

import numpy as np
import pytest
import soundfile

from asr_ctc.corpus.corpus import find_corpus, load_split
from tests.helpers.corpora import corpus_folder
from tools import make_digits_corpus as digits


def read_tsv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="module")
def recordings():
    """A constant of its own for each, an eighth of a second long."""
    keys = [(d, person, i) for d in range(10) for person in digits.PEOPLE for i in range(50)]
    return {key: np.full(1000, 0.1 + 0.0002 * n, dtype=np.float32) for n, key in enumerate(keys)}


@pytest.mark.slow
def test_the_strings_are_those_that_were_published():
    folder = corpus_folder("digits-1.0", "en")
    for split, strings in digits.draw_strings().items():
        assert list(digits.rows(strings)) == read_tsv(folder / f"{split}.tsv")


def test_each_split_has_recordings_of_its_own():
    splits = digits.draw_strings()
    assert {split: len(strings) for split, strings in splits.items()} == {
        "train": 2000,
        "dev": 200,
        "test": 300,
    }
    used = {
        split: {index for string in strings for index in string.recordings}
        for split, strings in splits.items()
    }
    assert used == {"train": set(range(10, 50)), "dev": set(range(5, 10)), "test": set(range(5))}
    for string in splits["train"]:
        assert 2 <= len(string.digits) == len(string.recordings) == len(string.pauses_s) - 1 <= 7
        assert all(0.03 <= pause_s <= 0.25 for pause_s in string.pauses_s)


def test_a_string_is_its_recordings_between_pauses(recordings):
    string = digits.DigitString("x.mp3", "theo", [3, 0], [10, 49], [0.1, 0.05, 0.2])
    assert string.sentence == "Three zero."
    samples = digits.join(string, recordings)
    assert len(samples) == 2 * (800 + 1000 + 400 + 1000 + 1600)
    middle = [samples[2600], samples[5400]]
    expected = [recordings[3, "theo", 10][0], recordings[0, "theo", 49][0]]
    assert middle == pytest.approx(expected, abs=0.002)
    assert 0.0005 < samples[:1500].std() < 0.0015
    assert np.array_equal(samples, digits.join(string, recordings))
    other = digits.join(string._replace(name="y.mp3"), recordings)
    assert not np.array_equal(samples, other)


@pytest.fixture
def source(tmp_path, recordings):
    folder = tmp_path / "free-spoken-digit-dataset" / "recordings"
    folder.mkdir(parents=True)
    for (digit, person, index), samples in recordings.items():
        soundfile.write(folder / f"{digit}_{person}_{index}.wav", samples, 8000)
    (folder / "README.md").write_text("recordings")
    return folder.parent


@pytest.mark.slow
def test_the_corpus_is_whole_and_the_same_each_time(source, tmp_path, monkeypatch, capsys):
    few = {"train": (6, range(10, 50)), "dev": (2, range(5, 10)), "test": (3, range(0, 5))}
    monkeypatch.setattr(digits, "SPLITS", few)
    out = tmp_path / "data"
    assert digits.main([str(source), "--out", str(out)]) == 0
    command = f"--config configs/digits.yaml --datasetroot {out} --datasetversion digits-1.0"
    assert command in capsys.readouterr().out
    folder = find_corpus(str(out), None, "en")
    assert folder == out / "digits-1.0" / "en"
    for split, (n, _) in few.items():
        corpus = load_split(folder, split)
        assert len(corpus) == n
        for i in range(n):
            about = soundfile.info(corpus.file(i))
            assert (about.samplerate, about.channels, about.format) == (16_000, 1, "MP3")
            assert re.fullmatch(rf"digits_{split}_0000{i}\.mp3", corpus.path(i))
    assert digits.main([str(source / "recordings"), "--out", str(tmp_path / "again")]) == 0
    again = tmp_path / "again" / "digits-1.0" / "en"
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 3 + 11
    assert all((folder / file).read_bytes() == (again / file).read_bytes() for file in files)
    assert digits.main([str(source), "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.slow
def test_what_cannot_be_used(source, tmp_path, capsys):
    def refused(message):
        assert digits.main([str(source), "--out", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "out").exists()

    file = source / "recordings" / "3_theo_7.wav"
    whole = file.read_bytes()
    file.unlink()
    refused("1 of 3000 recordings are not there, the first is 3_theo_7.wav: git clone")
    file.write_bytes(b"not audio")
    refused("3_theo_7.wav: cannot be read")
    soundfile.write(file, np.zeros(100), 16_000)
    refused("is not a mono recording of 8000 Hz")
    file.write_bytes(whole[:44])
    refused("3_theo_7.wav")


def test_a_folder_that_is_not_the_data_set(tmp_path, capsys):
    assert digits.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "3000 of 3000 recordings are not there" in capsys.readouterr().err
