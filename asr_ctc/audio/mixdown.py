"""Several channels to one, and integers that were stored as floats to their scale: decided once
for a recording, from all of it, so that every block of it is treated alike."""

from dataclasses import dataclass, field

import numpy as np

FAINT_DB = 20.0  # a channel so far below the loudest adds nothing but level lost in the mean
CANCELLED_DB = 3.0  # the mean lies so far below what channels of unlike sound would give
INTEGER_PEAK = 256.0  # +48 dBFS; no recorder of floats has such headroom
INTEGER_SCALES = {2.0**15: 16, 2.0**23: 24, 2.0**31: 32}  # full scale: bits


@dataclass(frozen=True)
class Mixdown:
    """Which channels are averaged, and by what their samples are divided before.

    note: what a listener should know of it, "" for a plain mean of channels within full scale.
    """

    channels: tuple[int, ...]
    scale: float = 1.0
    note: str = ""

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Samples (S, channels) as one channel (S,)."""
        if len(self.channels) == 1:
            mono = samples[:, self.channels[0]]
        elif len(self.channels) == samples.shape[1]:
            mono = samples.mean(axis=1)
        else:
            mono = samples[:, list(self.channels)].mean(axis=1)
        return mono if self.scale == 1 else mono / np.float32(self.scale)


@dataclass
class MixdownChoice:
    """Gathers what the choice depends on: the products of all pairs of channels, and the peak."""

    n_channels: int
    products: np.ndarray = field(init=False)
    peak: float = 0.0

    def __post_init__(self) -> None:
        self.products = np.zeros((self.n_channels, self.n_channels))

    def add(self, samples: np.ndarray) -> None:
        """A block of samples (S, channels); finite."""
        self.peak = max(self.peak, -float(samples.min(initial=0)), float(samples.max(initial=0)))
        if self.n_channels > 1:
            exact = samples.astype(np.float64)
            self.products += exact.T @ exact

    def mixdown(self, channel: int | None = None) -> Mixdown:
        """The mean of the channels that carry sound; the loudest of them where they cancel.

        A channel carries sound when its power is less than 20 dB below the loudest one's: of a
        recording with speech in one channel of six, the mean of all would lose 16 dB. Channels
        cancel when the power of their mean is less than half of what it is for unlike sounds, which
        is their powers' sum over the square of their number: opposite phase. Two people on a
        channel each are unlike sounds, so both are heard. ``channel`` overrules it.
        """
        scale, notes = self._scale(), []
        if scale != 1:
            bits = INTEGER_SCALES[scale]
            notes.append(f"its float samples are integers of {bits} bits, divided by 2^{bits - 1}")
        if channel is not None or self.n_channels == 1:
            return Mixdown((channel or 0,), scale, ", ".join(notes))
        power = self.products.diagonal()
        loudest = int(power.argmax())
        channels = np.flatnonzero(power > power[loudest] * 10 ** (-FAINT_DB / 10))
        if power[loudest] == 0:
            channels = np.arange(self.n_channels)
        mean_power = self.products[np.ix_(channels, channels)].sum() / len(channels) ** 2
        unlike_power = power[channels].sum() / len(channels) ** 2
        cancels = mean_power < unlike_power * 10 ** (-CANCELLED_DB / 10)
        if cancels and len(channels) > 1:
            lost_db = 10 * np.log10(max(mean_power, power[loudest] * 1e-10) / power[loudest])
            notes.append(
                f"channel {loudest + 1} of {self.n_channels} alone is used: the channels cancel "
                f"each other, their mean would lose {-lost_db:.0f} dB"
            )
            channels = np.array([loudest])
        elif len(channels) < self.n_channels:
            used = ", ".join(str(i + 1) for i in channels)
            notes.append(
                f"channel{'s' * (len(channels) > 1)} {used} of {self.n_channels} used: there is "
                "no sound in the others, or hardly any"
            )
        return Mixdown(tuple(channels.tolist()), scale, ", ".join(notes))

    def _scale(self) -> float:
        if self.peak <= INTEGER_PEAK:
            return 1.0
        return next((scale for scale in INTEGER_SCALES if self.peak <= scale), 2.0**31)
