"""The encoders that a model file can hold, by the name in it."""

from dataclasses import asdict

from asr_ctc.acoustic.encoders.encoder import Encoder
from asr_ctc.acoustic.encoders.huggingface import FolderEncoder, FolderSettings
from asr_ctc.acoustic.encoders.torchaudio_bundles import BundleEncoder, BundleSettings
from asr_ctc.acoustic.encoders.whisper import WhisperEncoder, WhisperSettings

EncoderSettings = WhisperSettings | BundleSettings | FolderSettings
KINDS: dict[str, tuple[type, type[Encoder]]] = {
    "whisper": (WhisperSettings, WhisperEncoder),
    "torchaudio": (BundleSettings, BundleEncoder),
    "huggingface": (FolderSettings, FolderEncoder),
}


def encoder_of(settings: EncoderSettings) -> Encoder:
    """A new encoder, its weights at random."""
    for of_kind, encoder in KINDS.values():
        if type(settings) is of_kind:
            return encoder(settings)
    raise TypeError(f"no encoder has settings of type {type(settings).__name__}")


def to_dict(settings: EncoderSettings) -> dict:
    """Plain values, for the model file."""
    (name,) = [name for name, (of_kind, _) in KINDS.items() if type(settings) is of_kind]
    return {"kind": name, **asdict(settings)}


def from_dict(values: dict) -> EncoderSettings:
    """The inverse of ``to_dict``; ValueError or TypeError for anything else."""
    values = dict(values)
    name = values.pop("kind", None)
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"an encoder of unknown kind: {name!r:.40}")
    return KINDS[name][0](**values)
