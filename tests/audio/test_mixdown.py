"""Several channels to one: what a person would still understand must be in it."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.audio import decode as audio
from asr_ctc.audio.mixdown import MixdownChoice

RATE_HZ = 16_000
RANDOM = np.random.default_rng(0)
VOICE, OTHER_VOICE = RANDOM.normal(scale=0.1, size=(2, 3 * RATE_HZ)).astype(np.float32)
FAINT = RANDOM.normal(scale=0.001, size=3 * RATE_HZ).astype(np.float32)
SILENT = np.zeros_like(VOICE)


def read(tmp_path, *channels, subtype="FLOAT", ending="wav"):
    """(samples, notes); load and blocks of any size must agree."""
    path = tmp_path / f"clip.{ending}"
    soundfile.write(path, np.stack(channels, axis=1), RATE_HZ, subtype=subtype)
    notes: list[str] = []
    samples = np.concatenate(list(audio.blocks(path, block_s=0.07, notes=notes)))
    np.testing.assert_allclose(samples, audio.load(path), atol=1e-7)
    return samples, notes


def test_opposite_phase_gives_the_loudest_channel(tmp_path):
    samples, notes = read(tmp_path, 0.9 * VOICE, -VOICE)
    np.testing.assert_array_equal(samples, -VOICE)
    assert notes == [
        "channel 2 of 2 alone is used: the channels cancel each other, their mean would lose 26 dB"
    ]


def test_the_choice_does_not_change_within_a_recording(tmp_path):
    """In its first half second the channels agree, then one is turned over."""
    turned = np.concatenate([VOICE[: RATE_HZ // 2], -VOICE[RATE_HZ // 2 :]])
    samples, notes = read(tmp_path, VOICE, 0.99 * turned)
    np.testing.assert_array_equal(samples, VOICE)
    assert len(notes) == 1


@pytest.mark.parametrize("n_channels", [2, 6])
@pytest.mark.parametrize("others", [SILENT, FAINT], ids=["silent", "faint"])
def test_speech_in_one_channel_of_several_keeps_its_level(tmp_path, n_channels, others):
    channels = [others] * n_channels
    channels[1] = VOICE
    samples, notes = read(tmp_path, *channels)
    np.testing.assert_array_equal(samples, VOICE)
    assert notes == [
        f"channel 2 of {n_channels} used: there is no sound in the others, or hardly any"
    ]


def test_two_people_on_a_channel_each_are_both_heard(tmp_path):
    for other in OTHER_VOICE, 0.2 * OTHER_VOICE:
        samples, notes = read(tmp_path, VOICE, other)
        np.testing.assert_allclose(samples, (VOICE + other) / 2, atol=1e-7)
        assert notes == []


def test_two_people_among_silent_channels_are_both_heard(tmp_path):
    samples, notes = read(tmp_path, SILENT, VOICE, FAINT, OTHER_VOICE)
    np.testing.assert_allclose(samples, (VOICE + OTHER_VOICE) / 2, atol=1e-7)
    assert notes == ["channels 2, 4 of 4 used: there is no sound in the others, or hardly any"]


def test_silence_in_all_channels(tmp_path):
    samples, notes = read(tmp_path, SILENT, SILENT, SILENT)
    assert not samples.any() and notes == []


@pytest.mark.parametrize("subtype, ending", [("PCM_16", "flac"), ("MPEG_LAYER_III", "mp3")])
def test_compressed_files_too(tmp_path, subtype, ending):
    samples, notes = read(tmp_path, VOICE, -VOICE, subtype=subtype, ending=ending)
    assert np.square(samples).mean() > 0.5 * np.square(VOICE).mean() and len(notes) == 1


@given(
    st.integers(2, 4).flatmap(
        lambda n: st.lists(st.lists(st.integers(-3, 3), min_size=n, max_size=n), min_size=1)
    ),
    st.integers(1, 5),
)
def test_blocks_of_any_size_give_the_choice_of_the_whole(rows, n_block):
    """Whole numbers, whose sums are exact; and no more is lost than 20 dB of the loudest."""
    samples = np.array(rows, dtype=np.float32)
    whole, parts = (MixdownChoice(samples.shape[1]) for _ in range(2))
    whole.add(samples)
    for first in range(0, len(samples), n_block):
        parts.add(samples[first : first + n_block])
    mixdown = whole.mixdown()
    assert parts.mixdown() == mixdown
    power = np.square(samples, dtype=np.float64).mean(axis=0)
    mixed = np.square(mixdown(samples), dtype=np.float64).mean()
    n_used = len(mixdown.channels)
    assert mixed >= power.max() / n_used**2 * 10**-0.3 * (1 - 1e-6)
    assert power[list(mixdown.channels)].max() == power.max()


# --- Integers kept as floats ---------------------------------------------------------------------


@pytest.mark.parametrize("n_bits", [16, 24, 32])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_integers_kept_as_floats_are_scaled(tmp_path, n_bits, subtype):
    samples, notes = read(tmp_path, VOICE * 2.0 ** (n_bits - 1), subtype=subtype)
    np.testing.assert_allclose(samples, VOICE, atol=1e-7)
    assert notes == [f"its float samples are integers of {n_bits} bits, divided by 2^{n_bits - 1}"]


@pytest.mark.parametrize("gain", [1.0, 40.0, 250.0])
def test_floats_with_headroom_stay_as_they_are(tmp_path, gain):
    voice = VOICE / np.abs(VOICE).max() * np.float32(gain)
    samples, notes = read(tmp_path, voice)
    np.testing.assert_array_equal(samples, voice)
    assert notes == []


def test_integers_in_two_channels_of_opposite_phase(tmp_path):
    samples, notes = read(tmp_path, VOICE * 2.0**15, -0.9 * VOICE * 2.0**15)
    np.testing.assert_allclose(samples, VOICE, atol=1e-7)
    assert "16 bits" in notes[0] and "channel 1 of 2" in notes[0]
