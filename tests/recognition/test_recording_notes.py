"""Level and bandwidth of sounds made by hand, and notes on recordings unlike the training."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import soxr

from asr_ctc.audio.measures import bandwidth_hz, speech_dbfs
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.loading.trained_sound import measure_trained_sound
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.recognition.recording_notes import RecordingNotes, TrainedSound
from asr_ctc.recognition.transcriber import Transcriber

RATE_HZ = 16_000
NOISE = np.random.default_rng(0).normal(scale=0.1, size=4 * RATE_HZ).astype(np.float32)
WIDE = TrainedSound((7500.0, 7900.0), (-30.0, -10.0))
NARROW = TrainedSound((3900.0, 4000.0), (-30.0, -10.0))


def on_the_telephone(samples):
    return soxr.resample(soxr.resample(samples, RATE_HZ, 8000), 8000, RATE_HZ)


def lines(trained, samples):
    notes = RecordingNotes(trained, RATE_HZ)
    notes.add(samples)
    return notes.lines()


# --- Measures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level_dbfs", [0.0, -20.0, -60.0])
def test_level_of_the_loudest_tenth(level_dbfs):
    """Square waves have the power of their amplitude; pauses between them do not count."""
    wave = 10 ** (level_dbfs / 20) * np.resize([1.0, -1.0], RATE_HZ)
    with_pauses = np.concatenate([np.zeros(8 * RATE_HZ), wave])
    assert speech_dbfs(with_pauses, RATE_HZ) == pytest.approx(level_dbfs, abs=0.01)
    assert speech_dbfs(wave, RATE_HZ) == pytest.approx(level_dbfs, abs=0.01)


@pytest.mark.parametrize("edge_hz", [1000, 3400, 5000, 7000])
def test_bandwidth_of_noise_in_a_band(edge_hz):
    spectrum = np.fft.rfft(NOISE)
    spectrum[int(edge_hz * len(NOISE) / RATE_HZ) :] = 0
    found = bandwidth_hz(np.fft.irfft(spectrum), RATE_HZ)
    assert edge_hz - 50 <= found <= edge_hz + 250


def test_bandwidth_knows_no_level():
    for gain in 1e-3, 30.0:
        assert bandwidth_hz(gain * NOISE, RATE_HZ) == bandwidth_hz(NOISE, RATE_HZ) > 7900


@pytest.mark.parametrize("n_samples", [1, 100, 511, 512, 513])
def test_short_and_silent_sounds(n_samples):
    assert speech_dbfs(np.zeros(n_samples), RATE_HZ) == -120
    assert bandwidth_hz(np.zeros(n_samples), RATE_HZ) == 0
    assert np.isfinite(speech_dbfs(NOISE[:n_samples], RATE_HZ))
    assert 0 <= bandwidth_hz(NOISE[:n_samples], RATE_HZ) <= RATE_HZ / 2


# --- Notes ---------------------------------------------------------------------------------------


def test_what_sounds_like_the_training_is_not_mentioned():
    for gain in 0.2, 1.0, 3.0:
        assert lines(WIDE, gain * NOISE) == []
        assert lines(NARROW, gain * on_the_telephone(NOISE)) == []
    assert lines(WIDE, np.zeros(RATE_HZ)) == []


def test_the_telephone():
    assert lines(WIDE, on_the_telephone(NOISE)) == [
        "its sound reaches up to 4.0 kHz, unlike the training's 7.5 to 7.9 kHz: expect errors"
    ]


def test_more_band_than_the_training_had():
    (line,) = lines(NARROW, NOISE)
    assert line.startswith("its sound reaches up to 8.0 kHz, unlike")


@pytest.mark.parametrize("gain, level", [(1e-3, -80), (300.0, 30)])
def test_levels_far_off(gain, level):
    (line,) = lines(WIDE, gain * NOISE)
    assert line.startswith(f"its speech is at {level} dBFS, unlike the training's -30 to -10 dBFS")


def test_a_long_recording_is_judged_by_its_typical_piece():
    notes = RecordingNotes(WIDE, RATE_HZ)
    for piece in 1e-4 * NOISE, NOISE, NOISE, on_the_telephone(NOISE), NOISE:
        notes.add(piece)
    assert notes.lines() == []


@pytest.mark.parametrize(
    "origin",
    [
        {},
        {"sound": None},
        {"sound": {}},
        {"sound": {"band_hz": [1, 2]}},
        {"sound": {"band_hz": 5, "speech_dbfs": "loud"}},
        {"sound": {"band_hz": [1, 2], "speech_dbfs": [1, 2, 3]}},
    ],
)
def test_files_that_do_not_say_it_give_no_note(origin):
    assert TrainedSound.from_origin(origin) is None
    assert lines(TrainedSound.from_origin(origin), 1e-3 * NOISE) == []


def test_notes_come_with_the_transcript(tmp_path, tiny_model, caplog, log_everything):
    sound = {"band_hz": [7500.0, 7900.0], "speech_dbfs": [-30.0, -10.0]}
    recognizer = Recognizer(replace(tiny_model, origin={"sound": sound}), "cpu")
    path = tmp_path / "a.wav"
    stereo = np.stack([NOISE, -NOISE], axis=1) * 1e-3
    soundfile.write(path, stereo, RATE_HZ, subtype="FLOAT")
    (reading,) = Transcriber(recognizer, greedy_decode)([path])
    assert [note.split()[0] for note in reading.notes] == ["channel", "its"]
    with caplog.at_level(logging.WARNING, "asr_ctc"):
        recognizer.transcribe(path)
    assert caplog.messages == [f"note: {path}: {note}" for note in reading.notes]
    soundfile.write(path, NOISE, RATE_HZ)
    (reading,) = Transcriber(recognizer, greedy_decode)([path])
    assert reading.notes == ()


# --- The training --------------------------------------------------------------------------------


class Clips:
    """Stands for a dataset of which a clip is broken."""

    class processor:
        rate = RATE_HZ

    def __init__(self, gains):
        self.gains = gains

    def __len__(self):
        return len(self.gains)

    def augmented_waveform(self, draw):
        from asr_ctc.base.errors import AudioError

        if self.gains[draw.row] is None:
            raise AudioError("clip", "broken")
        return self.gains[draw.row] * NOISE


def test_the_training_is_measured():
    found = measure_trained_sound(Clips([1.0, 0.1, None]), 2, 0)
    low_dbfs, high_dbfs = found["speech_dbfs"]
    assert (low_dbfs, high_dbfs) == (pytest.approx(-39.5, abs=1), pytest.approx(-19.5, abs=1))
    assert found["band_hz"] == [8000, 8000]
    assert TrainedSound.from_origin({"sound": found}).band_hz == (8000, 8000)
    assert measure_trained_sound(Clips([None]), 2, 0) == {}
    assert TrainedSound.from_origin({"sound": {}}) is None
