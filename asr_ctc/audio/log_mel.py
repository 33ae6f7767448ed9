"""From samples to log-mel spectrograms: pure functions, and one class that applies them with fixed
settings."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from asr_ctc.audio.features import Features, Lengths
from asr_ctc.audio.spec_augment import SpecAugment

POWER_FLOOR = 1e-10  # -100 dB
CLIP_NORMS = {  # in words
    "none": "",
    "mean": ", less the mean of each clip",
    "mean_variance": ", less the mean of each clip, by its deviation",
}
MIN_DEVIATION_DB = 1.0  # a bin that varies less over a clip holds no speech to be magnified
MEL_HZ, MEL_STEP = 700.0, 2595.0  # of the mel scale below
# Decibels are kept as their distance from the middle of speech, since float16 is finest near zero.
# From -153 to 103 dB (the floor is -100) no value is off by more than 0.032 dB; French speech is by
# 0.005 dB (root mean square), a five-thousandth of its deviation.
CENTRE_DB = -25.0


def mel_filters(n_fft: int, n_mels: int, rate: int) -> torch.Tensor:
    """Triangles (n_fft // 2 + 1, n_mels) that share a power spectrum out to mel bins.

    Their corners are evenly spaced on the mel scale, mel = 2595 log10(1 + Hz / 700), from 0 to half
    of ``rate``; each rises from 0 at its neighbour's peak to 1 at its own, and falls to 0 at the
    next. Source: Young et al., "The HTK Book", 5.4. In single precision and in the order of
    torchaudio's ``melscale_fbanks``, so that both are equal to the bit.
    """
    return triangles(mel_corners_hz(n_mels, rate), bins_hz(n_fft, rate))


def mel_corners_hz(n_mels: int, rate: int) -> torch.Tensor:
    """The corners (n_mels + 2,) of ``mel_filters``; the peaks are those between the outer two."""
    highest_mel = MEL_STEP * math.log10(1.0 + float(rate // 2) / MEL_HZ)
    corners_mel = torch.linspace(0.0, highest_mel, n_mels + 2)
    return MEL_HZ * (10.0 ** (corners_mel / MEL_STEP) - 1.0)


def bins_hz(n_fft: int, rate: int) -> torch.Tensor:
    """The frequencies (n_fft // 2 + 1,) of a power spectrum."""
    return torch.linspace(0, rate // 2, n_fft // 2 + 1)


def triangles(corners: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
    """Filters (bins, F) from F + 2 corners, straight on the scale of both: see ``mel_filters``."""
    widths = corners.diff()
    above = corners - bins[:, None]  # (bins, corners)
    rising = -above[:, :-2] / widths[:-1]
    falling = above[:, 2:] / widths[1:]
    return torch.minimum(rising, falling).clamp(min=0.0)


def log_mel(
    waveforms: torch.Tensor, *, window: torch.Tensor, hop: int, filters: torch.Tensor
) -> torch.Tensor:
    """Mel power spectrograms in dB, (B, T, F) of waveforms (B, S), with T = S // hop + 1.
    For a window of an odd number of samples T = (S - 1) // hop + 1.

    ``window`` (n_fft,) weighs each frame; frames are centred, the ends reflected. ``filters`` is
    (n_fft // 2 + 1, F). The same numbers as torchaudio's MelSpectrogram and AmplitudeToDB with
    ``top_db=None``.
    """
    power = power_spectra(waveforms, window, hop)
    return (power @ filters).clamp_(min=POWER_FLOOR).log10_().mul_(10)


def power_spectra(waveforms: torch.Tensor, window: torch.Tensor, hop: int) -> torch.Tensor:
    """Power (B, T, n_fft // 2 + 1) of waveforms (B, S); frames as in ``log_mel``."""
    spectrum = torch.stft(
        waveforms,
        len(window),
        hop,
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    ).transpose(1, 2)
    # Not abs().square(): the square root on its way takes as long as all the rest.
    squares = torch.view_as_real(spectrum).square()
    return squares[..., 0] + squares[..., 1]


def normalize_clip(
    decibels: torch.Tensor, clip_norm: str, range_db: float | None = None
) -> torch.Tensor:
    """A clip's spectrogram (T, F) less its mean over time in each bin, ``mean_variance`` by its
    deviation too: unchanged by the gain and the filter of a microphone.

    What is more than ``range_db`` below the loudest value is raised to that, since pauses of
    digital silence stay at the floor of the logarithm, whatever the gain.
    Source: Atal 1974, "Effectiveness of linear prediction characteristics of the speech wave for
    automatic speaker identification and verification" (cepstral mean subtraction).
    """
    if clip_norm == "none":
        return decibels
    if range_db is not None:
        decibels = decibels.clamp(min=decibels.max() - range_db)
    centred = decibels - decibels.mean(0)
    if clip_norm == "mean":
        return centred
    return centred.div_(centred.square().mean(0).sqrt().clamp_(min=MIN_DEVIATION_DB))


@dataclass(frozen=True, kw_only=True)
class FeatureSettings(Features):
    """What a log-mel spectrogram in dB follows from: in the model file, and in the name of a cache.

    rate: samples per second; win_length, win_step: seconds; nmels: mel bins F. clip_norm: what is
    taken off each clip, bin by bin, so that level and microphone matter less: none, its mean over
    time, or mean and deviation. clip_range_db: see ``normalize_clip``. ValueError for impossible
    ones.
    """

    kind = "log-mel"
    centre = CENTRE_DB
    rate: int  # type: ignore[misc]
    win_length: float
    win_step: float
    nmels: int
    clip_norm: str = "none"  # type: ignore[misc]
    clip_range_db: float | None = None  # type: ignore[misc]

    def __post_init__(self) -> None:
        for name in ("rate", "nmels"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, found {value!r}")
        for name in ("win_length", "win_step"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number of seconds above 0, found {value!r}")
        if self.clip_norm not in CLIP_NORMS:
            raise ValueError(f"clip_norm must be one of {', '.join(CLIP_NORMS)}")
        range_db = self.clip_range_db
        if range_db is not None and (type(range_db) not in (int, float) or not 0 < range_db < 1e3):
            raise ValueError(f"clip_range_db must be a number of dB above 0, found {range_db!r}")
        if self.hop < 1 or self.n_fft < 2:
            raise ValueError(f"too small: windows of {self.n_fft}, steps of {self.hop} samples")

    @property
    def n_fft(self) -> int:
        """Samples in a window."""
        return round(self.win_length * self.rate)

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return round(self.win_step * self.rate)

    @property
    def min_samples(self) -> int:
        return self.n_fft

    @property
    def frame_size(self) -> int:
        return self.nmels

    def n_frames(self, n_samples: Lengths) -> Lengths:
        return (n_samples - self.n_fft % 2) // self.hop + 1

    def centres_hz(self) -> torch.Tensor:
        return mel_corners_hz(self.nmels, self.rate)[1:-1]

    def to_dict(self) -> dict:
        """The fields; without those of the clip's normalisation where there is none, as the first
        model files have it."""
        values = super().to_dict()
        if self.clip_norm == "none":
            del values["clip_norm"]
        if self.clip_norm == "none" or self.clip_range_db is None:
            del values["clip_range_db"]
        return values

    def cache_key(self) -> dict:
        """What the decibels of a spectrogram follow from: a cache of other ones is another cache.

        The normalisation of clips is not among it: it is applied to what comes from the cache.
        """
        return {
            "rate": self.rate,
            "n_fft": self.n_fft,
            "hop": self.hop,
            "nmels": self.nmels,
            "floor": POWER_FLOOR,
        }

    def analyser(self) -> Callable[[torch.Tensor], torch.Tensor]:
        window = torch.hann_window(self.n_fft)
        filters = mel_filters(self.n_fft, self.nmels, self.rate)
        return partial(_log_mel_of_one, window=window, hop=self.hop, filters=filters)

    def __str__(self) -> str:
        return (
            f"{self.nmels} mel bins, {1000 * self.win_length:g} ms windows every "
            f"{1000 * self.win_step:g} ms, {self.rate} Hz{self._described_norm()}"
        )

    def _described_norm(self) -> str:
        if self.clip_norm == "none" or self.clip_range_db is None:
            return CLIP_NORMS[self.clip_norm]
        return f", the upper {self.clip_range_db:g} dB{CLIP_NORMS[self.clip_norm]}"


def _log_mel_of_one(waveform: torch.Tensor, **options: Any) -> torch.Tensor:
    return log_mel(waveform[None], **options)[0]


class WaveformProcessor:
    """Waveforms to features such as log-mel spectrograms, normalised, and for training masked.

    normalization: (mean, standard deviation), subtracted and divided by; None leaves them, in dB.
    spec_augment: changes each clip with random draws of its own; None leaves it as it is.
    """

    def __init__(
        self,
        settings: Features,
        *,
        normalization: tuple[float, float] | None = None,
        spec_augment: SpecAugment | None = None,
    ):
        self.settings = settings
        self.normalization, self.spec_augment = normalization, spec_augment
        self.rate, self.hop, self.min_samples = settings.rate, settings.hop, settings.min_samples
        self.analyse = settings.analyser()

    def get_spectro_length(self, n_samples: Lengths) -> Lengths:
        """Frames T of a waveform of S samples (an int, or a tensor of them)."""
        return self.settings.n_frames(n_samples)

    def __call__(
        self,
        waveforms: torch.Tensor,
        lengths: Sequence[int] | torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Spectrograms (T, B, F) of waveforms (S, B).

        With ``lengths`` (B,) in samples, each clip's frames equal those of the clip alone, whatever
        it is padded to, and what lies past its end is 0. ``generator`` draws the masks.
        ValueError for a waveform shorter than one window.
        """
        if waveforms.dim() != 2:
            raise ValueError(f"waveforms must be (S, B), found {tuple(waveforms.shape)}")
        n_samples, batch = waveforms.shape
        lengths = [n_samples] * batch if lengths is None else [int(n) for n in lengths]
        if len(lengths) != batch or not all(0 < n <= n_samples for n in lengths):
            raise ValueError(f"{batch} lengths in 1..{n_samples} are needed, found {lengths}")
        if min(lengths) < self.min_samples:
            raise ValueError(
                f"{min(lengths)} samples are shorter than one window of {self.min_samples}"
            )
        clips = [self.clip(waveforms[:n, b], generator) for b, n in enumerate(lengths)]
        return torch.nn.utils.rnn.pad_sequence(clips)

    def clip(
        self, waveform: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """The spectrogram (T, F) of one waveform (S,), normalised, and masked when augmenting."""
        return self.finish(self.analyse(waveform), generator)

    def finish(
        self, features: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """The second half of ``clip``, after ``analyse``: (T, F) normalised, and masked."""
        settings, fill = self.settings, 0.0
        features = normalize_clip(features, settings.clip_norm, settings.clip_range_db)
        if self.normalization is not None:
            mean, deviation = self.normalization
            features = (features - mean).div_(deviation)
        elif self.spec_augment is not None:
            fill = float(features.mean())
        if self.spec_augment is None:
            return features
        step_s = self.hop / self.rate
        return self.spec_augment(features, step_s=step_s, fill=fill, generator=generator)
