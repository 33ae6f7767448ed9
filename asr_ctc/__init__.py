"""asr_ctc: speech recognition with Connectionist Temporal Classification (CTC), in PyTorch."""

import os

__version__ = "0.1.0"

# Read when torch is loaded: its threads wait for each other asleep. The default, to look again and
# again, makes a step many times slower where other programs share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def __getattr__(name: str):
    """``asr_ctc.Recognizer``, imported on first use so that ``--help`` does not wait for torch."""
    if name == "Recognizer":
        from asr_ctc.recognition.recognizer import Recognizer

        return Recognizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
