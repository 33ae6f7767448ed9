"""Bounds of the clip length that nobody typed: found, said, recorded, kept by a resume."""

from types import SimpleNamespace

import numpy as np
import pytest

from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config, read_yaml
from asr_ctc.training import clips
from asr_ctc.training import setup as runs
from asr_ctc.training.loop import train
from asr_ctc.training.resume import find_start
from tools.toy_corpus import SMALL

pytestmark = pytest.mark.usefixtures("log_everything")
SETTINGS = {name: value for name, value in SMALL.items() if name != "min_duration"}
LOGGED = "clip length, from the corpus: "


class Clips(SimpleNamespace):
    def __len__(self):
        return len(self.durations)


def bounds(durations, **flags):
    """(minimum, maximum) that a run on clips of these durations takes."""
    config = make_config({}, flags)
    found = clips.with_duration_bounds(config, Clips(durations=np.array(durations, np.float32)))
    return found.corpus.min_duration, found.corpus.max_duration


def said(caplog):
    return [line for line in caplog.messages if line.startswith(LOGGED)]


def test_bounds_follow_from_the_corpus_and_are_said(caplog):
    assert bounds([0.4] * 10 + [9.7] * 10) == (0.0, 10.0)
    assert said(caplog) == [f"{LOGGED}up to 10 s, 20 of 20 training clips"]


def test_typed_bounds_are_kept_and_the_other_is_found(caplog):
    assert bounds([0.4, 3, 9.7], min_duration=1.0, max_duration=5.0) == (1.0, 5.0)
    assert said(caplog) == []
    assert bounds([0.4, 3, 9.7], max_duration=5.0) == (0.0, 5.0)
    assert bounds([0.4, 3, 9.7], min_duration=1.0) == (1.0, 10.0)
    assert said(caplog)[1:] == [f"{LOGGED}1 to 10 s, 2 of 3 training clips"]


@pytest.mark.parametrize(
    ("flags", "maximum_s", "note"),
    [
        ({}, 12.0, ""),
        (
            {"batch_size": 128},
            10.0,
            "; longer ones need too much memory in batches of 128 clips: a smaller --batch",
        ),
        ({"batch_size": 64}, 12.0, ""),
        ({"batch_seconds": 10.5}, 10.5, "; longer ones need too much memory in batches of 10.5 s:"),
        ({"batch_seconds": 80.0}, 12.0, ""),
    ],
)
def test_a_batch_bounds_the_length_and_that_is_said(caplog, flags, maximum_s, note):
    assert bounds([6.0] * 97 + [12.0] * 3, **flags) == (0.0, maximum_s)
    n_clips = 97 if maximum_s < 12 else 100
    (line,) = said(caplog)
    assert line.startswith(f"{LOGGED}up to {maximum_s:g} s, {n_clips} of 100 training clips{note}")
    assert note or line.endswith("clips")


def test_bounds_that_no_clip_meets_are_refused(few_root):
    config = make_config(SETTINGS, {"datasetroot": str(few_root), "min_duration": 100.0})
    with pytest.raises(UserError, match=r"none of \d+ clips lasts 100 s or more \(they last"):
        runs.set_up_run(find_start(config))


@pytest.mark.slow
def test_the_bounds_are_recorded_and_a_resumed_run_keeps_them(toy_root, tmp_path, caplog):
    flags = {"datasetroot": str(toy_root), "baselogdir": str(tmp_path)}
    folder = train(make_config(SETTINGS, {**flags, "num_epochs": 1})).folder
    assert said(caplog) == [f"{LOGGED}up to 2 s, 24 of 24 training clips"]
    recorded = read_yaml(folder / "config.yaml")
    assert (recorded["min_duration"], recorded["max_duration"]) == (0.0, 2.0)
    caplog.clear()
    resume = {"resume_from": str(folder), "num_epochs": 2}
    assert train(make_config({}, resume)).folder == folder
    assert said(caplog) == [] and read_yaml(folder / "config.yaml")["max_duration"] == 2.0


@pytest.mark.slow
def test_the_map_of_a_run_knows_the_transcripts_of_all_lengths(toy_root):
    flags = {"datasetroot": str(toy_root), "charset": "auto", "charset_min_count": 1}
    everything = runs.set_up_run(find_start(make_config(SETTINGS, flags)))
    some = runs.set_up_run(find_start(make_config(SETTINGS, {**flags, "max_duration": 1.2})))
    assert 0 < len(some.train) < len(everything.train)
    assert some.charmap == everything.charmap
