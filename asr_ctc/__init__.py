"""asr_ctc: speech recognition with Connectionist Temporal Classification (CTC), in PyTorch."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """``asr_ctc.Recognizer``, imported on first use so that ``--help`` does not wait for torch."""
    if name == "Recognizer":
        from asr_ctc.recognition.recognizer import Recognizer

        return Recognizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
