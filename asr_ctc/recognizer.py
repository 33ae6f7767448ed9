"""A trained model that turns audio into text, in two lines of Python."""

import numpy as np
import torch
from torch.nn.utils.rnn import pack_sequence

from asr_ctc import audio, compute
from asr_ctc.checkpoint import ModelFile, load_model
from asr_ctc.decoding import Hypothesis, beam_decode, greedy_decode
from asr_ctc.errors import AudioError
from asr_ctc.models import log_posteriors


class Recognizer:
    """``Recognizer.load("best_model.pt").transcribe("clip.mp3")`` gives hypotheses, best first."""

    def __init__(self, file: ModelFile, device: str = "auto"):
        self.file = file
        self.device = compute.pick_device(device)
        self.charmap, self.processor = file.charmap, file.build_processor()
        self.model = file.build_model().to(self.device)

    @classmethod
    def load(cls, path, device: str = "auto") -> "Recognizer":
        """Reads a model file; UserError when it is not one, or the device is absent."""
        return cls(load_model(path), device)

    @torch.inference_mode()
    def log_posteriors(self, samples: np.ndarray) -> torch.Tensor:
        """Log probabilities (T', V) of samples (S,) at the model's rate."""
        features = self.processor.clip(torch.from_numpy(samples)).to(self.device)
        return log_posteriors(self.model, pack_sequence([features]))[0][0].cpu()

    def transcribe(self, path, beam_width: int | None = None, n_best: int = 10) -> list[Hypothesis]:
        """The hypotheses of an audio file: the greedy one, or the ``n_best`` of a beam search.

        A silent file gives one empty hypothesis. AudioError when the file cannot be used.
        """
        samples = audio.load(path, self.processor.rate)
        if len(samples) < self.processor.min_samples:
            milliseconds = 1000 * self.processor.min_samples / self.processor.rate
            raise AudioError(path, f"is shorter than one window of {milliseconds:g} ms")
        if audio.is_silent(samples):
            return [Hypothesis("", (), 0.0)]
        logp = self.log_posteriors(samples)[None]
        if beam_width is None:
            return greedy_decode(logp, [logp.shape[1]], self.charmap)[0]
        return beam_decode(logp, [logp.shape[1]], self.charmap, beam_width, n_best)[0]
