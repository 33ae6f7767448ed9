"""Characters too rare for a class: how much of a text they are, and which count leaves little."""

import pytest

from asr_ctc.text.rare import suitable_min_count, unknown_share


def test_the_share_of_a_text_that_becomes_unknown():
    counts = [1, 1, 2, 4, 5, 87]
    assert unknown_share(counts, 5, 100) == pytest.approx(0.08)
    assert unknown_share(counts, 2, 100) == pytest.approx(0.02)
    assert unknown_share(counts, 1, 100) == 0
    assert unknown_share([], 5, 0) == 0


@pytest.mark.parametrize(
    ("counts", "total", "min_count"),
    [
        ([1, 4], 1000, 5),  # half a percent: nothing to mend
        ([4, 4, 4, 1], 1000, 4),  # 13 of 1000 below 5, 1 below 4
        ([2] * 10, 1000, 2),
        ([1] * 10, 1000, 5),  # one percent is allowed
        ([1] * 11, 1000, 1),
        ([1] * 700, 700, 1),
        ([], 0, 5),
    ],
)
def test_the_largest_count_that_leaves_a_percent_unknown(counts, total, min_count):
    assert suitable_min_count(counts, 5, total) == min_count
