"""Settings: from samples to log-mel spectrograms."""

from dataclasses import dataclass

from asr_ctc.config.settings.setting import setting


@dataclass(frozen=True)
class FeaturesConfig:
    """from samples to log-mel spectrograms"""

    nmels: int = setting(40, "number of mel bins", at_least=1, at_most=256)
    win_length: float = setting(0.04, "analysis window in seconds", at_least=0.001, at_most=1)
    win_step: float = setting(
        0.0075, "step between windows (hop length) in seconds", at_least=0.001, at_most=1
    )
    clip_norm: str = setting(
        "mean",
        "normalise each clip by itself, mel bin by mel bin: by its mean over time, so that level "
        "and microphone matter less, by mean_variance, or not (none)",
        choices=("none", "mean", "mean_variance"),
    )
    clip_range_db: float | None = setting(
        80.0,
        "with --clip_norm, what is more dB below a clip's loudest is raised to that, since digital "
        "silence does not follow the level; none leaves it",
        above=0,
        below=1000,
    )
    train_augment: bool = setting(False, "mask training spectrograms (SpecAugment)")
    n_freq_masks: int = setting(1, "SpecAugment: frequency masks per clip", at_least=0)
    max_freq_share: float = setting(
        0.25,
        "SpecAugment: maximum width of a frequency mask, as a share of the mel bins",
        at_least=0,
        at_most=1,
    )
    n_time_masks: int = setting(1, "SpecAugment: time masks per clip", at_least=0)
    max_time_s: float = setting(
        0.1, "SpecAugment: maximum length of a time mask in seconds", at_least=0
    )
    max_warp_s: float = setting(
        0.0, "SpecAugment: maximum shift of the time warp in seconds; 0 switches it off", at_least=0
    )
    augment: list[str] = setting(
        [],
        "change training waveforms, in this order, each with a probability p (else 1): any of "
        "'speed 0.9 1.0 1.1' 'gain -6 6 p=0.5' 'noise FOLDER 5 20 p=0.3' (SNR in dB) "
        "'reverb FOLDER p=0.2' (impulse responses) 'band 300 3400 p=0.1' (Hz); or none",
        value="CHANGE",
    )
