"""A clip of noise, and a recogniser that believes of it what a test wants."""

import numpy as np
import torch

from asr_ctc.acoustic.architecture import Architecture
from asr_ctc.acoustic.ctc_model import CTCModel
from asr_ctc.acoustic.model_file import ModelFile
from asr_ctc.audio.log_mel import FeatureSettings
from asr_ctc.decoding.beam import Beam
from asr_ctc.inspection.clip_view import ClipView, view_clip
from asr_ctc.inspection.sound import Sound
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.text.charmap import CharMap

RATE_HZ, FRAME_SAMPLES = 16_000, 640  # of an output frame


class Believer(Recognizer):
    """Its posteriors (T', V) are given; everything else is that of an untrained model."""

    def __init__(self, charmap: CharMap, posteriors: np.ndarray):
        torch.manual_seed(0)
        model = CTCModel(
            Architecture(
                n_mels=20,
                nhidden_rnn=4,
                nlayers_rnn=2,
                cell_type="GRU",
                vocab_size=charmap.vocab_size,
            )
        )
        features = FeatureSettings(rate=RATE_HZ, win_length=0.02, win_step=0.01, nmels=20)
        file = ModelFile(model.state_dict(), model.architecture, features, (0.0, 10.0), charmap)
        super().__init__(file, "cpu")
        self.given = torch.from_numpy(np.log(posteriors)).float()

    def log_posteriors(self, samples, *, rate=None):
        return self.given


def noise(n_frames: int) -> Sound:
    """A sound of exactly ``n_frames`` output frames; the last is half as long."""
    n_samples = n_frames * FRAME_SAMPLES - FRAME_SAMPLES // 2
    samples = 0.1 * np.random.default_rng(0).standard_normal(n_samples)
    return Sound("noise.wav", samples.astype(np.float32), RATE_HZ)


def sharp(charmap: CharMap, path: str, certainty: float = 0.9) -> np.ndarray:
    """Posteriors (T', V) that are sure of these symbols, one a frame; - is the blank."""
    v = charmap.vocab_size
    posteriors = np.full((len(path), v), (1 - certainty) / (v - 1))
    for t, character in enumerate(path):
        label = 0 if character == "-" else charmap.char2idx[character]
        posteriors[t, label] = certainty
    return posteriors


def view_of(charmap: CharMap, posteriors: np.ndarray, title: str = "a model", **more) -> ClipView:
    sound = noise(len(posteriors))
    beam = more.pop("beam", Beam(width=4))
    return view_clip(Believer(charmap, posteriors), sound, title=title, beam=beam, **more)
