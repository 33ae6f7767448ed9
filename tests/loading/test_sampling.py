from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.loading.sampling import Draw, DurationBatchSampler
from tests.helpers.examples import examples

durations_of = st.lists(st.floats(0, 100, width=32), max_size=60).map(
    lambda values: np.array(values, dtype=np.float32)
)
seeds = st.integers(0, 2**32 - 1)


def as_lists(batches):
    return [batch.tolist() for batch in batches]


def cost_s(durations, batch):
    return len(batch) * durations[batch].max()


@examples(50)
@given(durations_of, st.integers(1, 70), seeds, st.integers(0, 3), st.booleans())
def test_every_clip_comes_exactly_once_per_epoch(durations, batch_size, seed, epoch, shuffle):
    sampler = DurationBatchSampler(durations, batch_size, seed=seed, shuffle=shuffle)
    sampler.epoch = epoch
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(draw.row for batch in batches for draw in batch) == list(range(len(durations)))
    assert all(draw == Draw(draw.row, epoch) for batch in batches for draw in batch)
    sizes = sorted(len(batch) for batch in batches)
    assert all(size == batch_size for size in sizes[1:])
    assert all(1 <= size <= batch_size for size in sizes)


def test_clips_that_all_cost_alike_are_ordered_by_their_own_length():
    """As an encoder pads each to 30 s: two fill a batch of 70 s, of neighbours in length."""
    durations = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    how = dict(shuffle=False, computed_s=lambda lengths_s: np.full(len(lengths_s), 30.0))
    by_seconds = DurationBatchSampler(durations, batch_seconds=70.0, **how)
    assert as_lists(by_seconds.batches(0)) == [[0, 2], [4, 3], [1]]
    assert by_seconds.padding_share() == pytest.approx(1 - 15 / 150)
    by_clips = DurationBatchSampler(durations, 3, **how)
    assert as_lists(by_clips.batches(0)) == [[0, 2, 4], [3, 1]]


def test_clips_are_sorted_by_how_long_they_are_in_the_epoch():
    """Two clips of equal length, one of them played at half speed, do not go together."""
    durations = np.array([1.0, 1.0, 2.0, 2.0])

    def stretches(epoch):
        return np.array([1, 2, 1, 0.5] if epoch == 1 else [1, 1, 1, 1])

    sampler = DurationBatchSampler(durations, 2, seed=0, stretches=stretches)
    assert sorted(sorted(batch) for batch in as_lists(sampler.batches(0))) == [[0, 1], [2, 3]]
    assert sorted(sorted(batch) for batch in as_lists(sampler.batches(1))) == [[0, 3], [1, 2]]
    assert sampler.padding_share(0) == sampler.padding_share(1) == 0
    by_seconds = DurationBatchSampler(durations, batch_seconds=2.0, stretches=stretches)
    assert sorted(len(batch) for batch in by_seconds.batches(1)) == [1, 1, 2]


def test_what_a_clip_costs_follows_from_how_long_it_is_in_the_epoch():
    """An encoder that pads to whole 30 s: a clip of 29 s at a speed of 0.9 costs 60."""
    sampler = DurationBatchSampler(
        np.array([29.0, 10.0]),
        batch_seconds=60.0,
        computed_s=lambda lengths_s: 30 * np.ceil(lengths_s / 30),
        stretches=lambda epoch: np.full(2, 1 / 0.9 if epoch else 1.0),
    )
    assert len(sampler.batches(0)) == 1 and len(sampler.batches(1)) == 2
    lengths_s, computed_s = sampler.lengths_in(1)
    assert lengths_s.tolist() == pytest.approx([29 / 0.9, 10 / 0.9])
    assert computed_s.tolist() == [60, 30]


@examples(50)
@given(durations_of, st.integers(1, 70), seeds)
def test_the_costliest_batch_comes_first(durations, batch_size, seed):
    batches = DurationBatchSampler(durations, batch_size, seed=seed).batches(0)
    costs = [cost_s(durations, batch) for batch in batches]
    assert costs[:1] == [max(costs)] if costs else len(durations) == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_clip_is_in_the_first_batch(seed):
    durations = np.random.default_rng(seed).lognormal(1.5, 0.02, 64)  # all within the jitter
    first, *_ = DurationBatchSampler(durations, 16, seed=seed).batches(0)
    assert durations.argmax() in first


def test_the_order_follows_from_seed_and_epoch_alone():
    durations = np.random.default_rng(0).lognormal(1.5, 0.4, 200)

    def batches(seed, epoch):
        np.random.seed(epoch)  # a global stream that must not matter
        return as_lists(DurationBatchSampler(durations, 16, seed=seed).batches(epoch))

    assert batches(3, 5) == batches(3, 5)
    seen = [batches(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert all(a != b for i, a in enumerate(seen) for b in seen[:i])
    # Neighbours change too, not only the order of the batches.
    assert {frozenset(batch) for batch in seen[0]} != {frozenset(batch) for batch in seen[1]}


def test_the_order_is_the_same_on_every_machine():
    durations = np.arange(1, 7)
    batches = as_lists(DurationBatchSampler(durations, 2, seed=1).batches(1))
    assert batches == [[5, 4], [1, 0], [3, 2]]


def test_each_epoch_asks_for_its_own_draws():
    sampler = DurationBatchSampler(np.arange(1, 100), 16, seed=1)
    for epoch in 0, 3:
        sampler.epoch = epoch
        rows = [[draw.row for draw in batch] for batch in sampler]
        assert rows == as_lists(sampler.batches(epoch))


def test_batches_come_in_any_order_of_length():
    durations = np.random.default_rng(0).lognormal(1.5, 0.4, 400)
    longest = [durations[batch].max() for batch in DurationBatchSampler(durations, 16).batches(1)]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)


def test_without_shuffle_clips_come_longest_first():
    durations = np.array([2.0, 5.0, 1.0, 5.0, 3.0])
    sampler = DurationBatchSampler(durations, 2, seed=4, shuffle=False)
    assert as_lists(sampler.batches(0)) == as_lists(sampler.batches(7)) == [[1, 3], [4, 0], [2]]


@pytest.mark.parametrize("seed", range(5))
def test_at_most_a_twentieth_is_padding(seed):
    """Durations as those of read sentences, the clips that training takes by default and more."""
    durations = np.random.default_rng(seed).lognormal(np.log(4.5), 0.4, 4_000)
    for epoch in range(2):
        batches = DurationBatchSampler(durations, 16, seed=seed).batches(epoch)
        computed = sum(cost_s(durations, batch) for batch in batches)
        assert 1 - durations.sum() / computed < 0.05


def test_no_batches_of_nothing():
    with pytest.raises(ValueError, match="batch_size must be at least 1, found 0"):
        DurationBatchSampler(np.ones(3), 0)
    assert list(DurationBatchSampler(np.array([]), 4)) == []


# ------------------------------------------------- batches by seconds, processes, exact position

LENGTHS = st.lists(st.floats(0.1, 30), max_size=60)


@given(LENGTHS, st.integers(1, 5), st.sampled_from([1, 2, 7, 50]), st.integers(0, 3))
def test_processes_share_the_clips_in_equal_numbers_of_batches(lengths, world, size, epoch):
    if 0 < len(lengths) < world:
        with pytest.raises(ValueError, match="cannot be shared"):
            DurationBatchSampler(np.array(lengths), size, world_size=world)
        return
    shares = [
        DurationBatchSampler(np.array(lengths), size, seed=1, rank=rank, world_size=world)
        for rank in range(world)
    ]
    batches = [share.batches(epoch) for share in shares]
    assert len({len(part) for part in batches}) == 1
    rows = sorted(int(row) for part in batches for batch in part for row in batch)
    assert rows == list(range(len(lengths)))


@given(LENGTHS, st.floats(0.5, 60), st.integers(0, 3))
def test_a_batch_by_seconds_never_costs_more_padded_seconds_unless_one_clip_does(
    lengths, seconds, epoch
):
    durations = np.array(lengths, dtype=np.float32)
    batches = DurationBatchSampler(durations, batch_seconds=seconds, seed=2).batches(epoch)
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * durations[batch].max() <= seconds * (1 + 1e-6)


def test_sortagrad_takes_the_first_epoch_from_short_to_long_and_shuffles_the_others():
    durations = np.random.default_rng(0).lognormal(1, 0.5, 200).astype(np.float32)
    sampler = DurationBatchSampler(durations, 8, sortagrad=True)
    first = [durations[batch].mean() for batch in sampler.batches(0)]
    second = [durations[batch].mean() for batch in sampler.batches(1)]
    assert first == sorted(first)
    assert second != sorted(second)


@pytest.mark.parametrize("n_drawn", [0, 1, 4, 12])
def test_a_sampler_continues_at_the_exact_batch(n_drawn):
    durations = np.linspace(1, 9, 50)
    straight = DurationBatchSampler(durations, 4, seed=5)
    whole = [*straight, *straight]
    interrupted = DurationBatchSampler(durations, 4, seed=5)
    batches = iter(interrupted)
    drawn = [next(batches) for _ in range(n_drawn)]
    resumed = DurationBatchSampler(durations, 4, seed=5)
    resumed.load_state_dict(interrupted.state_dict())
    assert [*drawn, *resumed, *resumed] == whole


def test_an_iteration_left_unfinished_is_not_taken_up_by_the_next():
    sampler = DurationBatchSampler(np.linspace(1, 9, 50), 4, seed=5)
    whole = list(DurationBatchSampler(np.linspace(1, 9, 50), 4, seed=5))
    next(iter(sampler))
    assert list(sampler) == whole


@pytest.mark.parametrize("changed", [{"seed": 1}, {"batch_size": 5}, {"extra": 1}, {"n_clips": 3}])
def test_a_state_of_another_sampler_is_refused_by_name(changed):
    sampler = DurationBatchSampler(np.ones(9), 4)
    with pytest.raises(ValueError, match=next(iter(changed))):
        sampler.load_state_dict({**sampler.state_dict(), **changed})


# --- Batches by seconds, from short to long, by several processes, from the middle ----------------


@examples(50)
@given(durations_of, st.floats(1, 300), seeds, st.integers(0, 1), st.booleans())
def test_batches_hold_as_many_seconds_as_asked(durations, seconds, seed, epoch, shuffle):
    sampler = DurationBatchSampler(durations, seed=seed, shuffle=shuffle, batch_seconds=seconds)
    batches = sampler.batches(epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(durations)))
    assert all(len(batch) == 1 or cost_s(durations, batch) <= seconds for batch in batches)


def test_batches_by_seconds_by_hand():
    durations = np.array([1.0, 4.0, 2.0, 9.0, 2.0, 3.0])
    sampler = DurationBatchSampler(durations, shuffle=False, batch_seconds=8.0)
    assert as_lists(sampler.batches(0)) == [[3], [1, 5], [2, 4, 0]]


def test_sortagrad_goes_from_short_to_long_once():
    durations = np.random.default_rng(0).lognormal(1.5, 0.4, 200)
    sampler = DurationBatchSampler(durations, 16, sortagrad=True)
    longest = [durations[batch].max() for batch in sampler.batches(0)]
    assert all(a < 1.1 * b for a, b in pairwise(longest)) and longest[0] < longest[-1] / 3
    assert as_lists(sampler.batches(1)) == as_lists(DurationBatchSampler(durations, 16).batches(1))


@examples(50)
@given(st.integers(1, 4), st.integers(0, 40), st.integers(1, 9), st.booleans(), seeds)
def test_processes_share_every_epoch(world_size, n_more, size, by_seconds, seed):
    durations = np.random.default_rng(seed).lognormal(1.5, 0.4, world_size + n_more)
    how = dict(batch_seconds=5.0 * size) if by_seconds else dict(batch_size=size)
    parts = [
        DurationBatchSampler(durations, seed=seed, rank=rank, world_size=world_size, **how)
        for rank in range(world_size)
    ]
    for epoch in range(2):
        batches = [part.batches(epoch) for part in parts]
        assert len({len(part) for part in batches}) == 1  # none waits for another
        rows = [row for part in batches for batch in part for row in batch]
        assert sorted(rows) == list(range(len(durations)))


@examples(30)
@given(st.integers(0, 12), st.booleans())
def test_an_interrupted_epoch_goes_on_where_it_stood(n_drawn, by_seconds):
    durations = np.random.default_rng(0).lognormal(1.5, 0.4, 100)
    how = dict(batch_seconds=40.0) if by_seconds else dict(batch_size=8)
    straight = DurationBatchSampler(durations, seed=1, **how)
    epochs = [list(straight), list(straight)]  # iterating to the end moves on to the next epoch
    assert epochs[0] != epochs[1] and straight.epoch == 2

    stopped = DurationBatchSampler(durations, seed=1, **how)
    iterator = iter(stopped)
    drawn = [next(iterator) for _ in range(n_drawn)]
    again = DurationBatchSampler(durations, seed=1, **how)
    again.load_state_dict(stopped.state_dict())
    assert drawn + list(again) == epochs[0]
    assert list(again) == epochs[1]
    assert list(stopped) == epochs[0]  # an iteration that is left is not taken up by the next


def test_the_state_of_another_sampler_is_refused():
    state = DurationBatchSampler(np.ones(9), 4, seed=1).state_dict()
    for other in dict(seed=2), dict(seed=1, batch_seconds=3.0), dict(seed=1, sortagrad=True):
        with pytest.raises(ValueError, match=f"other .*{list(other)[-1]}"):
            DurationBatchSampler(np.ones(9), 4, **other).load_state_dict(state)
    with pytest.raises(ValueError, match="other n_clips"):
        DurationBatchSampler(np.ones(8), 4, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="unknown or missing extra"):
        DurationBatchSampler(np.ones(9), 4, seed=1).load_state_dict({**state, "extra": 1})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (dict(batch_seconds=0.0), "batch_seconds must be above 0"),
        (dict(rank=2, world_size=2), r"rank must be in 0\.\.1, found 2"),
        (dict(world_size=4), "3 clips cannot be shared by 4 processes"),
    ],
)
def test_impossible_settings_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        DurationBatchSampler(np.ones(3), 1, **how)
