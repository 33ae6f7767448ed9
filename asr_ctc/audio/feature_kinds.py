"""The kinds of features that a model file can name."""

from asr_ctc.audio.features import Features
from asr_ctc.audio.kaldi_mel import KaldiMelFeatures
from asr_ctc.audio.log_mel import FeatureSettings
from asr_ctc.audio.samples import SampleFeatures
from asr_ctc.audio.whisper_mel import WhisperFeatures

KINDS: dict[str, type[Features]] = {
    kind.kind: kind for kind in (FeatureSettings, WhisperFeatures, SampleFeatures, KaldiMelFeatures)
}


def features_from_dict(values: dict) -> Features:
    """The inverse of ``to_dict``; ValueError or TypeError for anything else."""
    values = dict(values)
    kind = values.pop("kind", FeatureSettings.kind)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"its features are of an unknown kind, {kind!r:.40}")
    return KINDS[kind](**values)
