"""Clips to batches: a pair of PackedSequences."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import get_worker_info

from asr_ctc.corpus.corpus import ExcludedClip


class Clip(NamedTuple):
    """One clip, ready to be batched."""

    id: str
    features: torch.Tensor  # (T, F) log-mel
    labels: torch.Tensor  # (U,) int64
    sentence: str
    duration_s: float
    has_labels: bool = True  # False where the transcript gives none: scored without a loss
    aux_labels: torch.Tensor | None = None  # (U',) int64, for a second output layer


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips as a pair (spectrograms, transcripts) of PackedSequences, with what is known of them.

    Spectrograms hold (T, F) log-mels by decreasing length, transcripts (U,) labels; clip i of the
    one is clip i of the other, and of ``ids``, ``sentences``, ``durations`` (seconds) and
    ``has_labels``. ``excluded`` names the clips that could not be used; when no clip was left both
    are None and ``ids`` is empty. ``aux_transcripts`` are the labels of a second output layer, if
    the model has one. It unpacks as the pair: ``spectrograms, transcripts = batch``.
    """

    spectrograms: PackedSequence | None
    transcripts: PackedSequence | None
    ids: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    durations: tuple[float, ...] = ()
    has_labels: tuple[bool, ...] = ()
    excluded: tuple[ExcludedClip, ...] = ()
    aux_transcripts: PackedSequence | None = None

    def __iter__(self) -> Iterator[PackedSequence | None]:
        return iter((self.spectrograms, self.transcripts))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, part: int) -> PackedSequence | None:
        return (self.spectrograms, self.transcripts)[part]

    @property
    def duration_s(self) -> float:
        """Seconds of audio in the batch, padding not counted."""
        return sum(self.durations)

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device; from pinned memory the copy overlaps with computing."""
        target = torch.device(device)
        return self._map(lambda part: part.to(target, non_blocking=True))  # type: ignore[arg-type]  # a device too

    def pin_memory(self) -> "Batch":
        return self._map(lambda part: part.pin_memory())

    def _map(self, change: Callable[[PackedSequence], PackedSequence]) -> "Batch":
        if self.spectrograms is None or self.transcripts is None:
            return self
        return replace(
            self,
            spectrograms=change(self.spectrograms),
            transcripts=change(self.transcripts),
            aux_transcripts=self.aux_transcripts and change(self.aux_transcripts),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """From a worker only the spectrograms travel in shared memory, if there was room in it.

        Handing over a tensor costs a millisecond, whatever its size: more than all else that there
        is to do for a batch from the feature cache. The small ones travel as bytes, as do the
        spectrograms when they are not in shared memory.
        """
        about = (self.ids, self.sentences, self.durations, self.has_labels, self.excluded)
        if self.spectrograms is None or self.transcripts is None:
            return Batch, (None, None, *about)
        frames = self.spectrograms.data
        small = (*self.spectrograms[1:], *self.transcripts, *(self.aux_transcripts or ()))
        arrays = [None if tensor is None else tensor.numpy() for tensor in small]
        return _batch_of, (frames if frames.is_shared() else frames.numpy(), arrays, about)


def _batch_of(frames: torch.Tensor | np.ndarray, arrays: list, about: tuple) -> Batch:
    """What ``Batch.__reduce__`` took apart."""
    small: list = [None if array is None else torch.from_numpy(array) for array in arrays]
    aux = PackedSequence(*small[7:]) if small[7:] else None
    batch = Batch(
        PackedSequence(torch.as_tensor(frames), *small[:3]), PackedSequence(*small[3:7]), *about
    )
    return replace(batch, aux_transcripts=aux)


class BatchCollate:
    """Makes a Batch of a list of Clips (and of ExcludedClips, which it passes on)."""

    def __call__(self, items: Sequence[Clip | ExcludedClip]) -> Batch:
        clips = [item for item in items if isinstance(item, Clip)]
        clips.sort(key=lambda clip: len(clip.features), reverse=True)
        spectrograms = transcripts = aux_transcripts = None
        if clips:
            spectrograms = pack_sequence([clip.features for clip in clips])
            if get_worker_info() is not None:
                # The /dev/shm of a container may be small, and a worker that notices only when it
                # hands the batch over would leave the main process waiting for ever.
                with contextlib.suppress(RuntimeError):
                    spectrograms.data.share_memory_()
            transcripts = pack_sequence([clip.labels for clip in clips], enforce_sorted=False)
            aux = [clip.aux_labels for clip in clips if clip.aux_labels is not None]
            aux_transcripts = pack_sequence(aux, enforce_sorted=False) if aux else None
        return Batch(
            spectrograms,
            transcripts,
            ids=tuple(clip.id for clip in clips),
            sentences=tuple(clip.sentence for clip in clips),
            durations=tuple(clip.duration_s for clip in clips),
            has_labels=tuple(clip.has_labels for clip in clips),
            excluded=tuple(item for item in items if isinstance(item, ExcludedClip)),
            aux_transcripts=aux_transcripts,
        )
