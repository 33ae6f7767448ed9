"""Which clips go together and in what order; reads durations, never audio."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

DURATION_JITTER = 0.03


class Draw(NamedTuple):
    """What a batch sampler asks of the dataset: a row, and the epoch that seeds its masks."""

    row: int
    epoch: int


class DurationBatchSampler:
    """Batches of clips of like duration, so that little is padded; anew each epoch.

    Clips are sorted by duration, jittered by 3 % so that neighbours change, and cut into batches of
    ``batch_size`` clips, or, when ``batch_seconds`` is given, of as many clips as that many seconds
    hold, each counted as long as the longest (a longer clip goes alone). ``stretches(epoch)`` tells
    how many times as long as its duration each clip (N,) is in an epoch, ``computed_s(seconds)``
    how many seconds clips (N,) of such lengths cost, when they are more. The batches are shuffled.
    Everything follows from (seed, epoch): the order is the same on every machine and for every
    number of workers. The batch that costs most, clips × longest, comes first in the first epoch,
    so that memory fails at the start if at all. ``sortagrad`` takes the first epoch from short to
    long instead (Amodei et al. 2016). Without ``shuffle`` every epoch goes from long to short,
    without jitter.

    Under torch.distributed each of ``world_size`` processes draws its own part by its ``rank``: as
    many batches for each, of like durations at each step, every clip in exactly one of them.

    ``epoch`` is the one that the next iteration draws; iterating to the end moves it on.
    ValueError for impossible settings, and for fewer clips than processes.
    """

    def __init__(
        self,
        durations: np.ndarray,
        batch_size: int = 1,
        *,
        seed: int = 0,
        shuffle: bool = True,
        batch_seconds: float | None = None,
        computed_s: Callable[[np.ndarray], np.ndarray] | None = None,
        stretches: Callable[[int], np.ndarray] | None = None,
        sortagrad: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {batch_size}")
        if batch_seconds is not None and not batch_seconds > 0:
            raise ValueError(f"batch_seconds must be above 0, found {batch_seconds}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0..{world_size - 1}, found {rank}")
        if 0 < len(durations) < world_size:
            raise ValueError(f"{len(durations)} clips cannot be shared by {world_size} processes")
        self.durations = np.asarray(durations, dtype=np.float32)
        self._computed_s = computed_s or (lambda lengths_s: lengths_s)
        self.has_stretches = stretches is not None
        # The first epoch's are asked for beside those of the one that a resumed run is in.
        self._stretches = functools.lru_cache(2)(stretches or (lambda epoch: np.float32(1)))
        self.batch_size, self.batch_seconds = batch_size, batch_seconds
        self.seed, self.shuffle, self.sortagrad = seed, shuffle, sortagrad
        self.rank, self.world_size = rank, world_size
        self.epoch, self._start, self._drawn = 0, 0, 0

    def __len__(self) -> int:
        """Batches of this process in the epoch that comes next."""
        return len(self.batches(self.epoch))

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, batches = self.epoch, self.batches(self.epoch)
        # An unfinished iteration is not taken up by the next: only load_state_dict sets a start.
        start, self._start = self._start, 0
        for number in range(start, len(batches)):
            self._drawn = number + 1
            yield [Draw(int(row), epoch) for row in batches[number]]
        self.epoch, self._drawn = epoch + 1, 0

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The row numbers of every batch of this process in an epoch, in order."""
        durations, computed_s = self.lengths_in(epoch)
        if not self.shuffle:
            order = np.argsort(-durations, kind="stable")
            return self._of_this_rank(self._cut(order, computed_s))
        random = np.random.default_rng([self.seed, epoch])
        jitter = random.uniform(1 - DURATION_JITTER, 1 + DURATION_JITTER, len(durations))
        # From long to short: an incomplete batch falls among the short clips and wastes little.
        steps = self._cut(np.argsort(-durations * jitter, kind="stable"), computed_s)
        order = random.permutation(len(steps))
        if epoch == 0 and self.sortagrad:
            order = np.arange(len(steps))[::-1]
        elif epoch == 0 and len(steps):
            # Not always the first cut: jitter moves the longest clip, and batches differ in size.
            costs = [max(len(b) * computed_s[b].max() for b in steps[i]) for i in order]
            costliest = int(np.argmax(costs))
            order[[0, costliest]] = order[[costliest, 0]]
        return self._of_this_rank([steps[i] for i in order])

    def lengths_in(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Seconds of each clip (N,) in an epoch, and the seconds that it costs."""
        lengths_s = self.durations * self._stretches(epoch)
        return lengths_s, np.asarray(self._computed_s(lengths_s), dtype=np.float32)

    def _cut(self, order: np.ndarray, computed_s: np.ndarray) -> list[list[np.ndarray]]:
        """Steps of ``world_size`` batches each, of the rows in ``order``, long to short."""
        batches = [
            order[start:end] for start, end in zip(*self._bounds(computed_s[order]), strict=True)
        ]
        # The number is made even for all processes by halving the fullest batches. Only where that
        # would need a clip twice (nearly all batches hold one clip) are the shortest joined.
        n_over = len(batches) % self.world_size
        n_halvings = len(order) - len(batches)
        if 0 < self.world_size - n_over <= n_halvings:
            while len(batches) % self.world_size:
                fullest = max(range(len(batches)), key=lambda i: len(batches[i]))
                rows = batches[fullest]
                batches[fullest : fullest + 1] = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
        for _ in range(len(batches) % self.world_size):
            batches.append(np.concatenate([batches.pop(), batches.pop()]))
        return [
            batches[first : first + self.world_size]
            for first in range(0, len(batches), self.world_size)
        ]

    def _bounds(self, durations: np.ndarray) -> tuple[list[int], list[int]]:
        """Starts and ends of the batches in a nearly descending list of seconds."""
        n_clips = len(durations)
        if self.batch_seconds is None:
            starts = list(range(0, n_clips, self.batch_size))
        else:
            starts, longest = [], 0.0
            for position, duration in enumerate(durations.tolist()):
                longest = max(longest, duration)
                n_in_batch = position - starts[-1] + 1 if starts else 0
                if not starts or n_in_batch * longest > self.batch_seconds:
                    starts.append(position)
                    longest = duration
        return starts, [*starts[1:], n_clips] if starts else []

    def _of_this_rank(self, steps: list[list[np.ndarray]]) -> list[np.ndarray]:
        return [step[self.rank] for step in steps]

    def padding_share(self, epoch: int = 0) -> float:
        """The share of an epoch's padded seconds that is padding."""
        filled = padded = 0.0
        durations, computed_s = self.lengths_in(epoch)
        for rows in self.batches(epoch):
            filled += float(durations[rows].sum(dtype=np.float64))
            padded += float(computed_s[rows].max()) * len(rows)
        return 1 - filled / padded if padded else 0.0

    def state_dict(self) -> dict:
        """Where the next batch is, and the settings that its content follows from.

        A loader that fetches ahead of what is consumed replaces ``epoch`` and ``start`` by what
        has been consumed.
        """
        return {"epoch": self.epoch, "start": self._drawn or self._start, **self._settings()}

    def load_state_dict(self, state: dict) -> None:
        """Continues where ``state_dict`` stood; ValueError names settings that differ."""
        settings = self._settings()
        if set(state) != {"epoch", "start", *settings}:
            differing = sorted(set(state) ^ {"epoch", "start", *settings})
            raise ValueError(f"sampler state: unknown or missing {', '.join(differing)}")
        differing = [name for name, value in settings.items() if state[name] != value]
        if differing:
            raise ValueError(f"sampler state: other {', '.join(differing)}")
        self.epoch, self._start, self._drawn = state["epoch"], state["start"], 0

    def _settings(self) -> dict:
        names = "seed shuffle batch_size batch_seconds has_stretches sortagrad world_size".split()
        return {"n_clips": len(self.durations), **{name: getattr(self, name) for name in names}}
