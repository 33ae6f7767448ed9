import math
from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.audio import log_mel
from asr_ctc.audio.log_mel import FeatureSettings, mel_filters
from asr_ctc.audio.spec_augment import SpecAugment, spec_augment, time_warp
from asr_ctc.data import WaveformProcessor

# Published: the features of torch.manual_seed(0); torch.randn(15000, 10), first frame, first bin.
PUBLISHED_DB = [29.6854, 31.1010, 26.9646, 29.3706, 28.9349, 32.7641, 33.2911, 29.0385, 28.5572]
PUBLISHED_DB += [33.3573]


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def torchaudio_db(waveforms, rate, n_fft, hop, nmels):
    """(T, B, F) of waveforms (S, B), by torchaudio with its defaults."""
    torchaudio = pytest.importorskip("torchaudio")
    mel = torchaudio.transforms.MelSpectrogram(rate, n_fft=n_fft, hop_length=hop, n_mels=nmels)
    to_db = torchaudio.transforms.AmplitudeToDB(top_db=None)
    return to_db(mel(waveforms.T)).permute(2, 0, 1)


# --- Log-mel -------------------------------------------------------------------------------------


def test_the_published_values():
    torch.manual_seed(0)
    features = WaveformProcessor(rate=16_000, win_length=0.04, win_step=0.01, nmels=20)(
        torch.randn(15_000, 10)
    )
    assert features.shape == (94, 10, 20)
    assert features[0, :, 0].tolist() == pytest.approx(PUBLISHED_DB, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        (dict(), (16_000, 640, 160, 20)),
        (dict(nmels=80), (16_000, 640, 160, 80)),
        (dict(rate=8_000, win_length=0.025, win_step=0.0125, nmels=13), (8_000, 200, 100, 13)),
        (dict(rate=11_025, win_length=0.04, win_step=0.01, nmels=20), (11_025, 441, 110, 20)),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-4])
@pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values")
def test_all_values_are_torchaudios(settings, theirs, scale):
    waveforms = scale * noise(15_000, 10)
    features = WaveformProcessor(**settings)(waveforms)
    expected = torchaudio_db(waveforms, *theirs)
    assert features.shape == expected.shape and features.dtype == torch.float32
    assert (features - expected).abs().max() <= 1e-4


@pytest.mark.few(8)
@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 16_001, 44_100])
@pytest.mark.parametrize("n_fft", [200, 441, 640, 2_048])
@pytest.mark.parametrize("n_mels", [1, 20, 40, 80])
@pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values")
def test_mel_filters_are_torchaudios_to_the_bit(rate, n_fft, n_mels):
    functional = pytest.importorskip("torchaudio.functional")
    theirs = functional.melscale_fbanks(n_fft // 2 + 1, 0.0, float(rate // 2), n_mels, rate)
    assert torch.equal(mel_filters(n_fft, n_mels, rate), theirs)


def test_mel_filters_by_hand():
    """Two filters of 16 kHz have corners at 0, 946.7, 2840.0 (1 kHz is 999.99 mel) and 3 thirds."""
    mels = [2595 * math.log10(1 + 8_000 / 700) * third / 3 for third in range(4)]
    low, first, second, high = (700 * (10 ** (mel / 2595) - 1) for mel in mels)
    filters = mel_filters(160, 2, 16_000)  # a bin for every 100 Hz
    assert filters.shape == (81, 2)
    for k, (rising, falling) in enumerate(filters.tolist()):
        hz = 100 * k
        up, down = (hz - low) / (first - low), (second - hz) / (second - first)
        assert rising == pytest.approx(max(0, min(up, down)), abs=1e-5)
        up, down = (hz - first) / (second - first), (high - hz) / (high - second)
        assert falling == pytest.approx(max(0, min(up, down)), abs=1e-5)


def test_silence_is_finite():
    assert (WaveformProcessor()(torch.zeros(2_000, 1)) == -100).all()


@pytest.mark.parametrize("processor", [WaveformProcessor(), WaveformProcessor(8_000, 0.03, 0.015)])
def test_the_number_of_frames(processor):
    hop = {16_000: 160, 8_000: 120}[processor.rate]
    for n_samples in [*range(1_000, 1_000 + 2 * hop), 15_000]:
        n_frames = processor.get_spectro_length(n_samples)
        assert n_frames == n_samples // hop + 1
        if n_samples % 7 == 0:
            assert len(processor(torch.zeros(n_samples, 1))) == n_frames
    lengths = torch.tensor([1_000, 1_199, 1_200])
    assert processor.get_spectro_length(lengths).tolist() == [
        n // hop + 1 for n in [1e3, 1199, 1200]
    ]


@given(st.lists(st.integers(640, 3_000), min_size=1, max_size=4), st.integers(0, 500))
def test_with_lengths_each_clip_is_as_alone(lengths, n_padding):
    processor = WaveformProcessor(spectro_normalization=(-20.0, 10.0))
    clips = [noise(n, seed=n) for n in lengths]
    padded = torch.full((max(lengths) + n_padding, len(clips)), torch.nan)
    for b, clip in enumerate(clips):
        padded[: len(clip), b] = clip
    features = processor(padded, torch.tensor(lengths))
    assert features.shape == (max(lengths) // 160 + 1, len(clips), 20)
    for b, clip in enumerate(clips):
        n_frames = processor.get_spectro_length(len(clip))
        assert torch.equal(features[:n_frames, b], processor(clip[:, None])[:, 0])
        assert (features[n_frames:, b] == 0).all()


def test_normalisation_takes_off_the_mean_and_divides():
    waveforms = noise(5_000, 2)
    plain = WaveformProcessor()(waveforms)
    normalised = WaveformProcessor(spectro_normalization=(-31.0, 32.0))(waveforms)
    assert torch.allclose(normalised, (plain + 31) / 32, atol=1e-6)


@pytest.mark.parametrize(
    ("waveforms", "lengths", "message"),
    [
        (torch.zeros(1_000), None, r"must be \(S, B\), found \(1000,\)"),
        (torch.zeros(1, 1_000, 1), None, r"must be \(S, B\)"),
        (torch.zeros(639, 2), None, "639 samples are shorter than one window of 640"),
        (torch.zeros(1_000, 2), [1_000, 300], "300 samples are shorter than one window"),
        (torch.zeros(1_000, 2), [1_000], r"2 lengths in 1\.\.1000 are needed, found \[1000\]"),
        (torch.zeros(1_000, 2), [1_000, 1_001], "found .*1001"),
        (torch.zeros(1_000, 2), [1_000, 0], r"2 lengths in 1\.\.1000 are needed"),
    ],
)
def test_refuses_what_it_cannot_analyse(waveforms, lengths, message):
    with pytest.raises(ValueError, match=message):
        WaveformProcessor()(waveforms, lengths)


@pytest.mark.parametrize("sizes", [dict(win_length=1e-5), dict(win_step=1e-5)])
def test_refuses_windows_of_no_samples(sizes):
    with pytest.raises(ValueError, match="too small"):
        WaveformProcessor(**sizes)


SIZES = {"rate": 16_000, "win_length": 0.04, "win_step": 0.01, "nmels": 20}


def test_feature_settings_by_hand():
    settings = FeatureSettings(rate=8_000, win_length=0.025, win_step=0.0125, nmels=13)
    assert (settings.n_fft, settings.hop) == (200, 100)
    assert [settings.n_frames(n) for n in (0, 99, 100, 8_000)] == [1, 1, 2, 81]
    odd = WaveformProcessor(16_000, 0.0207, 0.0075, 13)  # windows of 331 samples
    for n in (15_959, 15_960, 15_961):
        assert len(odd(torch.zeros(n, 1))) == odd.settings.n_frames(n) == (n - 1) // 120 + 1
    assert WaveformProcessor(8_000, 0.025, 0.0125, 13).settings == settings
    with pytest.raises(FrozenInstanceError):
        settings.nmels = 20
    with pytest.raises(TypeError):
        FeatureSettings(16_000, 0.04, 0.01, 20)  # what is what?


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [0, -1, "20", None, True, [16_000], math.nan, math.inf])
def test_impossible_feature_settings_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        FeatureSettings(**{**SIZES, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_freq_masks", -1), ("n_time_masks", -1), ("max_time_s", -0.1), ("max_warp_s", math.nan)]
    + [("max_freq_share", 1.5), ("max_freq_share", -0.1)],
)
def test_impossible_masks_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        SpecAugment(**{name: value})


def test_the_classic_settings_are_those_of_the_parts():
    """Without ``augment`` the sizes of masks mean nothing."""
    processor = WaveformProcessor(16_000, 0.04, 0.01, 20, True, (-20.0, 10.0), 2, 0.5, 3, 0.2, 0.05)
    assert isinstance(processor, log_mel.WaveformProcessor)
    assert processor.settings == FeatureSettings(**SIZES)
    assert processor.normalization == (-20.0, 10.0)
    assert processor.spec_augment == SpecAugment(
        n_freq_masks=2, max_freq_share=0.5, n_time_masks=3, max_time_s=0.2, max_warp_s=0.05
    )
    assert WaveformProcessor(n_freq_masks=2).spec_augment is None


# --- SpecAugment ---------------------------------------------------------------------------------


def masks_of(clean, masked, fill):
    """(masked frames, masked bins) of clips (T, F); all that is masked is at ``fill``."""
    changed = masked != clean
    assert torch.equal(masked[changed], torch.full_like(masked[changed], fill))
    return changed.all(1).nonzero()[:, 0].tolist(), changed.all(0).nonzero()[:, 0].tolist()


def is_span(places):
    return places == list(range(places[0], places[0] + len(places))) if places else True


def augmented(n_clips=300, n_samples=16_000, **settings):
    """(frames, bins) masked in each of ``n_clips`` copies of a clip, in one batch."""
    torch.manual_seed(0)
    normalization = (-20.0, 10.0)
    clip = noise(n_samples, 1)
    clean = WaveformProcessor(spectro_normalization=normalization)(clip)[:, 0]
    processor = WaveformProcessor(augment=True, spectro_normalization=normalization, **settings)
    features = processor(clip.expand(-1, n_clips))
    return [masks_of(clean, features[:, b], 0.0) for b in range(n_clips)]


def test_default_masks_and_their_bounds():
    masks = augmented()
    assert all(is_span(frames) and is_span(bins) for frames, bins in masks)
    # One of each, of 0 to 10 frames (0.1 s) and 0 to 5 bins (a quarter of 20), anywhere.
    assert {len(frames) for frames, _ in masks} == set(range(11))
    assert {len(bins) for _, bins in masks} == set(range(6))
    assert {0, 100} <= {frame for frames, _ in masks for frame in frames}
    assert {bin for _, bins in masks for bin in bins} == set(range(20))


def test_each_clip_of_a_batch_has_its_own_masks():
    masks = augmented()
    assert len({(tuple(frames), tuple(bins)) for frames, bins in masks}) > 200


def test_sizes_of_masks_are_configurable():
    wide = augmented(max_freq_share=0.5, max_time_s=0.3)
    assert max(len(bins) for _, bins in wide) == 10
    assert max(len(frames) for frames, _ in wide) == 30
    assert all(masks == ([], []) for masks in augmented(50, max_freq_share=0.0, max_time_s=0.0))


def test_numbers_of_masks_are_configurable():
    assert all(bins == [] for _, bins in augmented(50, n_freq_masks=0))
    assert all(frames == [] for frames, _ in augmented(50, n_time_masks=0))
    several = augmented(100, n_freq_masks=3, n_time_masks=2)
    assert any(not is_span(frames) for frames, _ in several)
    assert max(len(bins) for _, bins in several) > 5 and max(len(f) for f, _ in several) > 10


def test_masks_stay_within_the_clip_of_a_padded_batch():
    """A clip shorter than the widest mask: frames past its end stay zero, masks are its own."""
    short, n_frames = 800, 6
    torch.manual_seed(0)
    processor = WaveformProcessor(augment=True, n_freq_masks=0)
    clean = WaveformProcessor()(noise(short, 1))[:, 0]
    waveforms = torch.zeros(16_000, 100)
    waveforms[:short] = noise(short, 1)
    features = processor(waveforms, [16_000] + [short] * 99)
    assert features.shape[0] == 101 and (features[n_frames:, 1:] == 0).all()
    widths = [
        len(masks_of(clean, features[:n_frames, b], float(clean.mean()))[0]) for b in range(1, 100)
    ]
    assert set(widths) == set(range(n_frames + 1))


def test_without_normalisation_masks_are_filled_with_the_clips_mean():
    torch.manual_seed(0)
    waveform = noise(16_000, 1)
    clean = WaveformProcessor()(waveform)[:, 0]
    processor = WaveformProcessor(augment=True)
    masks = [masks_of(clean, processor(waveform)[:, 0], float(clean.mean())) for _ in range(20)]
    assert any(frames and bins for frames, bins in masks)


def test_augmenting_leaves_its_input_and_follows_its_generator():
    features = noise(50, 20)
    before = features.clone()

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return spec_augment(
            features,
            n_freq_masks=1,
            max_freq_bins=5,
            n_time_masks=1,
            max_time_frames=10,
            fill=0.0,
            generator=generator,
        )

    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    assert torch.equal(features, before)


# --- Time warp: a spectrogram whose value is its frame shows where each frame came from -----------


def warped(n_frames, max_frames, seed):
    ramp = torch.arange(n_frames, dtype=torch.float32)[:, None].expand(-1, 3)
    features = time_warp(ramp, max_frames, torch.Generator().manual_seed(seed))
    assert features.shape == (n_frames, 3) and (features == features[:, :1]).all()
    return features[:, 0]


@pytest.mark.few(1)
@pytest.mark.parametrize("n_frames", [23, 24, 60])
def test_the_warp_moves_one_frame_and_stretches_evenly_up_to_the_ends(n_frames):
    moves = set()
    for seed in range(300):
        came_from = warped(n_frames, 10, seed)
        assert came_from[0] == 0 and came_from[-1] == n_frames - 1
        shift = came_from - torch.arange(n_frames)
        at = int(shift.abs().argmax())
        moves.add(-round(float(shift[at])))
        assert shift[at].abs() <= 10 and (came_from.diff() > 0).all()
        for side in came_from[: at + 1].diff(), came_from[at:].diff():
            assert torch.allclose(side, side[:1], atol=1e-4)
        frame = round(float(came_from[at]))
        assert frame == pytest.approx(float(came_from[at]), abs=1e-4)
        assert at == frame or 10 < frame < n_frames - 1 - 10
    assert moves == set(range(-10, 11))  # either way, and every width


@pytest.mark.parametrize(("n_frames", "max_frames"), [(22, 10), (1, 10), (60, 0)])
def test_nothing_is_warped_by_nothing_nor_in_a_clip_too_short(n_frames, max_frames):
    state = torch.get_rng_state()
    assert torch.equal(warped(n_frames, max_frames, 0), torch.arange(n_frames).float())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_warp_is_of_the_training_features_and_off_unless_asked_for():
    waveform = noise(16_000, 1)
    no_masks = {"n_freq_masks": 0, "n_time_masks": 0}
    clean = WaveformProcessor()(waveform)
    warp = WaveformProcessor(augment=True, max_warp_s=0.2, **no_masks)
    assert not torch.equal(warp(waveform), clean) and warp(waveform).shape == clean.shape
    assert torch.equal(WaveformProcessor(augment=True, **no_masks)(waveform), clean)
    assert torch.equal(WaveformProcessor(max_warp_s=0.2)(waveform), clean)


def test_no_masks_unless_asked_for():
    waveform = noise(16_000, 1)
    assert torch.equal(WaveformProcessor()(waveform), WaveformProcessor()(waveform))


# --- Normalisation of each clip ------------------------------------------------------------------


def clip_processor(clip_norm, range_db=None, **options):
    settings = FeatureSettings(
        rate=16_000, win_length=0.04, win_step=0.01, nmels=20, clip_norm=clip_norm,
        clip_range_db=range_db,
    )  # fmt: skip
    return log_mel.WaveformProcessor(settings, **options)


def test_clip_norm_by_hand():
    decibels = torch.tensor([[-40.0, 10.0], [-20.0, 10.5]])
    assert log_mel.normalize_clip(decibels, "none").equal(decibels)
    mean = [[-10.0, -0.25], [10.0, 0.25]]
    assert log_mel.normalize_clip(decibels, "mean").tolist() == mean
    # The second bin hardly varies: it is not magnified.
    by_deviation = [[-1.0, -0.25], [1.0, 0.25]]
    assert log_mel.normalize_clip(decibels, "mean_variance").tolist() == by_deviation
    assert decibels.tolist() == [[-40.0, 10.0], [-20.0, 10.5]]
    # Raised to 10.5 - 40 dB first: [[-29.5, 10], [-20, 10.5]].
    raised = [[-4.75, -0.25], [4.75, 0.25]]
    assert log_mel.normalize_clip(decibels, "mean", 40.0).tolist() == raised
    assert log_mel.normalize_clip(decibels, "none", 40.0).equal(decibels)
    assert decibels.tolist() == [[-40.0, 10.0], [-20.0, 10.5]]


@pytest.mark.parametrize("clip_norm", ["mean", "mean_variance"])
@pytest.mark.parametrize("gain_db", [-40.0, -20.0, 10.0])
def test_with_clip_norm_the_level_of_a_recording_does_not_matter(clip_norm, gain_db):
    processor = clip_processor(clip_norm, normalization=(0.0, 12.0))
    waveform = noise(16_000) * torch.linspace(0.01, 0.2, 16_000)
    expected = processor.clip(waveform)
    assert processor.clip(10 ** (gain_db / 20) * waveform).allclose(expected, atol=1e-3)
    absolute = clip_processor("none", normalization=(0.0, 12.0))
    assert not absolute.clip(waveform).allclose(
        absolute.clip(10 ** (gain_db / 20) * waveform), atol=0.5
    )


@pytest.mark.parametrize("gain_db", [-20.0, 10.0])
def test_digital_silence_follows_the_level_within_the_range(gain_db):
    """Without the range, pauses of zeros stay at the floor, so that the mean moves by the gain."""
    waveform = noise(16_000) * 0.2
    waveform[8_000:] = 0
    louder = 10 ** (gain_db / 20) * waveform
    plain, ranged = clip_processor("mean"), clip_processor("mean", range_db=80.0)
    assert ranged.clip(louder).allclose(ranged.clip(waveform), atol=1e-3)
    assert not plain.clip(louder).allclose(plain.clip(waveform), atol=1.0)


@pytest.mark.parametrize("range_db", [0, -3.0, True, "80", float("nan")])
def test_an_impossible_range_is_named(range_db):
    with pytest.raises(ValueError, match="clip_range_db must be a number of dB above 0"):
        clip_processor("mean", range_db=range_db)


def test_clip_norm_in_a_batch_is_that_of_the_clip_alone():
    processor = clip_processor("mean")
    waveforms, lengths = noise(16_000, 2), [16_000, 9_000]
    batch = processor(waveforms, lengths)
    alone = processor.clip(waveforms[:9_000, 1])
    assert batch[: len(alone), 1].equal(alone) and not batch[len(alone) :, 1].any()


def test_an_unknown_clip_norm_is_named():
    with pytest.raises(ValueError, match="clip_norm must be one of none, mean, mean_variance"):
        clip_processor("median")
