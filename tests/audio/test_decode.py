import contextlib
import os
import pickle
import threading

import numpy as np
import pytest
import soundfile

from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.base.quiet import hide_decoder_messages

RATE_HZ = 16_000
TIME_S = np.arange(2 * RATE_HZ) / RATE_HZ
TONE = (0.3 * np.sin(2 * np.pi * 440 * TIME_S)).astype(np.float32)
NOISE = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE_HZ).astype(np.float32)


def write(path, samples=TONE, rate=RATE_HZ, **how):
    soundfile.write(path, samples, rate, **how)
    return path


def loudest_hz(samples, rate=RATE_HZ):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * rate / len(samples)


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def try_to_load(path):
    with contextlib.suppress(AudioError):
        audio.load(path)


def damage(path):
    """Overwrites the middle third, so that the decoder has much to complain of."""
    raw = bytearray(path.read_bytes())
    third = len(raw) // 3
    raw[third : 2 * third] = np.random.default_rng(1).bytes(third)
    path.write_bytes(raw)
    return path


# --- What works ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_formats(tmp_path, ending):
    path = write(tmp_path / f"a.{ending}")
    samples = audio.load(path)
    assert (samples.shape, samples.dtype) == (TONE.shape, np.float32)
    assert samples.flags.c_contiguous
    inside = slice(2000, -2000)  # the lossy ones ring at the ends
    assert np.abs(samples - TONE)[inside].max() < (1e-4 if ending in ("wav", "flac") else 0.05)
    assert audio.duration_s(path) == 2.0


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_any_rate_becomes_the_wanted_one(tmp_path, rate):
    time_s = np.arange(2 * rate) / rate
    path = write(tmp_path / "a.wav", 0.3 * np.sin(2 * np.pi * 440 * time_s), rate)
    samples = audio.load(path)
    assert abs(len(samples) - 2 * RATE_HZ) <= 1 and samples.dtype == np.float32
    assert loudest_hz(samples) == pytest.approx(440, abs=0.6)
    assert np.abs(samples[4000:-4000]).max() == pytest.approx(0.3, rel=0.01)
    assert audio.duration_s(path) == 2.0


def test_the_rate_can_be_asked_for(tmp_path):
    samples = audio.load(write(tmp_path / "a.wav"), 8_000)
    assert abs(len(samples) - 16_000) <= 1
    assert loudest_hz(samples, 8_000) == pytest.approx(440, abs=0.6)


def test_nothing_folds_back_when_the_rate_falls(tmp_path):
    time_s = np.arange(2 * 48_000) / 48_000
    path = write(tmp_path / "a.wav", np.sin(2 * np.pi * 11_000 * time_s), 48_000)
    assert np.abs(audio.load(path)[2000:-2000]).max() < 0.01  # not a tone of 5 kHz


def test_channels_are_averaged(tmp_path):
    channels = np.stack([TONE, NOISE], axis=1)
    samples = audio.load(write(tmp_path / "a.wav", channels, subtype="FLOAT"))
    assert np.allclose(samples, (TONE + NOISE) / 2, atol=1e-6)
    stereo = audio.load(write(tmp_path / "b.wav", np.stack([TONE, TONE], 1), subtype="FLOAT"))
    assert np.array_equal(stereo, TONE)


def test_peaks_and_silence():
    assert audio.peak_dbfs(np.array([0.0, -1.0, 0.5])) == 0
    assert audio.peak_dbfs(np.array([0.1, 0.0])) == pytest.approx(-20)
    assert audio.peak_dbfs(np.zeros(5)) == audio.peak_dbfs(np.zeros(0)) == -np.inf
    assert audio.is_silent(np.full(5, 10 ** (-90.1 / 20)))
    assert not audio.is_silent(np.full(5, -(10 ** (-89.9 / 20))))


def test_a_silent_file_is_read(tmp_path):
    samples = audio.load(write(tmp_path / "a.mp3", 0 * TONE))
    assert audio.is_silent(samples) and len(samples) == len(TONE)


def test_an_mp3_may_miss_a_frame_or_two(tmp_path):
    path = write(tmp_path / "a.mp3")
    assert len(audio.load(path, expected_s=2 + 2 * audio.MP3_FRAME / RATE_HZ)) == len(TONE)


def test_memory_that_is_out_is_no_fault_of_the_file(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav")

    def fail(*args):
        raise MemoryError("Unable to allocate 2.00 GiB")

    monkeypatch.setattr(audio.SndfileDecoder, "read", fail)
    for read in (audio.load, lambda path: audio.load_part(path, start_s=0, length_s=1)):
        with pytest.raises(MemoryError, match="Unable to allocate"):
            read(path)


def test_many_channels_are_decoded_in_smaller_blocks(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", np.repeat(NOISE[:, None], 8, axis=1), subtype="FLOAT")
    sizes, read = [], audio.SndfileDecoder.read

    def watched(self, n_samples):
        sizes.append(n_samples)
        return read(self, n_samples)

    monkeypatch.setattr(audio, "BLOCK_VALUES", 8000)
    monkeypatch.setattr(audio.SndfileDecoder, "read", watched)
    assert np.allclose(audio.load(path), NOISE, atol=1e-6)
    assert set(sizes) == {1000}


# --- What does not -------------------------------------------------------------------------------


def whole(path):
    return write(path, NOISE)


NOT_AUDIO = {
    "missing": (lambda path: path, "no such file"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (lambda path: path.write_bytes(b""), r"empty \(0 bytes\)"),
    "text": (lambda path: path.write_text("hello world\n" * 99), "not audio"),
    "random": (lambda p: p.write_bytes(np.random.default_rng(0).bytes(9999)), "not audio"),
    "header only": (lambda path: cut(whole(path), 0.0007), "not audio|no samples"),
}


@pytest.mark.parametrize("ending", ["wav", "mp3"])
@pytest.mark.parametrize("make, reason", NOT_AUDIO.values(), ids=NOT_AUDIO)
def test_not_audio(tmp_path, ending, make, reason):
    path = tmp_path / f"a.{ending}"
    make(path)
    for read in audio.load, audio.duration_s:
        with pytest.raises(AudioError, match=reason) as caught:
            read(path)
        assert isinstance(caught.value, UserError)
        assert str(caught.value) == f"{path}: {caught.value.reason}"


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("ending", ["wav", "flac", "mp3"])
def test_truncated(tmp_path, ending, share):
    path = cut(whole(tmp_path / f"a.{ending}"), share)
    with pytest.raises(AudioError, match="truncated"):
        audio.load(path)


def test_truncated_says_how_much_there_is(tmp_path):
    path = cut(whole(tmp_path / "a.wav"), 0.5)
    with pytest.raises(AudioError, match=r"1\.00 s decoded of 2\.00 s announced"):
        audio.load(path)


@pytest.mark.parametrize("ending", ["wav", "ogg", "mp3"])
def test_shorter_than_the_corpus_says(tmp_path, ending):
    path = whole(tmp_path / f"a.{ending}")
    with pytest.raises(AudioError, match=r"truncated: 2\.00 s decoded of 3\.00 s announced"):
        audio.load(path, expected_s=3)


def test_a_wav_whose_writer_could_not_seek_back_is_whole(tmp_path):
    """Programs that write to a pipe announce as much as a WAV can hold."""
    path = write(tmp_path / "a.wav")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"data") + 4
    for announced in 0x7FFFFFFF, 0xFFFFFFFF:
        raw[at : at + 4] = announced.to_bytes(4, "little")
        path.write_bytes(raw)
        assert len(audio.load(path)) == len(TONE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_nan_and_infinite(tmp_path, value, channels):
    samples = np.stack([TONE] * channels, axis=1)
    samples[100, -1] = value
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        audio.load(path)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("value", [1e20, 3e38])
@pytest.mark.filterwarnings("error")
def test_absurd_samples_whose_power_overflows(tmp_path, value, channels):
    samples = np.stack([TONE] * channels, axis=1)
    samples[100] = value
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match="absurd"):
        audio.load(path)


def test_errors_travel_between_processes(tmp_path):
    error = pickle.loads(pickle.dumps(AudioError(tmp_path, "is broken")))
    assert (error.path, error.reason) == (str(tmp_path), "is broken")


# --- Standard error ------------------------------------------------------------------------------


@pytest.fixture
def hidden_messages():
    """As commands read audio."""
    hide_decoder_messages()
    yield
    hide_decoder_messages(False)


def test_the_decoders_complaints_are_not_shown(tmp_path, capfd, hidden_messages):
    path = damage(whole(tmp_path / "a.mp3"))
    with contextlib.suppress(soundfile.SoundFileError):
        soundfile.read(path)
    assert capfd.readouterr().err  # they would be
    try_to_load(path)
    audio.duration_s(path)
    for make, _ in NOT_AUDIO.values():
        broken = tmp_path / "broken.mp3"
        make(broken)
        with pytest.raises(AudioError):
            audio.load(broken)
        broken.rmdir() if broken.is_dir() else broken.unlink(missing_ok=True)
    assert capfd.readouterr().err == ""
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


def test_threads_that_decode_at_the_same_time(tmp_path, capfd, hidden_messages):
    path = damage(whole(tmp_path / "a.mp3"))
    n_open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    threads = [threading.Thread(target=try_to_load, args=(path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"
    if n_open_files is not None:
        assert len(os.listdir("/proc/self/fd")) == n_open_files


@pytest.mark.parametrize("hide", [False, True])
def test_the_process_keeps_its_standard_error(tmp_path, capfd, hide):
    """While a caller has a block in hand nothing is hidden, and unasked nothing ever is."""
    path = write(tmp_path / "a.mp3")
    hide_decoder_messages(hide)
    try:
        for _ in audio.blocks(path, block_s=0.1):
            os.write(2, b"x")
        assert capfd.readouterr().err.count("x") == 21  # two seconds and the resampler's rest
        if not hide:
            with audio.quiet_decoder():
                os.write(2, b"y")
            assert capfd.readouterr().err == "y"
    finally:
        hide_decoder_messages(False)


def test_another_thread_loses_no_line(tmp_path, capfd):
    path, n_lines, is_done = write(tmp_path / "a.mp3"), 2000, threading.Event()

    def log():
        for _ in range(n_lines):
            os.write(2, b"line\n")
        is_done.set()

    thread = threading.Thread(target=log)
    thread.start()
    while not is_done.is_set():
        for _ in audio.blocks(path, block_s=0.5):
            pass
    thread.join()
    assert capfd.readouterr().err.count("line\n") == n_lines


# --- Names ---------------------------------------------------------------------------------------


def test_a_name_with_a_nul_byte():
    for read in audio.load, audio.duration_s, lambda path: next(audio.blocks(path)):
        with pytest.raises(AudioError, match="not the name of a file"):
            read("a\0.wav")


def test_a_name_that_is_not_utf8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9.wav")
    try:
        soundfile.write(open(path, "wb"), TONE, RATE_HZ, format="WAV")  # noqa: SIM115
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    assert len(audio.load(path)) == len(TONE) and audio.duration_s(path) == 2
    os.truncate(path, 0)
    with pytest.raises(AudioError, match="empty") as caught:
        audio.load(path)
    str(caught.value).encode("utf-8", "backslashreplace")


def test_the_ending_does_not_decide(tmp_path):
    """soundfile wants to be told the rate of .raw files."""
    for ending in "raw", "txt", "mp3", "m4a":
        path = tmp_path / f"a.{ending}"
        soundfile.write(path.open("wb"), TONE, RATE_HZ, format="WAV")
        assert len(audio.load(path)) == len(TONE)


def test_a_pipe_is_named(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="is not a file"):
        audio.load(tmp_path / "a.wav")


def test_a_file_that_vanishes(tmp_path):
    path = write(tmp_path / "a.wav")
    reading = audio.blocks(path, block_s=0.5)
    first = next(reading)
    path.unlink()
    assert len(first) + sum(map(len, reading)) == len(TONE)  # it is open
    with pytest.raises(AudioError, match="no such file"):
        audio.load(path)
