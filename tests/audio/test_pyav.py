"""What phones and browsers record: through PyAV where it is, with what to install where not."""

import io
import sys

import numpy as np
import pytest

from asr_ctc.audio import decode as audio
from asr_ctc.audio import pyav
from asr_ctc.base.errors import AudioError

RATE_HZ = 16_000
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE_HZ) / RATE_HZ)).astype(np.float32)
RECORDERS = {
    "m4a": ("ipod", "aac", 16_000),
    "mp4": ("mp4", "aac", 44_100),
    "3gp": ("3gp", "aac", 16_000),
    "aac": ("adts", "aac", 16_000),
    "webm": ("webm", "libopus", 48_000),
    "mkv": ("matroska", "libopus", 48_000),
}
STARTS = {
    "m4a": b"\0\0\0\x1cftypM4A \0\0\2\0",
    "webm": b"\x1aE\xdf\xa3\1\0\0\0\0\0\0\x1f",
    "wma": b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa\0b\xcel",
    "amr": b"#!AMR\n" + bytes(20),
    "aac": b"\xff\xf1\x60\x40\x2f\x7f\xfc" + bytes(20),
}


@pytest.fixture
def av():
    return pytest.importorskip("av", reason="PyAV is not installed (pip install av)")


def record(av, path, kind, n_channels=1, samples=TONE):
    """A file as a phone or a browser writes it."""
    form, codec, rate = RECORDERS[kind]
    layout, file = {1: "mono", 2: "stereo"}[n_channels], io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        planes = np.ascontiguousarray(np.stack([samples] * n_channels))
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(stream.codec_context.format.name, layout, rate)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    path.write_bytes(file.getvalue())
    return path


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("kind", RECORDERS)
def test_recordings_of_phones_and_browsers(av, tmp_path, kind, n_channels):
    path = record(av, tmp_path / f"a.{kind}", kind, n_channels)
    samples = audio.load(path)
    assert samples.dtype == np.float32 and samples.flags.c_contiguous
    assert len(samples) == pytest.approx(len(TONE), abs=0.12 * RATE_HZ)  # the encoder's padding
    inside = samples[4000:28_000]
    assert np.abs(inside).max() == pytest.approx(0.3, abs=0.02)
    crossings = np.count_nonzero(np.diff(np.sign(inside)))
    assert crossings / 2 / (len(inside) / RATE_HZ) == pytest.approx(440, abs=1)
    parts = list(audio.blocks(path, block_s=0.3))
    assert len(parts) > 6
    assert abs(sum(map(len, parts)) - len(samples)) <= 1
    np.testing.assert_allclose(np.concatenate(parts)[: len(samples)], samples, atol=1e-3)
    assert audio.duration_s(path) == pytest.approx(2, abs=0.12)
    assert len(audio.load_part(path, start_s=0.5, length_s=0.25)) == RATE_HZ // 4
    assert 0 < len(audio.load_part(path, start_s=1.9, length_s=9.0)) < RATE_HZ // 4


def test_the_content_decides_not_the_name(av, tmp_path):
    path = record(av, tmp_path / "a.wav", "m4a")
    assert len(audio.load(path)) > len(TONE)


def test_opposite_phase_here_too(av, tmp_path):
    path = tmp_path / "a.m4a"
    turned = np.stack([TONE, -TONE])
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=RATE_HZ, layout="stereo")
        frame = av.AudioFrame.from_ndarray(turned, format="fltp", layout="stereo")
        frame.sample_rate = RATE_HZ
        container.mux([*stream.encode(frame), *stream.encode(None)])
    notes: list[str] = []
    samples = np.concatenate(list(audio.blocks(path, notes=notes)))
    assert np.abs(samples[4000:-4000]).max() > 0.25 and "cancel" in notes[0]


@pytest.mark.parametrize("share", [0.0005, 0.3, 0.7])
@pytest.mark.parametrize("kind", RECORDERS)
def test_cut_short(av, tmp_path, kind, share):
    path = record(av, tmp_path / f"a.{kind}", kind)
    data = path.read_bytes()
    path.write_bytes(data[: max(8, int(share * len(data)))])
    with pytest.raises(AudioError, match="truncated|cut short|not audio"):
        audio.load(path)


@pytest.mark.parametrize("kind", ["m4a", "webm", "wma", "aac"])  # to AMR any bytes are sound
def test_damaged_in_one_line(av, tmp_path, kind, capfd):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(STARTS[kind] + np.random.default_rng(0).bytes(5000))
    for read in audio.load, audio.duration_s:
        with pytest.raises(AudioError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", STARTS)
def test_without_pyav_the_error_names_the_package(tmp_path, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "av", None)
    assert not pyav.is_installed()
    for name in f"a.{kind}", f"a.{kind.upper()}", "a.bin":
        path = tmp_path / name
        path.write_bytes(STARTS[kind] + bytes(5000))
        for read in audio.load, audio.duration_s, lambda path: next(audio.blocks(path)):
            with pytest.raises(AudioError, match="which needs another package: pip install av$"):
                read(path)


def test_known_by_the_name_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.m4a").write_bytes(b"something" * 99)
    with pytest.raises(AudioError, match="is M4A, which needs"):
        audio.load(tmp_path / "a.m4a")
