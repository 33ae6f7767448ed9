"""What is shown of a clip, against where it comes from."""

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from asr_ctc.audio.decode import load
from asr_ctc.audio.log_mel import FeatureSettings, mel_filters
from asr_ctc.audio.whisper_mel import WhisperFeatures
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.decoding.beam import Beam
from asr_ctc.inspection.clip_view import count_classes, most_varied, spectrogram_of, view_clip
from asr_ctc.inspection.sound import Sound, load_sound
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.text.charmap import CharMap
from tests.helpers.inspected import noise, sharp, view_of

ABC = CharMap.from_symbols(" abc")


@pytest.fixture(scope="module")
def clip(toy_root):
    return toy_root / "toy-1.0/fr/clips/toy_dev_0.mp3"


@pytest.fixture(scope="module")
def recognizer(tiny_model):
    return Recognizer(tiny_model, "cpu")


# ----------------------------------------------------------------------------------- sound


def test_the_wav_is_the_sound():
    samples = np.array([0.0, 0.5, -1.0, 2.0], np.float32)
    decoded, rate = soundfile.read(io.BytesIO(Sound("x", samples, 8000).to_wav()))
    assert rate == 8000
    np.testing.assert_allclose(decoded, [0.0, 0.5, -1.0, 1.0], atol=1e-4)


def test_a_short_recording_is_shown_whole(clip):
    sound = load_sound(clip, 16_000)
    assert np.array_equal(sound.samples, load(clip)) and sound.note == ""


def test_of_an_hour_20_seconds_are_shown_and_said(tmp_path):
    rate = 1000  # low, so that an hour is small
    samples = np.sin(np.arange(3600 * rate) / 50) * np.linspace(0.1, 0.2, 3600 * rate)
    soundfile.write(tmp_path / "hour.wav", samples, rate)
    sound = load_sound(tmp_path / "hour.wav", rate)
    assert sound.duration_s == 20
    assert sound.note == "Shown: 0 to 20.0 s of 3600.0 s; times count from there."
    later = load_sound(tmp_path / "hour.wav", rate, 3590.0)
    assert later.note.startswith("Shown: 3590 to 3600.0 s of 3600.0 s")
    np.testing.assert_allclose(later.samples, samples[3590 * rate :], atol=1e-4)
    with pytest.raises(UserError, match="lasts 3600.0 s, and is to be shown from 3600 s"):
        load_sound(tmp_path / "hour.wav", rate, 3600.0)


# ------------------------------------------------------------------------- what is shown


def test_numbers_are_those_of_the_recogniser(recognizer, clip):
    sound = load_sound(clip, 16_000)
    beam = Beam(width=5)
    view = view_clip(recognizer, sound, title="m", beam=beam, with_layers=True)
    logp = recognizer.log_posteriors(sound.samples)
    np.testing.assert_allclose(view.posteriors, logp.exp().numpy(), rtol=1e-6)
    transcript = recognizer.transcribe(clip)
    assert view.greedy.text == transcript.text
    assert view.greedy.words == transcript.words
    assert view.greedy.characters == transcript.characters
    best = recognizer.transcribe(clip, decoder=beam)
    assert [h.text for h in view.n_best] == [best.text, *(h.text for h in best.alternatives)]
    assert view.history.labels[view.history.beams[-1][0].number] == best.labels
    mel = recognizer.processor.analyse(torch.from_numpy(sound.samples))
    assert np.array_equal(view.spectrogram.values, mel.numpy())
    assert view.layers[-1].text == transcript.text
    np.testing.assert_allclose(view.layers[-1].posteriors, view.posteriors, atol=1e-5)
    assert view.convolutions.values.shape == (len(logp), 10)
    assert view.convolutions.start_s == pytest.approx(view.start_s)
    assert view.reach_s == pytest.approx(0.81)


def test_a_known_matrix_gives_known_times():
    view = view_of(ABC, sharp(ABC, "-ab--c-"), text="ab c")
    assert view.path.tolist() == [0, 2, 3, 0, 0, 4, 0]
    assert view.greedy.text == "abc"
    assert view.start_s == pytest.approx(-0.02) and view.clock.step_s == pytest.approx(0.04)
    (word,) = view.greedy.words
    # From half the blank frame before a to 0.06 s (half of the blank) after c.
    assert (word.start_s, word.end_s) == pytest.approx((0.0, 0.22 + 0.02))
    assert word.confidence == pytest.approx(0.9)
    reference = view.reference
    assert reference.classes.tolist() == [0, 2, 0, 3, 0, 1, 0, 4, 0]
    assert reference.states[[1, 2, 5, 6]].tolist() == [1, 3, 7, 8]
    assert [w.text for w in reference.alignment.words] == ["ab", "c"]
    heard, said = count_classes(view)
    assert (heard, said) == ({2: 1, 3: 1, 4: 1}, {2: 1, 3: 1, 1: 1, 4: 1})


def test_without_a_text_there_is_no_reference():
    view = view_of(ABC, sharp(ABC, "a-b"))
    assert view.reference is None
    assert count_classes(view)[1] is None


@pytest.mark.parametrize(
    "text, problem",
    [
        ("abc" * 9, "too long"),
        ("ax", "no class for these characters of the text: x"),
        ("  ", "contains no word"),
    ],
)
def test_a_text_that_cannot_be_aligned_says_why(text, problem):
    view = view_of(ABC, sharp(ABC, "a-b"), text=text)
    assert problem in view.reference.problem
    assert count_classes(view)[1] is None


# ------------------------------------------------------------------------------ bad input


def test_a_clip_shorter_than_a_window_is_refused(recognizer):
    short = Sound("short.wav", np.ones(639, np.float32), 16_000)
    with pytest.raises(AudioError, match="short.wav: is shorter than one window of 40 ms"):
        view_clip(recognizer, short, title="m", beam=Beam())


def test_a_single_frame():
    view = view_of(ABC, sharp(ABC, "a"), text="a", with_layers=True)
    assert view.greedy.text == "a" and len(view.history.beams) == 2
    assert view.reference.states.tolist() == [1]


def test_a_silent_clip_is_blank_and_says_so(recognizer):
    sound = Sound("still.wav", np.zeros(16_000, np.float32), 16_000)
    view = view_clip(recognizer, sound, title="m", beam=Beam(), text="a", with_layers=True)
    assert view.greedy.text == "" and (view.posteriors[:, 0] == 1).all()
    assert any("silent" in note for note in view.notes)
    assert "probability zero" in view.reference.problem


def test_a_penalty_on_the_blank_is_said(recognizer):
    sound = Sound(
        "clip.wav", np.random.default_rng(0).normal(size=16_000).astype(np.float32), 16_000
    )
    plain, lower = (
        view_clip(recognizer, sound, title="m", beam=Beam(blank_penalty=penalty))
        for penalty in (0.0, 0.5)
    )
    assert not plain.notes and any("subtracts 0.5 from the blank" in note for note in lower.notes)
    np.testing.assert_array_equal(plain.posteriors, lower.posteriors)
    assert lower.history.beams[-1][0].logp == pytest.approx(lower.n_best[0].logp)


def test_a_model_without_normalisation(tiny_model, clip):
    plain = Recognizer(replace(tiny_model, normalization=None), "cpu")
    view = view_clip(plain, load_sound(clip, 16_000), title="m", beam=Beam())
    assert view.heard == "this is what the network is given"


# --------------------------------------------------------------------------- spectrograms


def test_frequencies_of_bands_are_the_peaks_of_their_filters():
    settings = FeatureSettings(rate=16_000, win_length=0.2, win_step=0.01, nmels=20)
    peaks = mel_filters(settings.n_fft, 20, 16_000).argmax(0) * 16_000 / settings.n_fft
    np.testing.assert_allclose(settings.centres_hz(), peaks, atol=5)
    whisper = WhisperFeatures(nmels=80).centres_hz()
    assert whisper.shape == (80,) and 7000 < whisper[-1] < 8000
    assert (whisper.diff() > 0).all()


def test_a_tone_lights_its_band():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    for features in (
        FeatureSettings(rate=16_000, win_length=0.04, win_step=0.01, nmels=40),
        WhisperFeatures(),
    ):
        picture, _ = spectrogram_of(features, Sound("tone", tone, 16_000))
        assert picture.hz[picture.values[50].argmax()] == pytest.approx(1000, rel=0.06)
        assert picture.start_s + 0.5 * picture.step_s == 0


def test_units_that_vary_most_are_shown_by_the_time_of_their_peak():
    frames = np.zeros((4, 100))
    frames[2, 7], frames[0, 90], frames[3, 40] = 5.0, 4.0, 6.0
    shown = most_varied(frames)
    assert shown.shape == (4, 64)
    peaks = shown.argmax(axis=0)[shown.any(axis=0)]
    assert peaks.tolist() == [0, 2, 3]
    np.testing.assert_allclose(shown[:, shown.any(axis=0)].std(axis=0), 1)
    assert most_varied(np.ones((1, 3))).tolist() == [[0, 0, 0]]


def test_noise_has_the_frames_that_the_helper_says():
    view = view_of(ABC, sharp(ABC, "abcabc"))
    assert len(view.convolutions.values) == 6 and len(noise(6).samples) == 3520
