"""Recordings of any number and length to hypotheses: in pieces, batched by length, in bounded
memory."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from asr_ctc.audio import decode as audio
from asr_ctc.audio.log_mel import WaveformProcessor
from asr_ctc.base.errors import AudioError
from asr_ctc.decoding.alignment import with_times
from asr_ctc.decoding.hypothesis import FrameClock, Hypothesis
from asr_ctc.recognition.cutting import Piece, cut_at_pauses, find_seam
from asr_ctc.recognition.formats import Transcript
from asr_ctc.recognition.recording_notes import RecordingNotes, TrainedSound
from asr_ctc.text.units import Units


class Acoustics(Protocol):
    """What a Transcriber needs of a recognizer: samples to log posteriors and their times."""

    @property
    def charmap(self) -> Units: ...

    @property
    def trained_sound(self) -> TrainedSound | None: ...

    @property
    def processor(self) -> WaveformProcessor: ...

    def batch_log_posteriors(self, clips: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Log posteriors (T', V) of each clip, samples (S,) at the processor's rate."""
        ...

    def clock(self, n_samples: int) -> FrameClock:
        """The seconds of the output frames of a clip."""
        ...


log = logging.getLogger(__name__)

POOL_S = 320.0  # audio that is held to make batches of like lengths
BLOCK_S = 30.0  # of samples in memory that is cut at once
BATCH_S = 80.0  # audio of a batch, padding counted


class Reading(NamedTuple):
    """What was heard in a recording: hypotheses, best first, or the reason why there is none.

    notes: lines about the recording that a person should know who reads them.
    """

    hypotheses: list[Hypothesis]
    duration_s: float
    error: AudioError | None = None
    notes: tuple[str, ...] = ()

    def transcript(self, name: str) -> Transcript:
        """The best hypothesis as the transcript of ``name``; the others are its alternatives."""
        best, *others = self.hypotheses
        return Transcript(
            audio=name,
            duration_s=self.duration_s,
            text=best.text,
            logp=best.logp,
            words=best.words,
            characters=best.characters,
            alternatives=others,
            score=best.score,
            labels=best.labels,
            notes=self.notes,
        )


class Samples(NamedTuple):
    """A recording in memory: samples (S,), float32, mono, at the model's rate."""

    name: str
    samples: np.ndarray

    def blocks(self, rate: int) -> Iterator[np.ndarray]:
        step = round(BLOCK_S * rate)
        return (self.samples[i : i + step] for i in range(0, len(self.samples), step))


Recording = str | PathLike[str] | Samples


class _Part(NamedTuple):
    """A piece and its log posteriors (T', V); from frame ``begin`` on they are its own."""

    piece: Piece
    logp: torch.Tensor
    begin: int


@dataclass
class _Job:
    """A recording on its way. The next piece decides where its ``last_part`` ends."""

    file: Path | Samples
    sound: RecordingNotes
    notes: list[str] = field(default_factory=list)
    n_samples: int = 0
    last_part: _Part | None = None
    decoded: list[list[Hypothesis]] = field(default_factory=list)
    is_done: bool = False
    error: AudioError | None = None

    def all_notes(self) -> list[str]:
        return [*self.notes, *self.sound.lines()]


class Transcriber:
    """Reads recordings as ``recognizer`` hears them and ``decode`` (as ``greedy_decode``) reads.

    ``on_heard`` is told of each batch how many seconds of audio it held.
    """

    def __init__(
        self,
        recognizer: Acoustics,
        decode: Callable,
        on_heard: Callable[[float], object] = lambda seconds: None,
    ):
        self.recognizer, self.decode, self.on_heard = recognizer, decode, on_heard
        self.rate = recognizer.processor.rate
        self.clock = recognizer.clock(0)
        self.grain = round(self.clock.step_s * self.rate)  # samples per output frame

    def __call__(self, files: Iterable[Recording]) -> Iterator[Reading]:
        """The reading of each file, in order, once it is whole.

        A recording of more than 20 s is read in pieces (see cutting.py). It has one hypothesis:
        the best ones of its pieces, one after the other, with a space between them. To a language
        model each piece is a sentence.
        """
        jobs: deque[_Job] = deque()
        pool: list[tuple[_Job, Piece]] = []
        for file in files:
            job = self._job(file)
            jobs.append(job)
            try:
                for piece in self._pieces(job):
                    pool.append((job, piece))
                    if sum(len(piece.samples) for _, piece in pool) > POOL_S * self.rate:
                        self._transcribe_pool(pool)
                        pool = []
            except AudioError as error:
                job.error = error
            while jobs and (jobs[0].is_done or jobs[0].error):
                yield self._reading(jobs.popleft())
        self._transcribe_pool(pool)
        yield from map(self._reading, jobs)

    def log_posteriors(self, file: Recording) -> tuple[torch.Tensor, int]:
        """Log probabilities (T', V) of a whole recording, and its samples; or AudioError.

        Frames of pauses that are in no piece are blank, for certain.
        """
        job, blank = self._job(file), self.recognizer.charmap.blankid
        parts: list[tuple[int, torch.Tensor]] = []
        for piece in self._pieces(job):
            (logp,) = self.recognizer.batch_log_posteriors([piece.samples])
            for part in self._complete(job, piece, logp):
                first = part.piece.first // self.grain + part.begin
                parts.append((first, part.logp[part.begin :]))
        first, logp = parts[-1]
        whole = logp.new_full((first + len(logp), logp.shape[1]), -torch.inf)
        whole[:, blank] = 0.0
        for first, logp in parts:
            whole[first : first + len(logp)] = logp
        for note in job.all_notes():
            log.warning("note: %s: %s", file, note)
        return whole, job.n_samples

    def _job(self, file: Recording) -> _Job:
        file = file if isinstance(file, Samples) else Path(file)
        return _Job(file, RecordingNotes(self.recognizer.trained_sound, self.rate))

    def _pieces(self, job: _Job) -> Iterator[Piece]:
        needed = self.recognizer.processor.min_samples
        blocks: Iterable[np.ndarray]
        if isinstance(job.file, Samples):
            name, blocks = job.file.name, job.file.blocks(self.rate)
        else:
            name, blocks = str(job.file), audio.blocks(job.file, self.rate, notes=job.notes)
        for piece in cut_at_pauses(blocks, self.rate, self.grain):
            job.n_samples = piece.first + len(piece.samples)
            if job.n_samples < needed:
                milliseconds = 1000 * needed / self.rate
                raise AudioError(name, f"is shorter than one window of {milliseconds:g} ms")
            job.sound.add(piece.samples)
            yield piece

    def _transcribe_pool(self, pool: list[tuple[_Job, Piece]]) -> None:
        """The posteriors of pieces that follow each other; decodes what they complete."""
        by_length = sorted(range(len(pool)), key=lambda i: len(pool[i][1].samples))
        logps: dict[int, torch.Tensor] = {}
        for batch in _batches(by_length, [len(p.samples) for _, p in pool], BATCH_S * self.rate):
            samples = [pool[i][1].samples for i in batch]
            logps |= zip(batch, self.recognizer.batch_log_posteriors(samples), strict=True)
            self.on_heard(sum(map(len, samples)) / self.rate)
        complete = [
            (job, part)
            for i, (job, piece) in enumerate(pool)
            for part in self._complete(job, piece, logps[i])
        ]
        if not complete:
            return
        own = [part.logp[part.begin :] for _, part in complete]
        hypotheses = self.decode(
            pad_sequence(own, batch_first=True),
            [len(logp) for logp in own],
            self.recognizer.charmap,
        )
        for (job, part), logp, alternatives in zip(complete, own, hypotheses, strict=True):
            is_whole = part.piece.is_last and not job.decoded
            joined = (
                alternatives if is_whole else alternatives[:1]
            )  # of pieces the best ones are joined
            clock, charmap = self._clock_of(part), self.recognizer.charmap
            job.decoded.append([with_times(h, logp, charmap, clock) for h in joined])

    def _complete(self, job: _Job, piece: Piece, logp: torch.Tensor) -> Iterator[_Part]:
        """The parts of the job that end with what the next piece hears, or with the recording."""
        begin = 0
        if job.last_part is not None:
            before = job.last_part
            if piece.start > piece.first:
                shift = (piece.first - before.piece.first) // self.grain
                n_shared = len(before.logp) - shift
                begin = find_seam(
                    before.logp[shift:],
                    logp[:n_shared],
                    middle=(piece.start - piece.first) // self.grain,
                    blank=self.recognizer.charmap.blankid,
                    frame_s=self.clock.step_s,
                )
                before = before._replace(logp=before.logp[: shift + begin])
            yield before
        job.last_part = _Part(piece, logp, begin)
        if piece.is_last:
            job.is_done = True
            yield job.last_part

    def _clock_of(self, part: _Part) -> FrameClock:
        """The clock, in the recording's seconds, of the frames that are the part's own."""
        start_s = (part.piece.first + part.begin * self.grain) / self.rate
        end_s = (part.piece.first + len(part.piece.samples)) / self.rate
        return FrameClock(self.clock.step_s, self.clock.first_s + start_s, end_s)

    def _reading(self, job: _Job) -> Reading:
        if job.error:
            return Reading([], 0.0, job.error)
        hypotheses = job.decoded[0] if len(job.decoded) == 1 else [_joined(job.decoded)]
        return Reading(hypotheses, job.n_samples / self.rate, notes=tuple(job.all_notes()))


def _batches(rows: Sequence[int], sizes: Sequence[int], most: float) -> Iterator[list[int]]:
    """``rows``, by increasing size, in runs whose count times the largest is at most ``most``."""
    batch: list[int] = []
    for row in rows:
        if batch and (len(batch) + 1) * sizes[row] > most:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _joined(decoded: list[list[Hypothesis]]) -> Hypothesis:
    """The best hypotheses of the parts of a recording as one."""
    best = [hypotheses[0] for hypotheses in decoded]
    return Hypothesis(
        text=" ".join(part.text for part in best if part.text),
        labels=tuple(label for part in best for label in part.labels),
        logp=sum(part.logp for part in best),
        score=sum(part.score for part in best),
        words=tuple(word for part in best for word in part.words),
        characters=tuple(character for part in best for character in part.characters),
    )
