"""asr_ctc: speech recognition with Connectionist Temporal Classification (CTC), in PyTorch.

    import asr_ctc

    asr = asr_ctc.Recognizer.load("best_model.pt")
    print(asr.transcribe("clip.mp3").text)

What this module offers is imported when it is first used, so that importing it costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

from asr_ctc.base.version import VERSION as __version__

if TYPE_CHECKING:
    from asr_ctc.base.errors import AudioError, UserError
    from asr_ctc.corpus.corpus import Corpus
    from asr_ctc.data import make_loader
    from asr_ctc.decoding.beam import Beam, decode
    from asr_ctc.decoding.hypothesis import Hypothesis
    from asr_ctc.loading.dataset import ClipDataset
    from asr_ctc.recognition.formats import Transcript
    from asr_ctc.recognition.recognizer import Recognizer
    from asr_ctc.scoring.metrics import ErrorRates, error_rates
    from asr_ctc.text.charmap import CharMap
    from asr_ctc.training.from_settings import train
    from asr_ctc.training.result import RunResult

_MODULES = {
    "AudioError": "base.errors",
    "Beam": "decoding.beam",
    "CharMap": "text.charmap",
    "ClipDataset": "loading.dataset",
    "Corpus": "corpus.corpus",
    "ErrorRates": "scoring.metrics",
    "Hypothesis": "decoding.hypothesis",
    "Recognizer": "recognition.recognizer",
    "RunResult": "training.result",
    "Transcript": "recognition.formats",
    "UserError": "base.errors",
    "decode": "decoding.beam",
    "error_rates": "scoring.metrics",
    "make_loader": "data",
    "train": "training.from_settings",
}

__all__ = [
    "__version__",
    "AudioError",
    "Beam",
    "CharMap",
    "ClipDataset",
    "Corpus",
    "ErrorRates",
    "Hypothesis",
    "Recognizer",
    "RunResult",
    "Transcript",
    "UserError",
    "decode",
    "error_rates",
    "make_loader",
    "train",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(importlib.import_module(f"asr_ctc.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
