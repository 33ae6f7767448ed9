"""A trained model that turns audio into text, in two lines of Python."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch.nn.utils.rnn import pack_sequence

from asr_ctc.acoustic import compute
from asr_ctc.acoustic.encoders.published import PublishedModel
from asr_ctc.acoustic.log_posteriors import log_posteriors
from asr_ctc.acoustic.model_file import ModelFile, load_model
from asr_ctc.audio import decode as audio
from asr_ctc.base.errors import AudioError, UserError
from asr_ctc.decoding.alignment import align_text, spell_to_align
from asr_ctc.decoding.beam import Beam, Decoder
from asr_ctc.decoding.greedy import Greedy
from asr_ctc.decoding.hypothesis import FrameClock
from asr_ctc.recognition.formats import Transcript
from asr_ctc.recognition.recording_notes import TrainedSound
from asr_ctc.recognition.transcriber import Recording, Samples, Transcriber

log = logging.getLogger(__name__)

Audio = str | PathLike[str] | np.ndarray | torch.Tensor | BinaryIO


class Recognizer:
    """A model file, ready to transcribe and to align.

        asr = Recognizer.load("best_model.pt")
        print(asr.transcribe("clip.mp3").text)

    Audio is a path, samples (S,) or (S, channels) with their ``rate`` in Hz, or a binary file
    object. Several threads may use one recognizer at once: it changes nothing of itself but which
    language model was read last, and nothing of its host (signals, environment, random states).
    """

    def __init__(self, file: ModelFile | PublishedModel, device: str = "auto"):
        self.file = file
        self.device = compute.pick_device(device)
        self.charmap, self.processor = file.charmap, file.build_processor()
        self.model = file.build_model().to(self.device)
        self.trained_sound = TrainedSound.from_origin(file.origin, file.features.clip_norm)
        self._prepared: tuple[Beam, Beam] | None = None

    @classmethod
    def load(
        cls, path: str | PathLike[str], device: str = "auto", units: str | None = None
    ) -> Recognizer:
        """Reads a model file; UserError when it is not one, or the device is absent.

        A model of characters and phonemes is read in ``units``, char or phoneme; None is char.
        ValueError for units that it does not have.
        """
        file = load_model(path)
        return cls(file if units is None else file.with_units(units), device)

    def prepare(self, decoder: Decoder | None) -> Decoder:
        """The decoder with its language model read, kept for the next call; None is greedy.

        UserError for a language model that cannot be used.
        """
        if decoder is None or isinstance(decoder, Greedy):
            return Greedy()
        if not isinstance(decoder, Beam):
            raise TypeError(f"decoder is a {type(decoder).__name__}; needed a Beam, or None")
        last = self._prepared
        if last is None or last[0] != decoder:
            last = decoder, decoder.prepared(self.charmap, self.file.language_model)
            self._prepared = last
        return last[1]

    def log_posteriors(
        self, samples: np.ndarray | torch.Tensor, *, rate: int | None = None
    ) -> torch.Tensor:
        """Natural log probabilities (T', V) of samples (S,) or (S, channels).

        ``rate`` is theirs in Hz; None is the model's.
        """
        return self.batch_log_posteriors([self._samples(samples, rate).samples])[0]

    @torch.inference_mode()
    def batch_log_posteriors(self, clips: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Log probabilities (T', V) of each clip, samples (S,) at the model's rate.

        Clips of digital silence are forced to blank.
        """
        features = [self.processor.clip(torch.from_numpy(samples)) for samples in clips]
        packed = pack_sequence(features, enforce_sorted=False).to(self.device)  # type: ignore[arg-type]  # torch's annotation lacks it
        padded, lengths = log_posteriors(self.model, packed)
        # A slice would keep the whole batch in memory.
        posteriors = [
            logp[:n].clone() for logp, n in zip(padded.cpu(), lengths.tolist(), strict=True)
        ]
        for samples, logp in zip(clips, posteriors, strict=True):
            if audio.is_silent(samples):
                logp.fill_(-torch.inf)
                logp[:, self.charmap.blankid] = 0.0
        return posteriors

    def clock(self, n_samples: int) -> FrameClock:
        """The seconds of the output frames of a clip of ``n_samples`` at the model's rate.

        Spectrogram frame t is centred on sample t · hop.
        """
        stride, offset = self.model.output_centres
        hop_s = self.processor.hop / self.processor.rate
        return FrameClock(stride * hop_s, offset * hop_s, n_samples / self.processor.rate)

    def transcribe(
        self, audio: Audio, *, rate: int | None = None, decoder: Decoder | None = None
    ) -> Transcript:
        """What was said in a recording: the best hypothesis, its words and characters timed.

        ``decoder`` None is greedy decoding; a ``Beam`` gives alternatives too, but of a recording
        of more than 20 s, which is cut at pauses, only the best. Silence gives an empty text.
        AudioError when the recording cannot be used; UserError for a language model that cannot.
        """
        with self._recording(audio, rate) as recording:
            ((_, transcript),) = self._transcribe([recording], decoder)
        if isinstance(transcript, AudioError):
            raise transcript
        for note in transcript.notes:
            log.warning("note: %s: %s", transcript.audio, note)
        return transcript

    def transcribe_many(
        self,
        paths: Iterable[str | PathLike[str]],
        *,
        decoder: Decoder | None = None,
        on_progress: Callable[[float], object] = lambda seconds: None,
    ) -> Iterator[tuple[str, Transcript | AudioError]]:
        """(path, transcript) of each file, in order; an AudioError in place of what cannot be used.

        Batched by length, in bounded memory, however many and long the files are. ``on_progress``
        is called with the seconds of audio of each batch.
        """
        if isinstance(paths, str | PathLike):
            raise TypeError(f"paths is one path, {paths}; needed several: [{str(paths)!r}]")
        return self._transcribe(paths, decoder, on_progress)

    def align(self, audio: Audio, text: str, *, rate: int | None = None) -> Transcript:
        """When the words and characters of ``text`` were said in a recording.

        AudioError when the recording cannot be used or is silent. UserError for a text without a
        word, with characters that the model has no class for, or too long for the recording: these
        before the model runs. A recording of more than 20 s is read in pieces.
        """
        with self._recording(audio, rate) as recording:
            name = _name_of(recording)
            try:
                spell_to_align(text, self.charmap, self._most_frames(recording))
                logp, n_samples = Transcriber(self, Greedy().decode).log_posteriors(recording)
                if int(logp.isfinite().sum()) == len(logp):
                    raise AudioError(name, "is silent: there is nothing to align")
                clock = self.clock(n_samples)
                aligned = align_text(logp, text, self.charmap, clock)
            except AudioError:
                raise
            except UserError as error:  # of the text
                raise UserError(f"{name}: {error}") from None
        return Transcript(
            audio=name,
            duration_s=clock.duration_s,
            text=" ".join(text.split()),
            logp=aligned.logp,
            words=aligned.words,
            characters=aligned.characters,
        )

    def _transcribe(
        self,
        recordings: Iterable[Recording],
        decoder: Decoder | None,
        on_progress: Callable[[float], object] = lambda seconds: None,
    ) -> Iterator[tuple[str, Transcript | AudioError]]:
        prepared = self.prepare(decoder)
        names: deque[str] = deque()  # of recordings that are being read

        def named() -> Iterator[Recording]:
            for recording in recordings:
                names.append(_name_of(recording))
                yield recording

        transcriber = Transcriber(self, prepared.decode, on_progress)
        for reading in transcriber(named()):
            name = names.popleft()
            yield name, reading.error or reading.transcript(name)

    def _most_frames(self, recording: Recording) -> int:
        """An upper bound on the output frames of a recording."""
        rate = self.processor.rate
        if isinstance(recording, Samples):
            n_samples = len(recording.samples)
        else:
            n_samples = math.ceil(audio.duration_s(recording) * rate)
        return int(self.model.output_lengths(self.processor.get_spectro_length(n_samples)))

    def _samples(self, samples: np.ndarray | torch.Tensor, rate: int | None) -> Samples:
        if isinstance(samples, torch.Tensor):
            samples = samples.detach().cpu().numpy()
        native_rate = self.processor.rate if rate is None else rate
        return Samples("samples", audio.from_array(samples, native_rate, self.processor.rate))

    @contextlib.contextmanager
    def _recording(self, source: Audio, rate: int | None) -> Iterator[Recording]:
        """The audio as the transcriber takes it; a file object is copied, since decoders seek."""
        if isinstance(source, np.ndarray | torch.Tensor):
            if rate is None:
                raise ValueError("rate is missing: how many samples a second are there?")
            yield self._samples(source, rate)
        elif isinstance(source, str | PathLike):
            yield source
        elif not hasattr(source, "read"):
            raise TypeError(
                f"audio is a {type(source).__name__}; needed a path, samples or a binary file"
            )
        else:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder, Path(str(getattr(source, "name", "audio"))).name)
                with open(copy, "wb") as spool:
                    shutil.copyfileobj(source, spool)
                yield copy


def _name_of(recording: Recording) -> str:
    return recording.name if isinstance(recording, Samples) else str(recording)
