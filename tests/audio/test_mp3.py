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
HUM = 0.01 * np.sin(np.arange(20 * RATE_HZ) / 20)


def encode(path, samples=NOISE, rate=RATE_HZ, mode="CONSTANT"):
    soundfile.write(path, samples, rate, format="MP3", bitrate_mode=mode, compression_level=0.5)
    return path


def n_samples(data) -> int:
    return sum(frame.n_samples for frame in mp3.frames(data))


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE", "AVERAGE"])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
def test_all_frames_are_counted(tmp_path, rate, n_channels, mode):
    samples = np.random.default_rng(1).normal(scale=0.1, size=(2 * rate, n_channels))
    path = encode(tmp_path / "a.mp3", samples, rate, mode)
    n_frames = len(list(mp3.frames(path.read_bytes())))
    grain = 1152 if rate >= 32000 else 576
    assert 0 <= n_frames * grain - 2 * rate <= 4 * grain  # the tag, the encoder's delay, the rest
    assert len(audio.load(path, rate)) == 2 * rate


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
    said = r"only its first 3.00 s can be decoded, 20\.\d\d s more are in it: several mp3 files"
    with pytest.raises(AudioError, match=said):
        audio.load(tmp_path / "both.mp3")
    with pytest.raises(AudioError, match=said):
        next(audio.blocks(tmp_path / "both.mp3"))


def test_a_guess_that_falls_short_is_refused(tmp_path):
    """Without the tag the decoder guesses from the first frames, which here are the largest."""
    whole = encode(tmp_path / "a.mp3", np.concatenate([NOISE, HUM]), mode="VARIABLE").read_bytes()
    tag = next(mp3.frames(whole))
    (tmp_path / "untagged.mp3").write_bytes(whole[tag.n_bytes :])
    with pytest.raises(AudioError, match=r"only its first \d+.\d\d s can be decoded"):
        audio.load(tmp_path / "untagged.mp3")
