"""Manifests of lhotse, zipped or not, and every way in which they can be of no use."""

import gzip
import json

import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.corpus.layouts.registry import read_table


def recording(name, duration=2.0, **changes):
    source = {"type": "file", "channels": [0], "source": f"audio/{name}.wav"}
    record = {"id": name, "sources": [source], "sampling_rate": 16000, "duration": duration}
    return {**record, "num_samples": int(16000 * duration), **changes}


def supervision(name, of=None, start=0.0, duration=2.0, **changes):
    record = {"id": name, "recording_id": of or name, "start": start, "duration": duration}
    return {**record, "channel": 0, "text": f"Text {name}.", "speaker": "p", **changes}


def write(folder, recordings, supervisions, names=("train/recordings", "train/supervisions")):
    for name, records in zip(names, (recordings, supervisions), strict=True):
        file = folder / f"{name}.jsonl.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(record) + "\n" for record in records)
        file.write_bytes(gzip.compress(text.encode()))
    return folder


PAIR = [recording("a"), recording("b", 3.5)], [supervision("b", duration=3.5), supervision("a")]


@pytest.mark.parametrize(
    "names",
    [
        ("train/recordings", "train/supervisions"),
        ("cv-ka_recordings_train", "cv-ka_supervisions_train"),
        ("recordings_train", "supervisions_train"),
    ],
)
def test_supervisions_are_clips(tmp_path, names):
    table = read_table("lhotse", write(tmp_path, *PAIR, names), "train")
    assert list(table.paths) == ["audio/b.wav", "audio/a.wav"] and table.clips == tmp_path
    assert list(table.sentences) == ["Text b.", "Text a."] and list(table.speakers) == ["p", "p"]
    assert table.duration_s.tolist() == [3.5, 2.0] and not table.excluded


def test_plain_files_are_the_same(tmp_path):
    zipped = read_table("lhotse", write(tmp_path, *PAIR), "train")
    for kind in "recordings", "supervisions":
        file = tmp_path / "train" / f"{kind}.jsonl.gz"
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    plain = read_table("lhotse", tmp_path, "train")
    assert plain.fingerprint == zipped.fingerprint and list(plain.paths) == list(zipped.paths)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (supervision("x"), "its recording is not listed"),
        (supervision("url"), "not a single file"),
        (supervision("two"), "not a single file"),
        (supervision("stereo"), "several channels"),
        (supervision("faster"), "transforms"),
        (supervision("bad"), "no id, sources and duration"),
        (supervision("a", start=None), "no object with start, duration and text"),
        (supervision("a", duration=0), "no object with"),
        (supervision("a", text=7), "no object with"),
        ({}, "no object with"),
    ],
)
def test_supervisions_that_are_left_out(tmp_path, record, reason):
    url = {"type": "url", "channels": [0], "source": "https://example.org/x.wav"}
    one = recording("a")["sources"]
    stereo = [{**one[0], "channels": [0, 1]}]
    recordings = [
        recording("a"),
        recording("b"),
        recording("url", sources=[url]),
        recording("two", sources=[*one, *one]),
        recording("stereo", sources=stereo),
        recording("faster", transforms=[{"name": "Speed"}]),
        {"id": "bad"},
    ]
    ends = [supervision("b"), record]
    table = read_table("lhotse", write(tmp_path, recordings, ends), "train")
    assert list(table.paths) == ["audio/b.wav"]
    [(clip, why)] = table.excluded
    assert clip == "supervisions.jsonl.gz record 2" and reason in why


@pytest.mark.parametrize(
    "supervisions",
    [
        [supervision("x", "a", start=0.5, duration=1.5)],
        [supervision("x", "a", duration=1.0)],
        [supervision("x", "a"), supervision("y", "a")],
    ],
)
def test_parts_of_recordings_are_refused_with_what_cuts_them(tmp_path, supervisions):
    folder = write(tmp_path, [recording("a")], supervisions)
    message = r"x is a part of its recording: .*`python tools/cut_segments\.py .*supervisions\.json"
    with pytest.raises(UserError, match=message):
        read_table("lhotse", folder, "train")


def test_pairs_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"looked for one .*train/recordings\.jsonl.*found none"):
        read_table("lhotse", tmp_path, "train")
    write(tmp_path, *PAIR)
    write(tmp_path, *PAIR, ("recordings_train", "supervisions_train"))
    with pytest.raises(UserError, match=r"train/recordings\.jsonl\.gz, .*recordings_train"):
        read_table("lhotse", tmp_path, "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"{}\n", "is no whole gzip file"),
        (gzip.compress(b"{}\n" * 1000, mtime=0)[:-9], "is no whole gzip file"),
        (gzip.compress(b"x" * (1 << 25), mtime=0), "line 1 is longer"),
    ],
)
def test_files_that_are_damaged(tmp_path, content, message):
    write(tmp_path, *PAIR)
    (tmp_path / "train" / "recordings.jsonl.gz").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_table("lhotse", tmp_path, "train")


def test_lines_that_are_no_objects_are_left_out(tmp_path):
    write(tmp_path, *PAIR)
    file = tmp_path / "train" / "supervisions.jsonl.gz"
    lines = [b"[1]", b"null", b"{", b"\xff", b"[" * 100_000, json.dumps(supervision("a")).encode()]
    file.write_bytes(gzip.compress(b"\n".join(lines)))
    table = read_table("lhotse", tmp_path, "train")
    assert list(table.paths) == ["audio/a.wav"] and len(table.excluded) == 5
