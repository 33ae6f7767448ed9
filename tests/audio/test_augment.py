"""Waveform augmentation does what it promises, measured; and only what (seed, epoch, clip) say."""

import logging

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.audio import decode as audio
from asr_ctc.audio.augment import (
    Augmentation,
    Gain,
    Speed,
    add_noise,
    change_level,
    change_speed,
    limit_band,
    parse_augmentation,
    reverberate,
)
from asr_ctc.base.errors import UserError
from asr_ctc.config.load import Config, make_config, read_yaml
from asr_ctc.corpus.corpus import ExcludedClip
from asr_ctc.data import WaveformProcessor
from asr_ctc.loading.batch import Clip
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import make_loader
from asr_ctc.loading.sampling import Draw
from asr_ctc.loading.selection import prepare_split
from asr_ctc.models import CTCModel
from asr_ctc.text.charmap import CharMap
from tests.helpers.command import call
from tests.helpers.examples import examples
from tools.toy_corpus import make_toy_corpus

RATE_HZ = 16_000
CHARMAP = CharMap()


def noise(n_samples=RATE_HZ, seed=0, scale=0.1) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(n_samples)
    return (scale * values).astype(np.float32)


def tone(frequency_hz, length_s=1.0) -> np.ndarray:
    time = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def power(samples) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def decibels(ratio) -> float:
    return 10 * np.log10(ratio)


def middle(samples) -> np.ndarray:
    return samples[2_000:-2_000]


def loudest_hz(samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax()) * RATE_HZ / len(samples)


def random(*seed) -> np.random.Generator:
    return np.random.default_rng(seed or 0)


@pytest.fixture
def sounds(tmp_path):
    """A folder of noises in several formats, rates and lengths, and of what is no sound."""
    folder = tmp_path / "some sounds"
    (folder / "below").mkdir(parents=True)
    soundfile.write(folder / "short.wav", noise(3_000, 1), RATE_HZ)
    soundfile.write(folder / "below" / "long.flac", noise(100_000, 2), 22_050)
    soundfile.write(folder / "below" / "stereo.mp3", noise(60_000, 3).reshape(-1, 2), 44_100)
    (folder / "README.txt").write_text("no sound")
    return folder


# --- Speed ---------------------------------------------------------------------------------------


@examples(25)
@given(st.integers(640, 40_000), st.sampled_from([0.5, 0.9, 0.95, 1.0, 1.05, 1.1, 1.5, 2.0]))
def test_speed_changes_the_duration_to_within_a_sample(n_samples, factor):
    assert abs(len(change_speed(noise(n_samples), factor)) - n_samples / factor) <= 1


def test_the_stretch_is_that_of_the_slowest_clip():
    def stretch(*steps) -> float:
        return Augmentation(tuple(steps)).stretch

    assert stretch() == stretch((1.0, Gain(0.0, 6.0))) == stretch((1.0, Speed((1.1, 1.2)))) == 1.0
    assert stretch((1.0, Speed((0.8, 1.1)))) == pytest.approx(1 / 0.8)
    # A clip may escape the faster step.
    assert stretch((1.0, Speed((0.8,))), (0.5, Speed((1.25,)))) == pytest.approx(1 / 0.8)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_moves_the_pitch_and_keeps_the_level(factor):
    faster = change_speed(tone(1_000), factor)
    assert faster.dtype == np.float32
    assert loudest_hz(faster) == pytest.approx(1_000 * factor, abs=2)
    assert decibels(power(middle(faster)) / power(tone(1_000))) == pytest.approx(0, abs=0.05)


def test_speed_keeps_events_in_their_places():
    click = np.zeros(RATE_HZ, np.float32)
    click[8_000] = 1
    assert np.abs(change_speed(click, 0.9)).argmax() == pytest.approx(8_000 / 0.9, abs=1)


def test_the_same_speed_is_the_same_clip():
    assert np.array_equal(change_speed(noise(), 1.0), noise())


# --- Level and noise -----------------------------------------------------------------------------


@pytest.mark.parametrize("gain_db", [-20, -6, 0, 6, 20])
def test_gain(gain_db):
    louder = change_level(noise(), gain_db)
    assert louder.dtype == np.float32
    assert decibels(power(louder) / power(noise())) == pytest.approx(gain_db, abs=0.001)


@examples(40)
@given(st.floats(-20, 40), st.floats(0.001, 1), st.floats(0.001, 1))
def test_the_signal_to_noise_ratio(snr_db, speech_scale, noise_scale):
    speech, added = noise(seed=1, scale=speech_scale), noise(seed=2, scale=noise_scale)
    noisy = add_noise(speech, added, snr_db)
    assert noisy.dtype == np.float32
    residue = noisy.astype(np.float64) - speech
    assert decibels(power(speech) / power(residue)) == pytest.approx(snr_db, abs=0.1)
    assert np.corrcoef(residue, added)[0, 1] > 0.99


def test_silence_adds_no_noise():
    assert np.array_equal(add_noise(noise(), np.zeros(RATE_HZ, np.float32), 10), noise())


def test_noise_from_a_folder(sounds):
    """The ratio lies in its bounds whatever the noise's format, rate and length."""
    speech, ratios = tone(440, 2.0), []
    augmentation = parse_augmentation([f"noise '{sounds}' 5 20"])
    for seed in range(30):
        residue = augmentation(speech, RATE_HZ, random(seed)).astype(np.float64) - speech
        assert len(residue) == len(speech)
        ratios.append(decibels(power(speech) / power(residue)))
        quarters = [power(part) for part in residue.reshape(4, -1)]
        assert max(quarters) < 1.5 * min(quarters)  # short noises are repeated to the end
    assert 4.9 <= min(ratios) < 8 and 17 < max(ratios) <= 20.1


@pytest.mark.slow
def test_long_noise_is_cut_anywhere(sounds):
    (found,) = [step.sounds for _, step in parse_augmentation([f"noise '{sounds}' 5 20"]).steps]
    assert [file.name for file in found.files] == ["long.flac", "stereo.mp3", "short.wav"]
    whole = audio.load(found.files[0])
    starts = set()
    for seed in range(40):
        excerpt = found.excerpt(8_000, RATE_HZ, random(seed))
        match = np.fft.irfft(np.fft.rfft(whole, 2**17) * np.fft.rfft(excerpt, 2**17).conj())
        if match.max() > 0.9 * np.sum(excerpt**2):
            starts.add(int(match.argmax()) // 10_000)
    assert len(starts) >= 4  # of 0 to 6, in the dozen excerpts of the longest


def test_part_of_a_file_is_that_part(sounds):
    file = sounds / "short.wav"
    whole = audio.load(file)
    assert np.array_equal(audio.load_part(file, start_s=0.05, length_s=0.1), whole[800:2_400])
    assert np.array_equal(audio.load_part(file, start_s=0.1, length_s=9.0), whole[1_600:])
    assert len(audio.load_part(file, start_s=9.0, length_s=0.1)) == 1
    resampled = audio.load_part(sounds / "below" / "long.flac", start_s=1.0, length_s=0.5)
    assert abs(len(resampled) - 8_000) <= 1
    assert (
        np.abs(
            resampled[500:-500] - audio.load(sounds / "below" / "long.flac")[16_500:23_500]
        ).max()
        < 1e-3
    )


# --- Band ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frequency_hz", "gain_db"),
    [(100, -60), (240, -60), (300, -6), (360, 0), (1_000, 0), (3_340, 0), (3_400, -6)]
    + [(3_460, -60), (4_000, -60), (7_900, -60)],
)
def test_the_telephone_band(frequency_hz, gain_db):
    sent = tone(frequency_hz)
    heard = limit_band(sent, RATE_HZ, low_hz=300, high_hz=3_400)
    assert len(heard) == len(sent) and heard.dtype == np.float32
    gain = decibels(power(middle(heard)) / power(middle(sent)))
    if gain_db == -60:
        assert gain < -57
    else:
        assert gain == pytest.approx(gain_db, abs=0.1)


def test_band_limiting_delays_nothing():
    click = np.zeros(RATE_HZ, np.float32)
    click[5_000] = 1
    heard = limit_band(click, RATE_HZ, low_hz=300, high_hz=3_400)
    assert np.abs(heard).argmax() == 5_000
    assert np.allclose(heard[4_900:5_000], heard[5_100:5_000:-1], atol=1e-6)


def test_a_band_without_bounds_is_everything():
    assert np.allclose(limit_band(noise(), RATE_HZ, low_hz=0, high_hz=8_000), noise(), atol=1e-5)


# --- Reverberation -------------------------------------------------------------------------------


def response(direct=400, decay_s=0.3, seed=0) -> np.ndarray:
    """A quiet start, the direct path, and a tail of echoes."""
    tail = noise(8_000, seed, 0.1) * np.exp(-np.arange(8_000) / RATE_HZ / decay_s)
    taps = np.concatenate([np.zeros(direct), [1.0], tail])
    return taps.astype(np.float32)


def test_reverberation_keeps_length_and_power():
    heard = reverberate(noise(), response())
    assert heard.shape == (RATE_HZ,) and heard.dtype == np.float32
    assert power(heard) == pytest.approx(power(noise()), rel=1e-4)


@pytest.mark.parametrize("direct", [0, 1, 400, 3_000])
def test_the_direct_path_stays_in_place(direct):
    click = np.zeros(RATE_HZ, np.float32)
    click[5_000] = 1
    heard = reverberate(click, response(direct))
    assert np.abs(heard).argmax() == 5_000
    assert np.abs(heard[:5_000]).max() < 1e-5 < np.abs(heard[5_001:6_000]).max()


def test_reverberation_is_convolution():
    taps = response(direct=7)
    expected = np.convolve(noise(2_000), taps)[7:2_007]
    expected *= np.sqrt(power(noise(2_000)) / power(expected))
    assert np.allclose(reverberate(noise(2_000), taps), expected, atol=1e-5)


@pytest.mark.parametrize("taps", [[1.0], [0, 0, 2.5], [0.0]])
def test_a_room_without_echoes_changes_nothing(taps):
    assert np.allclose(reverberate(noise(), np.array(taps, np.float32)), noise(), atol=1e-6)


def test_rooms_come_from_a_folder_by_their_first_channel(tmp_path):
    channels = np.stack([response(), np.roll(response(), 5_000)], axis=1)
    soundfile.write(tmp_path / "room.wav", channels, RATE_HZ, subtype="FLOAT")
    augmentation = parse_augmentation([f"reverb {tmp_path}"])
    heard = augmentation(noise(), RATE_HZ, random())
    assert np.allclose(heard, reverberate(noise(), response()), atol=1e-5)


# --- The list ------------------------------------------------------------------------------------


def test_steps_come_in_their_order_with_their_probability():
    augmentation = parse_augmentation(["gain 6 6 p=0.25", "speed 2"])
    lengths_and_gains = []
    for seed in range(100):
        samples = augmentation(tone(440), RATE_HZ, random(seed))
        lengths_and_gains.append((len(samples), round(decibels(power(samples) / power(tone(440))))))
    assert set(lengths_and_gains) == {(8_000, 0), (8_000, 6)}
    assert 15 <= lengths_and_gains.count((8_000, 6)) <= 35
    band_then_gain = parse_augmentation(["band 0 4000", "gain -60 -60"]).steps
    assert [type(step).__name__ for _, step in band_then_gain] == ["Band", "Gain"]


def test_numbers_are_drawn_over_their_whole_range():
    speeds = parse_augmentation(["speed 0.9 1.0 1.1"])
    lengths = [len(speeds(noise(9_900), RATE_HZ, random(seed))) for seed in range(60)]
    assert set(lengths) == {9_000, 9_900, 11_000}
    assert min(map(lengths.count, set(lengths))) > 10
    gains = parse_augmentation(["gain -6 6"])
    drawn = [
        decibels(power(gains(noise(), RATE_HZ, random(s))) / power(noise())) for s in range(99)
    ]
    assert -6 <= min(drawn) < -5 and 5 < max(drawn) <= 6


@pytest.mark.parametrize("items", [[], ["none"], [""]])
def test_no_augmentation(items):
    assert parse_augmentation(items) is None


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("fast 1.1", "must begin with one of speed, gain, noise, band, reverb"),
        ("Speed 1.1", "must begin with one of"),
        ("0.9", "must begin with one of"),
        ("speed", "no factor; it is written 'speed FACTOR... p=PROBABILITY'"),
        ("speed 0.9 eleven", "'eleven' is not a number"),
        ("speed 0.9 3", "3 is not in 0.5 to 2"),
        ("speed nan", "nan is not in"),
        ("speed 0.9 p=2", "2 is not in 0 to 1"),
        ("speed p=0.5 0.9", "'p=0.5' is not a number"),
        ("speed 0.9 p=", "'' is not a number"),
        ("gain 6", "two numbers are needed, found 6; it is written 'gain LOW_DB HIGH_DB"),
        ("gain 6 -6", "6 is greater than -6"),
        ("noise", "two numbers are needed, found none; it is written 'noise FOLDER"),
        ("noise /nowhere 5 20", "no such folder: /nowhere"),
        ("reverb", "one folder is needed"),
        ("band 3400 300", "3400 is greater than 300"),
        ("band 300 300", "nothing would remain"),
        ("band 300 9000", "9000 is not in 0 to 8000"),
        ("noise 'half quoted 5 20", "No closing quotation"),
    ],
)
def test_what_is_wrong_is_named_with_its_item(item, problem):
    with pytest.raises(UserError) as refused:
        parse_augmentation(["gain -6 6", item])
    message = str(refused.value)
    assert message.startswith(f"--augment {item!r}: ") and problem in message


def test_every_wrong_item_is_named(tmp_path):
    with pytest.raises(UserError, match="'speed': .*; 'gain': .*"):
        parse_augmentation(["speed", "gain"])
    (tmp_path / "README").write_text("no sound")
    with pytest.raises(UserError, match=f"no audio files below {tmp_path}"):
        parse_augmentation([f"reverb {tmp_path}"])


def test_what_is_found_is_said(sounds, caplog):
    log = logging.getLogger("asr_ctc")
    log.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO, "asr_ctc"):
        parse_augmentation([f"noise '{sounds}' 5 20"])
    log.removeHandler(caplog.handler)
    assert f"{sounds}: 3 audio files, 0.00 h; not audio: 1 file, such as README.txt" in caplog.text


def test_flags_and_files_say_the_same(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("augment: ['speed 0.9 1.0 1.1', \"noise 'my sounds' 5 20 p=0.3\"]\n")
    values = read_yaml(file)
    assert values == {"augment": ["speed 0.9 1.0 1.1", "noise 'my sounds' 5 20 p=0.3"]}
    file.write_text(make_config({}, values).to_yaml())
    assert make_config(read_yaml(file), {}).features.augment == values["augment"]
    assert parse_augmentation(Config().features.augment) is None


# --- In a dataset --------------------------------------------------------------------------------


@pytest.fixture
def corpus(toy_root):
    return prepare_split(toy_root / "toy-1.0" / "fr", "train")


def dataset(corpus, items, seed=1, **others) -> ClipDataset:
    augmentation = parse_augmentation(items)
    return ClipDataset(
        corpus, CHARMAP, WaveformProcessor(), seed=seed, augmentation=augmentation, **others
    )


ALL = ["speed 0.9 1.0 1.1", "gain -6 6", "band 300 3400 p=0.5"]


def test_randomness_follows_from_seed_epoch_and_row(corpus, sounds):
    items = [*ALL, f"noise '{sounds}' 5 20 p=0.9", f"reverb '{sounds}' p=0.5"]

    def features(seed, epoch, row):
        np.random.seed(epoch + row)  # global streams must not matter
        torch.manual_seed(epoch)
        return dataset(corpus, items, seed)[Draw(row, epoch)].features

    assert torch.equal(features(1, 2, 3), features(1, 2, 3))
    others = [features(*numbers) for numbers in [(1, 2, 3), (2, 2, 3), (1, 3, 3)]]
    for i, some in enumerate(others):
        for other in others[:i]:
            assert some.shape != other.shape or not torch.equal(some, other)


@pytest.mark.slow
def test_neither_workers_nor_batches_nor_a_resume_change_a_clip(corpus, sounds):
    clips = dataset(corpus, [*ALL, f"noise '{sounds}' 5 20"])
    draws = [Draw(row, 4) for row in range(12)]
    straight = {item.id: item.features for item in map(clips.__getitem__, draws)}
    for n_workers, size in [(0, 5), (1, 12), (2, 3)]:
        batches = [draws[i : i + size] for i in range(0, 12, size)]
        for batch in list(make_loader(clips, batches, n_workers))[1 if size < 12 else 0 :]:
            unpacked = torch.nn.utils.rnn.unpack_sequence(batch[0])
            assert all(map(torch.equal, unpacked, [straight[name] for name in batch.ids]))


def test_the_clips_duration_is_that_of_what_is_heard(corpus):
    slow, plain = dataset(corpus, ["speed 0.5"])[0], dataset(corpus, [])[0]
    assert slow.duration_s == pytest.approx(2 * plain.duration_s, abs=2 / RATE_HZ)
    assert len(slow.features) == round(slow.duration_s * RATE_HZ) // 160 + 1


def test_feasibility_is_checked_after_the_speed(toy_folder):
    """A transcript that just fits the clip as recorded does not fit it played twice as fast."""
    output_lengths = CTCModel(CHARMAP, 20, 2, 1, "GRU", 0.0).output_lengths
    corpus = prepare_split(toy_folder, "train")
    lines = (toy_folder / "train.tsv").read_text().split("\n")
    n_labels = int(
        output_lengths(len(ClipDataset(corpus, CHARMAP, WaveformProcessor())[0].features))
    )
    cells = lines[1].split("\t")
    lines[1] = "\t".join([*cells[:3], ("ab" * n_labels)[: n_labels - 2], *cells[4:]])
    (toy_folder / "train.tsv").write_text("\n".join(lines))
    corpus = prepare_split(toy_folder, "train")
    for factor, kind in [("1.0", Clip), ("0.5", Clip), ("2.0", ExcludedClip)]:
        clips = dataset(
            corpus, [f"speed {factor}"], for_training=True, output_lengths=output_lengths
        )
        assert isinstance(clips[0], kind)
    assert "too long for its audio" in clips[0].reason


def test_a_clip_may_become_too_short(corpus):
    processor = WaveformProcessor(win_length=1.0, win_step=0.01)
    augmentation = parse_augmentation(["speed 2.0"])
    clips = [
        ClipDataset(corpus, CHARMAP, processor, augmentation=augmentation)[row] for row in range(9)
    ]
    reasons = {clip.reason for clip in clips if isinstance(clip, ExcludedClip)}
    assert reasons == {"shorter than one window of 16000 samples"}


def test_a_noise_that_breaks_is_named(corpus, sounds):
    clips = dataset(corpus, [f"noise '{sounds}' 5 20"])
    for file in sounds.rglob("*.*"):
        file.write_text("no longer a sound")
    item = clips[0]
    assert isinstance(item, ExcludedClip) and item.clip == corpus.path(0)
    assert "could not be augmented by" in item.reason and str(sounds) in item.reason


def test_silent_and_broken_clips_are_left_out_as_before(toy_folder):
    corpus = prepare_split(toy_folder, "train")
    soundfile.write(corpus.file(0), np.zeros(60_000), RATE_HZ, format="WAV")
    assert dataset(corpus, ALL)[0] == ExcludedClip(corpus.path(0), "silent (peak under -90 dBFS)")


def test_augmentation_is_immutable_and_shared(corpus):
    augmentation = parse_augmentation(ALL)
    assert isinstance(augmentation, Augmentation) and hash(augmentation) == hash(
        parse_augmentation(ALL)
    )


@pytest.mark.slow
def test_training_with_augmentation(tmp_path):
    make_toy_corpus(tmp_path / "data")
    soundfile.write(tmp_path / "hum.wav", noise(30_000), RATE_HZ)
    (tmp_path / "c.yaml").write_text(
        "augment: ['speed 0.9 1.1', 'noise . 5 20 p=0.5', 'gain -6 6']\ncache_dir: cache\n"
        "nlayers_rnn: 1\nnhidden_rnn: 16\nbatch_size: 8\nnum_epochs: 1\nseed: 1\nlogname: small\n"
    )
    finished = call("train --config c.yaml --nthreads 1 --precision fp32", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "nothing is cached, because --augment" in finished.stderr
    assert not (tmp_path / "cache").exists()
    assert "augment: ['speed 0.9 1.1'" in (tmp_path / "logs" / "small" / "config.yaml").read_text()
    refused = call("train --config c.yaml --logname other --augment speed", cwd=tmp_path)
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1
    assert "--augment 'speed': no factor" in refused.stderr
