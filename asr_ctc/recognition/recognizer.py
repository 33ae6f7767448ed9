"""A trained model that turns audio into text, in two lines of Python."""

import logging
import math
from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np
import torch
from torch.nn.utils.rnn import pack_sequence

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.ctc_model import log_posteriors
from asr_ctc.acoustic.model_file import ModelFile, load_model
from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.decoding.alignment import align_text, spell_to_align
from asr_ctc.decoding.beam import beam_decode
from asr_ctc.decoding.fusion import Fusion, fuse
from asr_ctc.decoding.greedy import greedy_decode
from asr_ctc.decoding.hypothesis import FrameClock, Hypothesis
from asr_ctc.recognition.formats import Transcript
from asr_ctc.recognition.recording_notes import TrainedSound
from asr_ctc.recognition.transcriber import Transcriber

log = logging.getLogger("asr_ctc")


class Recognizer:
    """``Recognizer.load("best_model.pt").transcribe("clip.mp3")`` gives hypotheses, best first."""

    def __init__(self, file: ModelFile, device: str = "auto"):
        self.file = file
        self.device = compute.pick_device(device)
        self.charmap, self.processor = file.charmap, file.build_processor()
        self.model = file.build_model().to(self.device)
        self.trained_sound = TrainedSound.from_origin(file.origin)

    @classmethod
    def load(cls, path, device: str = "auto") -> "Recognizer":
        """Reads a model file; UserError when it is not one, or the device is absent."""
        return cls(load_model(path), device)

    @cached_property
    def fusion(self) -> Fusion | None:
        """The language model in the model file with its weights, ready for the beam search."""
        stored = self.file.language_model
        return fuse(stored.model, self.charmap, **stored.weights) if stored else None

    def log_posteriors(self, samples: np.ndarray) -> torch.Tensor:
        """Log probabilities (T', V) of samples (S,) at the model's rate."""
        return self.batch_log_posteriors([samples])[0]

    @torch.inference_mode()
    def batch_log_posteriors(self, clips: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Log probabilities (T', V) of each clip, samples (S,) at the model's rate.

        Digital silence is blank, for certain, whatever the model would make of it.
        """
        features = [self.processor.clip(torch.from_numpy(samples)) for samples in clips]
        packed = pack_sequence(features, enforce_sorted=False).to(self.device)
        padded, lengths = log_posteriors(self.model, packed)
        # A slice would keep the whole batch in memory.
        found = [logp[:n].clone() for logp, n in zip(padded.cpu(), lengths.tolist(), strict=True)]
        for samples, logp in zip(clips, found, strict=True):
            if audio.is_silent(samples):
                logp.fill_(-torch.inf)
                logp[:, self.charmap.blankid] = 0.0
        return found

    def clock(self, n_samples: int) -> FrameClock:
        """The seconds of the output frames of a clip of ``n_samples`` at the model's rate.

        Spectrogram frame t is centred on sample t · hop.
        """
        stride, offset = self.model.output_centres
        hop_s = self.processor.hop / self.processor.rate
        return FrameClock(stride * hop_s, offset * hop_s, n_samples / self.processor.rate)

    def transcribe(
        self, path, beam_width: int | None = None, n_best: int = 10, **settings
    ) -> list[Hypothesis]:
        """The hypotheses of an audio file: the greedy one, or the ``n_best`` of a beam search.

        Further ``settings`` of the beam as in ``beam_decode``; without a ``fusion`` among them the
        language model in the model file is used, if there is one: where there is, a ``device``
        needs ``fusion=None``. Each hypothesis knows when its words and characters were said. A
        silent file gives one empty hypothesis, one of more than 20 s, which is read in pieces, a
        single one. What a person should know of the recording is logged as a warning. AudioError
        when the file cannot be used.
        """
        decode = greedy_decode
        if beam_width is not None:
            settings = {"fusion": self.fusion, **settings}
            decode = partial(beam_decode, beam_width=beam_width, n_best=n_best, **settings)
        (reading,) = Transcriber(self, decode)([path])
        if reading.error:
            raise reading.error
        for note in reading.notes:
            log.warning("note: %s: %s", path, note)
        return reading.hypotheses

    def align(self, path, text: str) -> Transcript:
        """When the words and characters of ``text`` were said in an audio file.

        AudioError when the file cannot be used or is silent, and for a text without a word, with
        characters that the model has no class for, or too long; for a text before the model has
        run. A recording of more than 20 s is read in pieces, as for ``transcribe``; a text is too
        long for it at 2 · 10⁹ states of the lattice, about half an hour of speech.
        """
        most_samples = math.ceil(audio.duration_s(path) * self.processor.rate)
        most_frames = self.model.output_lengths(self.processor.get_spectro_length(most_samples))
        try:
            spell_to_align(text, self.charmap, most_frames)
            logp, n_samples = Transcriber(self, greedy_decode).log_posteriors(path)
            if int(logp.isfinite().sum()) == len(logp):
                raise AudioError(path, "is silent: there is nothing to align")
            clock = self.clock(n_samples)
            found = align_text(logp, text, self.charmap, clock)
        except AudioError:
            raise
        except UserError as error:
            raise AudioError(path, str(error)) from None
        text = " ".join(text.split())
        return Transcript(
            str(path), clock.duration_s, text, found.logp, found.words, found.characters
        )
