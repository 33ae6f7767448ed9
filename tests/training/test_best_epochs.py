import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ctc.training.best_epochs import Best
from asr_ctc.training.early_stopping import should_stop


def epochs(*pairs, by="cer"):
    """Figures of epochs from (score, loss) pairs."""
    return [
        {"epoch": i, "dev_cer": 9.0, "dev_wer": 9.0, "dev_loss": loss} | {f"dev_{by}": score}
        for i, (score, loss) in enumerate(pairs, 1)
    ]


@pytest.mark.parametrize("by", ["cer", "wer"])
def test_the_lower_score_is_better_and_the_lower_loss_among_equals(by):
    best = Best(by)
    told = epochs((1.0, 5.0), (1.0, 4.0), (1.0, 4.0), (0.5, 6.0), (0.6, 1.0), by=by)
    assert [best.update(figures) for figures in told] == [True, True, False, True, False]
    assert (best.epoch, best.epochs_since) == (4, 1)


def test_by_loss_the_error_rates_do_not_count():
    best = Best("loss")
    told = [
        {"epoch": 1, "dev_cer": 0.1, "dev_wer": 0.1, "dev_loss": 2.0},
        {"epoch": 2, "dev_cer": 0.9, "dev_wer": 0.9, "dev_loss": 1.0},
        {"epoch": 3, "dev_cer": 0.0, "dev_wer": 0.0, "dev_loss": 1.0},
    ]
    assert [best.update(figures) for figures in told] == [True, True, False]


def test_no_number_is_the_worst_of_all_but_better_than_nothing():
    best = Best()
    told = epochs((math.nan, math.nan), (math.nan, math.nan), (1.0, math.nan), (1.0, 7.0))
    assert [best.update(figures) for figures in told] == [True, False, True, True]


def test_it_stops_after_so_many_epochs_without_improvement():
    best = Best()
    stops = []
    for figures in epochs((3.0, 1), (2.0, 1), (2.5, 1), (1.0, 1), (1.5, 1), (1.0, 1), (0.5, 1)):
        best.update(figures)
        stops.append(should_stop(best, 2))
    assert stops == [False] * 5 + [True, False]
    for figures in epochs(*[(1.0, 1.0)] * 100):
        best.update(figures)
    assert not should_stop(best, None)


def test_the_best_epochs_of_all_the_earlier_of_equals():
    best = Best()
    for figures in epochs((2.0, 1.0), (1.0, 1.0), (math.nan, 1.0), (1.0, 1.0), (0.5, 1.0)):
        best.update(figures)
    assert [best.epochs(n) for n in (1, 2, 9)] == [[5], [5, 2], [5, 2, 4, 1, 3]]


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.floats(0, 3))), st.integers(0, 5))
def test_a_resumed_one_goes_on_like_a_straight_one(pairs, cut):
    straight, first, resumed = (Best("wer") for _ in range(3))
    told = epochs(*pairs, by="wer")
    wanted = [(straight.update(figures), straight.epochs_since) for figures in told]
    found = [(first.update(figures), first.epochs_since) for figures in told[:cut]]
    resumed.load_state_dict(first.state_dict())
    found += [(resumed.update(figures), resumed.epochs_since) for figures in told[cut:]]
    assert found == wanted
    assert resumed.state_dict() == straight.state_dict()
