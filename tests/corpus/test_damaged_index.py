"""Index files with any byte flipped: what was kept is found again, with a line, never wrong."""

import json
import logging
import os
import random

import numpy as np
import pytest

from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.corpus.transcripts import character_counts

N = 12


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "v-1.0" / "fr"
    (folder / "clips").mkdir(parents=True)
    rows = "".join(f"{i}.wav\tUn {i}.\n" for i in range(N))
    (folder / "train.tsv").write_text("path\tsentence\n" + rows)
    listed = "".join(f"{i}.wav\t{1000 + i}\n" for i in range(N))
    (folder / "clip_durations.tsv").write_text(listed)
    return folder


def found(folder, index_dir):
    corpus = with_durations(load_split(folder, "train", index_dir=index_dir))
    return corpus.durations.tolist(), character_counts(corpus)


def damages(content):
    """Every kind of damage at a seeded sample of positions, the structure's ones all."""
    draw = random.Random(0)
    yield from (b"", content[:1], content[:-1], content + b"x", b"PK\x05\x06" + bytes(18))
    for _ in range(10):
        yield content[: draw.randrange(len(content))]
    for place in draw.sample(range(len(content)), 100):
        yield (
            content[:place]
            + bytes([content[place] ^ 1 << draw.randrange(8)])
            + content[place + 1 :]
        )


@pytest.mark.slow
def test_any_damage_is_found_and_mended(folder, tmp_path, log_everything, caplog):
    index_dir = tmp_path / "index"
    expected = found(folder, index_dir)
    files = sorted(index_dir.glob("*.npz"))
    assert len(files) == 2
    for file in files:
        whole, n_told = file.read_bytes(), 0
        for content in damages(whole):
            file.write_bytes(content)
            caplog.clear()
            assert found(folder, index_dir) == expected
            told = [m for m in caplog.messages if "damaged" in m]
            assert len(told) <= 1 and all(file.name in m for m in told)
            n_told += len(told)
            if told:  # and it is whole again
                caplog.clear()
                assert found(folder, index_dir) == expected and caplog.messages == []
            file.write_bytes(whole)
        assert n_told > 80


def test_a_folder_in_the_place_of_an_index_file(folder, tmp_path, log_everything, caplog):
    expected = found(folder, tmp_path / "index")
    for file in sorted((tmp_path / "index").glob("*.npz")):
        file.unlink()
        file.mkdir()
    assert found(folder, tmp_path / "index") == expected
    assert sum("is damaged" in message for message in caplog.messages) == 2
    assert sum("the index is not kept" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("identity", ["[]", "5", "null", '{"a": 1}', '{"a": {}}', "[" * 5000])
def test_an_index_of_another_kind(folder, tmp_path, identity):
    expected = found(folder, tmp_path / "index")
    for file in sorted((tmp_path / "index").glob("*.npz")):
        with open(file, "wb") as other:
            np.savez(other, identity=np.array(identity), x=np.zeros(N))
    assert found(folder, tmp_path / "index") == expected


# --- Listed durations ----------------------------------------------------------------------------


def write_manifest(folder, seconds):
    folder.mkdir(parents=True)
    rows = [
        json.dumps({"path": f"{i}.wav", "sentence": "Un.", "duration": s})
        for i, s in enumerate(seconds)
    ]
    (folder / "train.jsonl").write_text("\n".join(rows))


def durations_of(folder, monkeypatch, measured=2.0):
    monkeypatch.setattr("asr_ctc.audio.decode.duration_s", lambda path: measured)
    return with_durations(load_split(folder, "train", "manifest")).durations.tolist()


def test_durations_in_milliseconds_are_not_used(tmp_path, monkeypatch, log_everything, caplog):
    write_manifest(tmp_path / "ms", [4000, 5500, 3000, 700])
    assert durations_of(tmp_path / "ms", monkeypatch) == [2.0] * 4
    (told,) = [m for m in caplog.messages if "milliseconds" in m]
    assert "median of 3500 s" in told


def test_impossible_durations_are_measured(tmp_path, monkeypatch, log_everything, caplog):
    odd = [1e10, float("nan"), -3, 0, 10**400, [], True, None, "long", "1e999"]
    write_manifest(tmp_path / "odd", [3.0, 4.0, 5.0, *odd])
    found = durations_of(tmp_path / "odd", monkeypatch)
    assert found == [3.0, 4.0, 5.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert not [m for m in caplog.messages if "median" in m]


def test_long_recordings_are_no_milliseconds(tmp_path, monkeypatch):
    write_manifest(tmp_path / "long", [500.0, 550.0, 3600.0])
    assert durations_of(tmp_path / "long", monkeypatch) == [500.0, 550.0, 3600.0]


def test_a_list_of_milliseconds_that_holds_seconds(folder, monkeypatch, log_everything, caplog):
    listed = "".join(f"{i}.wav\t{2 + i / 10}\n" for i in range(N))
    (folder / "clip_durations.tsv").write_text(listed)
    monkeypatch.setattr("asr_ctc.audio.decode.duration_s", lambda path: 2.5)
    assert with_durations(load_split(folder, "train")).durations.tolist() == [2.5] * N
    assert any("another unit" in m for m in caplog.messages)
    assert logging.getLogger("asr_ctc").propagate and os.path.exists(folder)
