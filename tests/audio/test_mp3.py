"""How much sound mp3 files hold, against what was written into them."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.audio import decode as audio
from asr_ctc.audio import mp3
from asr_ctc.base.errors import AudioError

RATE_HZ = 16_000
NOISE = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE_HZ)
HUM = 0.01 * np.sin(np.arange(6 * RATE_HZ) / 20)


def encode(path, samples=NOISE, rate=RATE_HZ, mode="CONSTANT"):
    soundfile.write(path, samples, rate, format="MP3", bitrate_mode=mode, compression_level=0.5)
    return path


def n_samples(data) -> int:
    return sum(frame.n_samples for frame in mp3.frames(data))


@pytest.mark.few(6)
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE", "AVERAGE"])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
def test_all_frames_are_counted(tmp_path, rate, n_channels, mode):
    samples = np.random.default_rng(1).normal(scale=0.1, size=(rate, n_channels))
    path = encode(tmp_path / "a.mp3", samples, rate, mode)
    n_frames = len(list(mp3.frames(path.read_bytes())))
    grain = 1152 if rate >= 32000 else 576
    assert 0 <= n_frames * grain - rate <= 4 * grain  # the tag, the encoder's delay, the rest
    assert len(audio.load(path, rate)) == rate


@given(st.binary(max_size=4000))
def test_any_bytes_come_to_an_end(data):
    assert sum(frame.n_bytes for frame in mp3.frames(data)) <= len(data)


def test_tags_are_passed_over(tmp_path):
    plain = encode(tmp_path / "a.mp3").read_bytes()
    picture = np.random.default_rng(2).choice([0xFF, 0xFB, 0x90, 0x64], 30_000).astype(np.uint8)
    size = bytes([len(picture) >> 14 & 127, len(picture) >> 7 & 127, len(picture) & 127])
    tagged = b"ID3\x04\0\0\0" + size + picture.tobytes() + plain + b"TAG".ljust(128, b"\0")
    (tmp_path / "tagged.mp3").write_bytes(tagged)
    assert n_samples(tagged) == n_samples(plain)
    np.testing.assert_array_equal(
        audio.load(tmp_path / "tagged.mp3"), audio.load(tmp_path / "a.mp3")
    )


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_several_recordings_in_one_file_are_refused(tmp_path, mode):
    one = encode(tmp_path / "a.mp3", mode=mode).read_bytes()
    other = encode(tmp_path / "b.mp3", HUM, mode=mode).read_bytes()
    (tmp_path / "both.mp3").write_bytes(one + other)
    assert n_samples(one + other) == n_samples(one) + n_samples(other)
    said = r"holds several mp3 files: after 3.10 s another one begins, 6\.\d\d s more"
    with pytest.raises(AudioError, match=said):
        audio.load(tmp_path / "both.mp3")
    with pytest.raises(AudioError, match=said):
        next(audio.blocks(tmp_path / "both.mp3"))


def without_tag(data: bytes) -> bytes:
    """As an encoder writes that cannot go back to the beginning."""
    tag = next(mp3.frames(data))
    assert b"Info" in data[: tag.n_bytes] or b"Xing" in data[: tag.n_bytes]
    return data[tag.n_bytes :]


def best_shift(samples, reference):
    """Samples by which ``samples`` lag behind the reference."""
    n = 1 << (len(samples) + len(reference)).bit_length()
    spectrum = np.fft.rfft(samples, n) * np.conj(np.fft.rfft(reference, n))
    shift = int(np.fft.irfft(spectrum).argmax())
    return shift - n if shift > n // 2 else shift


LOUD_FIRST = np.concatenate([NOISE, HUM])
LOUD, QUIET = NOISE[:RATE_HZ], HUM[: 2 * RATE_HZ]


@pytest.mark.few(4)
@pytest.mark.parametrize("parts", [(LOUD, QUIET), (QUIET, LOUD)], ids=["loud first", "quiet first"])
@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_variable_rate_without_a_tag(tmp_path, parts, rate, n_channels):
    """The decoder guesses from the first frames, and is wrong."""
    samples = np.concatenate(parts)
    channels = np.stack([samples] * n_channels, axis=1)
    whole = encode(tmp_path / "a.mp3", channels, rate, "VARIABLE")
    plain = whole.with_name("plain.mp3")
    plain.write_bytes(without_tag(whole.read_bytes()))
    decoded = audio.load(plain, rate)
    grain = 1152 if rate >= 32000 else 576
    assert 0 <= len(decoded) - len(samples) <= 4 * grain
    assert abs(audio.duration_s(plain) - len(decoded) / rate) < 1e-6
    shift = best_shift(decoded, audio.load(whole, rate))
    assert 0 < shift < 3 * grain  # the delays of the encoder, which the tag would have told
    inside = slice(3 * grain, rate)
    error = decoded[shift:][inside] - audio.load(whole, rate)[inside]
    assert np.abs(error).max() < 1e-4
    assert sum(map(len, audio.blocks(plain, rate, block_s=1.0))) == len(decoded)


NOT_FRAMES = {
    "ID3v2 tag": b"ID3\4\0\0\0\0\x4e\x20" + bytes(10_016),
    "ID3v1 tag": b"TAG".ljust(128, b" "),
    "APE tag": b"APETAGEX".ljust(9000, b"a"),
    "zeros": bytes(5000),
    "noise": np.random.default_rng(3).bytes(3000),
}


@pytest.fixture(scope="module")
def loud_first(tmp_path_factory):
    """{mode: bytes of LOUD_FIRST}"""
    path = tmp_path_factory.mktemp("loud") / "a.mp3"
    return {m: encode(path, LOUD_FIRST, mode=m).read_bytes() for m in ("CONSTANT", "VARIABLE")}


@pytest.mark.few(8)
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("place", ["start", "middle", "end"])
@pytest.mark.parametrize("other", NOT_FRAMES.values(), ids=NOT_FRAMES)
def test_what_is_no_frame_is_passed_over(tmp_path, loud_first, mode, tagged, place, other):
    data = loud_first[mode] if tagged else without_tag(loud_first[mode])
    sizes = np.cumsum([frame.n_bytes for frame in mp3.frames(data)])
    at = {"start": 0, "middle": sizes[len(sizes) // 3], "end": len(data)}[place]
    (tmp_path / "plain.mp3").write_bytes(data)
    (tmp_path / "b.mp3").write_bytes(data[:at] + other + data[at:])
    samples, plain = audio.load(tmp_path / "b.mp3"), audio.load(tmp_path / "plain.mp3")
    assert len(samples) == len(plain)
    assert audio.duration_s(tmp_path / "b.mp3") == len(plain) / RATE_HZ
    assert np.abs(samples[: RATE_HZ // 2] - plain[: RATE_HZ // 2]).max() < 1e-4


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_joined_files_without_tags_are_read_whole(tmp_path, mode):
    """Nothing tells them from one recording, and nothing is lost."""
    one = without_tag(encode(tmp_path / "a.mp3", mode=mode).read_bytes())
    other = without_tag(encode(tmp_path / "b.mp3", HUM, mode=mode).read_bytes())
    (tmp_path / "both.mp3").write_bytes(one + NOT_FRAMES["ID3v2 tag"] + other)
    assert audio.duration_s(tmp_path / "both.mp3") == pytest.approx(9, abs=0.2)
    samples = audio.load(tmp_path / "both.mp3")
    assert len(samples) == pytest.approx(9 * RATE_HZ, abs=0.2 * RATE_HZ)


@pytest.mark.parametrize("rate, n_channels", [(24_000, 1), (RATE_HZ, 2)])
def test_joined_files_of_another_kind_are_refused(tmp_path, rate, n_channels):
    one = without_tag(encode(tmp_path / "a.mp3").read_bytes())
    other = encode(tmp_path / "b.mp3", np.stack([HUM] * n_channels, 1), rate).read_bytes()
    (tmp_path / "both.mp3").write_bytes(one + without_tag(other))
    with pytest.raises(AudioError, match="holds several mp3 files"):
        audio.load(tmp_path / "both.mp3")


def test_a_tag_that_says_too_little_is_overruled(tmp_path):
    whole = bytearray(encode(tmp_path / "a.mp3", LOUD_FIRST, mode="VARIABLE").read_bytes())
    at = whole.index(b"Xing")
    whole[at + 8 : at + 12] = (20).to_bytes(4, "big")
    whole[at + 12 : at + 16] = (5000).to_bytes(4, "big")
    (tmp_path / "b.mp3").write_bytes(whole)
    assert audio.duration_s(tmp_path / "b.mp3") == pytest.approx(9, abs=0.2)
    assert len(audio.load(tmp_path / "b.mp3")) == pytest.approx(9 * RATE_HZ, abs=0.2 * RATE_HZ)


def test_an_incomplete_last_frame_is_noted(tmp_path):
    whole = without_tag(encode(tmp_path / "a.mp3").read_bytes())
    (tmp_path / "b.mp3").write_bytes(whole[: len(whole) // 2 + 5])
    notes: list[str] = []
    list(audio.blocks(tmp_path / "b.mp3", notes=notes))
    assert notes == ["its last frame is incomplete: it may have been cut short"]
    notes.clear()
    list(audio.blocks(tmp_path / "a.mp3", notes=notes))
    assert notes == []
