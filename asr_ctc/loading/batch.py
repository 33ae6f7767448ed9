"""Clips to batches: a pair of PackedSequences."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from asr_ctc.corpus.corpus import LeftOut


class Clip(NamedTuple):
    """One clip, ready to be batched."""

    id: str
    features: torch.Tensor  # (T, F) log-mel
    labels: torch.Tensor  # (U,) int64
    sentence: str
    duration_s: float
    has_labels: bool = True  # False where the transcript gives none: scored, but without a loss


class Batch(tuple):
    """A pair (spectrograms, transcripts) of PackedSequences that also knows its clips.

    Spectrograms hold (T, F) log-mels by decreasing length, transcripts (U,) labels; clip i of the
    one is clip i of the other, and of ``ids``, ``sentences`` and ``durations`` (seconds).
    ``left_out`` names the clips that could not be used; when no clip was left the pair is
    (None, None) and ``len(batch.ids)`` is 0.
    """

    ids: tuple[str, ...]
    sentences: tuple[str, ...]
    durations: tuple[float, ...]
    has_labels: tuple[bool, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def duration_s(self) -> float:
        """Seconds of audio in the batch, padding not counted."""
        return sum(self.durations)

    def to(self, device) -> "Batch":
        """The batch on a device; from pinned memory the copy overlaps with computing."""
        return self._with(lambda part: part.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        return self._with(lambda part: part.pin_memory())

    def _with(self, change: Callable[[PackedSequence], PackedSequence]) -> "Batch":
        changed = Batch(None if part is None else change(part) for part in self)
        changed.__dict__.update(self.__dict__)
        return changed

    def __reduce__(self):
        """From a worker only the spectrograms travel as a tensor, in shared memory.

        Handing over a tensor costs a millisecond, whatever its size: more than all else that there
        is to do for a batch from the feature cache. The small ones travel as bytes.
        """
        spectrograms, transcripts = self
        if spectrograms is None:
            return _batch_of, (None, (), self.__dict__)
        small = (*spectrograms[1:], *transcripts)
        arrays = [None if tensor is None else tensor.numpy() for tensor in small]
        return _batch_of, (spectrograms.data, arrays, self.__dict__)


def _batch_of(frames: torch.Tensor | None, arrays, attributes: dict) -> Batch:
    """What ``Batch.__reduce__`` took apart."""
    if frames is None:
        batch = Batch((None, None))
    else:
        small = [None if array is None else torch.from_numpy(array) for array in arrays]
        batch = Batch((PackedSequence(frames, *small[:3]), PackedSequence(*small[3:])))
    batch.__dict__.update(attributes)
    return batch


class BatchCollate:
    """Makes a Batch of a list of Clips (and of LeftOuts, which it passes on)."""

    def __call__(self, items: Sequence[Clip | LeftOut]) -> Batch:
        clips = [item for item in items if isinstance(item, Clip)]
        clips.sort(key=lambda clip: len(clip.features), reverse=True)
        if clips:
            batch = Batch(
                (
                    pack_sequence([clip.features for clip in clips]),
                    pack_sequence([clip.labels for clip in clips], enforce_sorted=False),
                )
            )
        else:
            batch = Batch((None, None))
        batch.ids = tuple(clip.id for clip in clips)
        batch.sentences = tuple(clip.sentence for clip in clips)
        batch.durations = tuple(clip.duration_s for clip in clips)
        batch.has_labels = tuple(clip.has_labels for clip in clips)
        batch.left_out = tuple(item for item in items if isinstance(item, LeftOut))
        return batch
