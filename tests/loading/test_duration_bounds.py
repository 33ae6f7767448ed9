"""The maximum clip length that follows from a corpus: by hand, and its promises for any lengths."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.display.terminal import seconds_range
from asr_ctc.loading.duration_bounds import suitable_maximum_s


def lengths(*groups):
    """(N,) seconds of groups of (number of clips, seconds)."""
    return np.concatenate([np.full(n, seconds, np.float32) for n, seconds in groups])


@pytest.mark.parametrize(
    ("durations", "most_s", "maximum_s"),
    [
        (lengths((1, 1.2), (1, 4.3), (1, 9.7)), math.inf, 10.0),
        (lengths((5, 4.0)), math.inf, 4.0),
        (lengths((999, 5.0), (1, 60.0)), math.inf, 5.0),  # one clip that would pad a batch
        (lengths((999, 5.0), (1, 7.0)), math.inf, 7.0),  # not 1.5 times as long as the others
        (lengths((96, 8.0), (4, 11.0)), 10.0, 10.0),  # what a batch has no room for
        (lengths((96, 8.0), (4, 11.0)), 10.4, 10.0),
        (lengths((50, 8.0), (50, 15.2)), 10.0, 15.5),  # but never half of a corpus
        (lengths((96, 12.0), (4, 16.0)), 10.0, 12.0),
        (lengths((0, 1.0)), 10.0, math.inf),
    ],
)
def test_a_maximum_by_hand(durations, most_s, maximum_s):
    assert suitable_maximum_s(durations, most_s) == maximum_s


@given(
    st.lists(st.floats(0.0625, 2000, width=32), min_size=1, max_size=60),
    st.one_of(st.just(math.inf), st.floats(1, 400)),
)
def test_nearly_every_clip_is_taken(durations, most_s):
    durations = np.array(durations, np.float32)
    maximum_s = suitable_maximum_s(durations, most_s)
    assert maximum_s > 0 and (2 * maximum_s).is_integer()
    taken = durations <= maximum_s
    # A percentile of few clips lies between two of them: the upper one may be excluded.
    assert (~taken).sum() <= (0.05 if maximum_s > 0.5 else 0) * len(durations) + 1
    if math.isinf(most_s) and durations.max() <= 1.5 * np.median(durations):
        assert taken.all()
    if maximum_s > most_s:
        assert taken[durations <= most_s].all()


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0, math.inf, "any length"),
        (0, 10.5, "up to 10.5 s"),
        (1, 11, "1 to 11 s"),
        (100, math.inf, "100 s or more"),
    ],
)
def test_bounds_in_words(low, high, said):
    assert seconds_range(low, high) == said
