"""Stretches of long recordings as clips: the right samples, and what cannot be cut."""

import json

import numpy as np
import pytest
import soundfile

from asr_ctc.corpus.layouts.registry import read_table
from tests.corpus.layouts.test_lhotse import recording, supervision, write
from tools import cut_segments

RATE = 16_000


def write_recording(file, n_seconds):
    """Second i of it is a constant of i / 100."""
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, np.repeat(np.arange(n_seconds) / 100, RATE), RATE)


def write_nemo(file, entries):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return file


def entry(path, offset, duration, text="Ab.", **more):
    return {"audio_filepath": path, "offset": offset, "duration": duration, "text": text, **more}


def levels(out, split="train"):
    """(sentence, seconds, level in hundredths) of each clip."""
    table = read_table("manifest", out, split)
    found = []
    for path, sentence in zip(table.paths, table.sentences, strict=True):
        samples, rate = soundfile.read(out / path)
        assert rate == RATE
        found.append((sentence, len(samples) / RATE, round(100 * float(np.median(samples)))))
    assert table.duration_s.tolist() == pytest.approx([seconds for _, seconds, _ in found])
    return found


def test_entries_of_nemo(tmp_path, capsys):
    write_recording(tmp_path / "mine" / "a.wav", 9)
    write_recording(tmp_path / "mine" / "b.wav", 4)
    entries = [
        entry("a.wav", 2, 1, "Two.", speaker=0),
        entry("a.wav", 5.25, 0.5, "Five."),
        entry("b.wav", 0, 1, "Zero."),
        entry("a.wav", 8, 1.05, "To the end."),
    ]
    table = write_nemo(tmp_path / "mine" / "train.jsonl", entries)
    assert cut_segments.main([str(table), "--out", str(tmp_path / "cut")]) == 0
    assert capsys.readouterr().out == f"written: {tmp_path}/cut/train.jsonl\n"
    expected = [("Two.", 1, 2), ("Five.", 0.5, 5), ("Zero.", 1, 0), ("To the end.", 1, 8)]
    assert levels(tmp_path / "cut") == expected
    assert list(read_table("manifest", tmp_path / "cut", "train").speakers)[0] == "0"
    assert cut_segments.main([str(table), "--out", str(tmp_path / "cut")]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "names",
    [("train/recordings", "train/supervisions"), ("x_recordings_train", "x_supervisions_train")],
)
def test_supervisions_of_lhotse(tmp_path, names):
    segments = [supervision("s", "a", 3, 1), supervision("t", "a", 1, 1), supervision("u", "no")]
    folder = write(tmp_path, [recording("a", 6.0)], segments, names)
    table = folder / f"{names[1]}.jsonl.gz"
    write_recording(table.parent / "audio" / "a.wav", 6)
    assert cut_segments.main([str(table), "--out", str(tmp_path / "cut")]) == 0
    assert levels(tmp_path / "cut") == [("Text s.", 1, 3), ("Text t.", 1, 1)]


def test_entries_that_cannot_be_cut_are_named(tmp_path, capsys):
    write_recording(tmp_path / "a.wav", 3)
    (tmp_path / "noise.wav").write_bytes(b"not audio")
    entries = [
        entry("a.wav", 0, 1, "Kept."),
        entry("absent.wav", 0, 1),
        entry("noise.wav", 0, 1),
        entry("a.wav", 50, 1),
        entry("a.wav", 2.5, 10, "More than there is."),
        entry("a.wav", -1, 1),
        entry("a.wav", 0, "x"),
        {"audio_filepath": "a.wav"},
        [],
    ]
    table = write_nemo(tmp_path / "train.jsonl", entries)
    assert cut_segments.main([str(table), "--out", str(tmp_path / "cut")]) == 0
    said = capsys.readouterr().err
    assert [line.partition(":")[0] for line in said.splitlines()] == ["left out"] * 8
    assert "line 5: ends after the end of a.wav" in said
    assert "line 4: begins after the end of a.wav" in said and "no such file" in said
    assert levels(tmp_path / "cut") == [("Kept.", 1, 0)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.jsonl", "", "nothing could be cut"),
        ("train.jsonl", '{"text": "a"}\n', "nothing could be cut"),
        ("supervisions_train.jsonl", "{}\n", "recordings_train.jsonl: cannot be read"),
        ("absent.jsonl", None, "absent.jsonl: cannot be read"),
    ],
)
def test_tables_of_no_use(tmp_path, capsys, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert cut_segments.main([str(tmp_path / name), "--out", str(tmp_path / "cut")]) == 2
    assert message in capsys.readouterr().err
