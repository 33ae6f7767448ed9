"""What files hold against what their headers say: made by a writer, then changed by hand."""

import io
import struct

import numpy as np
import pytest
import soundfile

from asr_ctc.audio import decode as audio
from asr_ctc.audio.containers import JoinedParts
from asr_ctc.base.errors import AudioError

RATE_HZ = 16_000
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.normal(scale=0.1, size=2 * RATE_HZ).astype(np.float32)
HUM = (0.1 * np.sin(np.arange(RATE_HZ) / 20)).astype(np.float32)


def encode(kind: str, subtype: str, samples=NOISE, rate=RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def overwrite(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def decode(tmp_path, data: bytes) -> np.ndarray:
    """What load gives; blocks and duration must agree."""
    path = tmp_path / "clip"
    path.write_bytes(data)
    samples = audio.load(path)
    np.testing.assert_array_equal(np.concatenate(list(audio.blocks(path, block_s=0.3))), samples)
    assert audio.duration_s(path) == len(samples) / RATE_HZ
    return samples


def refused(tmp_path, data: bytes) -> str:
    """Why load and blocks refuse it."""
    path = tmp_path / "clip"
    path.write_bytes(data)
    with pytest.raises(AudioError) as caught:
        audio.load(path)
    with pytest.raises(AudioError) as again:
        list(audio.blocks(path))
    assert again.value.reason == caught.value.reason
    return caught.value.reason


def without_length(kind: str, subtype: str, placeholder: int) -> bytes:
    """As a writer leaves it that never comes back: 0 for nothing yet, or all bits, or the half."""
    data = encode(kind, subtype)
    if kind in ("WAV", "WAVEX"):
        at, form, total_at, none = data.index(b"data") + 4, "<I", 4, 0
    elif kind == "RF64":
        at, form, total_at, none = data.index(b"ds64") + 16, "<Q", data.index(b"ds64") + 8, 0
    elif kind == "AIFF":
        at, form, total_at, none = data.index(b"SSND") + 4, ">I", 4, 8
    elif kind == "AU":
        at, form, total_at, none = 8, ">I", None, 0
    elif kind == "CAF":
        at, form, total_at, none = data.index(b"data") + 4, ">Q", None, 4
    elif kind == "W64":
        at, form, total_at, none = data.index(b"data\xf3\xac") + 16, "<Q", 16, 24
    most = 2 ** (8 * struct.calcsize(form)) - 1
    length = struct.pack(form, {0: none, 1: most, 2: most // 2}[placeholder])
    if kind == "AIFF":
        data = overwrite(data, data.index(b"COMM") + 10, bytes(4))
    data = data if total_at is None else overwrite(data, total_at, length)
    return overwrite(data, at, length)


CHUNKED = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("W64", "PCM_16"),
]
ALL = [*CHUNKED, ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS")]


@pytest.mark.parametrize("kind, subtype", ALL)
def test_whole_files_are_read_whole(tmp_path, kind, subtype):
    assert len(decode(tmp_path, encode(kind, subtype))) == len(NOISE)


@pytest.mark.few(6)
@pytest.mark.parametrize("placeholder", [0, 1, 2])
@pytest.mark.parametrize("kind, subtype", CHUNKED)
def test_a_header_that_was_never_finished(tmp_path, kind, subtype, placeholder):
    samples = decode(tmp_path, without_length(kind, subtype, placeholder))
    np.testing.assert_array_equal(samples, decode(tmp_path, encode(kind, subtype)))


@pytest.mark.parametrize("kind, subtype", CHUNKED)
def test_a_file_without_samples_is_no_unfinished_one(tmp_path, kind, subtype):
    assert "no samples" in refused(tmp_path, encode(kind, subtype, NOISE[:0]))


def test_an_empty_wav_with_a_chunk_behind_its_samples(tmp_path):
    data = encode("WAV", "PCM_16", NOISE[:0]) + b"LIST" + struct.pack("<I", 2000) + bytes(2000)
    assert "no samples" in refused(tmp_path, data)


@pytest.mark.few(6)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind, subtype", [*ALL, ("CAF", "ALAC_16")])
def test_cut_short(tmp_path, kind, subtype, share):
    data = encode(kind, subtype)
    reason = refused(tmp_path, data[: int(share * len(data))])
    assert "truncated" in reason or (subtype == "ALAC_16" and "not audio" in reason)


@pytest.mark.few(3)
@pytest.mark.parametrize("kind, subtype", CHUNKED)
def test_a_long_recording_that_lacks_its_last_second(tmp_path, kind, subtype):
    """A hundredth of it: more than nothing."""
    data = encode(kind, subtype, np.resize(NOISE, 100 * RATE_HZ))
    n_bytes = len(encode(kind, subtype, NOISE[:RATE_HZ])) - len(encode(kind, subtype, NOISE[:0]))
    said = r"truncated: 99.00 s decoded of 100.00 s announced"
    assert refused(tmp_path, data[:-n_bytes]) == said.replace("\\", "")


@pytest.mark.parametrize("kind, subtype", [*CHUNKED, ("FLAC", "PCM_16")])
def test_several_recordings_are_refused(tmp_path, kind, subtype):
    one, other = encode(kind, subtype), encode(kind, subtype, HUM)
    assert "holds several recordings" in refused(tmp_path, one + other)


@pytest.mark.parametrize("placeholder", [0, 1])
@pytest.mark.parametrize("kind, subtype", CHUNKED)
def test_several_recordings_of_unknown_length_are_refused(tmp_path, kind, subtype, placeholder):
    one = without_length(kind, subtype, placeholder)
    assert "holds several recordings" in refused(tmp_path, one + one)


def test_recordings_of_two_formats_in_a_file(tmp_path):
    for other in encode("FLAC", "PCM_16"), encode("OGG", "OPUS"), encode("AIFF", "PCM_16"):
        data = encode("WAV", "PCM_16") + other
        assert "holds several recordings" in refused(tmp_path, data)


def test_chunks_after_the_samples_are_no_recording(tmp_path):
    plain = decode(tmp_path, encode("WAV", "PCM_16", NOISE[:-1]))
    tag = b"LIST" + struct.pack("<I", 4) + b"INFO" + b"id3 " + struct.pack("<I", 3) + b"ID3\0"
    for rest in tag, b"\0" * 77, b"TAG".ljust(128), b"\0":
        data = encode("WAV", "PCM_16", NOISE[:-1]) + rest
        np.testing.assert_array_equal(decode(tmp_path, data), plain)


# --- FLAC ----------------------------------------------------------------------------------------


def without_total(data: bytes) -> bytes:
    """FLAC as an encoder writes it that cannot go back: no number of samples, no checksum."""
    return data[:21] + bytes([data[21] & 0xF0]) + bytes(20) + data[42:]


@pytest.mark.few(1)
@pytest.mark.parametrize("n_samples", [1, 100, 4095, 4096, 4097, 32_000, 700_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_flac_that_announces_no_length(tmp_path, n_samples, channels):
    samples = np.stack([np.resize(NOISE, n_samples)] * channels, axis=1)
    data = encode("FLAC", "PCM_16", samples)
    found = decode(tmp_path, without_total(data))
    np.testing.assert_array_equal(found, decode(tmp_path, data))
    assert len(found) == n_samples


def test_flac_without_a_length_after_a_tag(tmp_path):
    tag = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    assert len(decode(tmp_path, tag + without_total(encode("FLAC", "PCM_16")))) == len(NOISE)


def test_flac_without_a_length_cut_short(tmp_path):
    data = without_total(encode("FLAC", "PCM_16"))
    assert "truncated" in refused(tmp_path, data[: len(data) // 2])


def test_flac_without_a_length_twice(tmp_path):
    data = without_total(encode("FLAC", "PCM_16"))
    assert "holds several recordings" in refused(tmp_path, data + data)


# --- Ogg -----------------------------------------------------------------------------------------


@pytest.mark.few(1)
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_chain_is_read_to_its_last_link(tmp_path, subtype):
    one, other = encode("OGG", subtype), encode("OGG", subtype, HUM)
    parts = decode(tmp_path, one), decode(tmp_path, other), decode(tmp_path, one)
    np.testing.assert_array_equal(decode(tmp_path, one + other + one), np.concatenate(parts))


@pytest.mark.few(2)
@pytest.mark.parametrize("rate, channels", [(24_000, 1), (RATE_HZ, 2)])
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_links_of_different_kinds_are_refused(tmp_path, subtype, rate, channels):
    other = encode("OGG", subtype, np.stack([HUM] * channels, axis=1), rate)
    assert "several recordings of different" in refused(tmp_path, encode("OGG", subtype) + other)


def test_a_part_of_a_chain(tmp_path):
    data = encode("OGG", "VORBIS") + encode("OGG", "VORBIS", HUM)
    whole = decode(tmp_path, data)
    for start_s in 0.5, 1.9, 2.0, 2.25, 99.0:
        part = audio.load_part(tmp_path / "clip", start_s=start_s, length_s=0.1)
        begin = min(int(start_s * RATE_HZ), len(whole) - 1)
        n = min(1600, (len(NOISE) if begin < len(NOISE) else len(whole)) - begin)
        np.testing.assert_allclose(part, whole[begin : begin + n], atol=1e-6)


@pytest.mark.few(1)
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_stream_that_ends_without_its_last_page(tmp_path, subtype):
    """Some recorders never mark the end: read, and said."""
    data = encode("OGG", subtype, np.resize(NOISE, 10 * RATE_HZ))
    path = tmp_path / "a.ogg"
    path.write_bytes(data[: data.rindex(b"OggS")])
    notes: list[str] = []
    n_samples = sum(map(len, audio.blocks(path, notes=notes)))
    assert 0 < n_samples < 10 * RATE_HZ
    assert notes == ["it has no last page (end of stream): it may have been cut short"]
    path.write_bytes(data)
    notes.clear()
    assert sum(map(len, audio.blocks(path, notes=notes))) == 10 * RATE_HZ and notes == []


# --- Parts ---------------------------------------------------------------------------------------


def test_joined_parts_are_a_file(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(100)))
    whole = b"head" + bytes(range(10, 20)) + b"-" + bytes(range(50, 100))
    with open(path, "rb") as file:
        joined = JoinedParts(file, [b"head", (10, 20), b"-", (50, 100)])
        assert joined.read() == whole
        for place in range(len(whole) + 2):
            for n_bytes in 0, 1, 5, 30, 99:
                joined.seek(place)
                assert joined.read(n_bytes) == whole[place : place + n_bytes]
                assert joined.tell() == max(place, min(place + n_bytes, len(whole)))
        assert joined.seek(-3, io.SEEK_END) == len(whole) - 3
        assert joined.seek(1, io.SEEK_CUR) == len(whole) - 2
        assert joined.read() == whole[-2:]
