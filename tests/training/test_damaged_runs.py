"""Damaged files of a run: the others are listed all the same, and what is lost is said."""

import os
import random

import pytest

from asr_ctc.training.run_list import as_json, as_table, list_runs

CONFIG = b"num_epochs: 3\nbase_lr: 0.001\nlang: 'fr'\nhotwords: []\nbest_by: 'cer'\n"
LINE = '{"epoch": %d, "dev_cer": 0.5, "dev_wer": 0.75, "dev_loss": 1.5, "lr": null}\n'
METRICS = (LINE % 1 + LINE % 2).encode()
NESTED = b"[" * 100_000


def make_run(base, name, config=CONFIG, metrics=METRICS):
    (base / name).mkdir()
    for file, content in {"config.yaml": config, "metrics.jsonl": metrics}.items():
        if content is None:
            (base / name / file).mkdir()
        else:
            (base / name / file).write_bytes(content)


def listed(base):
    """{name: run}, once the table and the JSON could be made."""
    runs = list_runs(base)
    assert as_table(runs) and as_json(runs)
    return {run.name: run for run in runs}


@pytest.fixture
def base(tmp_path):
    make_run(tmp_path, "sound")
    return tmp_path


def seeded(content, n=40):
    """The content truncated, emptied, and with bytes changed at random."""
    draw = random.Random(0)
    yield b""
    for _ in range(n):
        place = draw.randrange(len(content))
        yield content[:place]
        yield content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["config.yaml", "metrics.jsonl"])
def test_a_damaged_byte_hides_no_other_run(base, file):
    make_run(base, "damaged")
    whole = (base / "damaged" / file).read_bytes()
    for content in seeded(whole):
        (base / "damaged" / file).write_bytes(content)
        runs = listed(base)
        assert runs["sound"].state == "stopped" and runs["sound"].epochs == 2
        assert "damaged" in runs


@pytest.mark.few(4)
@pytest.mark.parametrize(
    "config",
    [
        b"num_epochs: [2]",
        b"num_epochs: {a: 2}",
        b"num_epochs: " + b"9" * 10**6,
        b"num_epochs: .inf",
        b"early_stopping: [[1]]",
        b"best_by: [cer]",
        b"num_epochs: &a [*a]",
        b"a: &a [x, x]\nb: &b [*a, *a]\nnum_epochs: *b",
        b"num_epochs: " + NESTED,
        b"\xff\xfe",
        b"",
        None,
    ],
    ids=range(12),
)
def test_settings_that_are_none_are_a_note(base, config):
    make_run(base, "damaged", config)
    runs = listed(base)
    assert runs["sound"].epochs == 2 and runs["damaged"].state == "broken"
    (note,) = runs["damaged"].notes
    assert len(note) < 200 and "config.yaml" in note


def test_other_settings_that_cannot_be_read_stay_texts(base):
    make_run(base, "damaged", b"num_epochs: 3\nlang: [[fr]]\nunheard_of: {a: [b]}\n")
    run = listed(base)["damaged"]
    assert run.state == "stopped"
    assert run.settings["lang"] == "[['fr']]" and run.settings["unheard_of"] == "{'a': ['b']}"


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{}",
        NESTED,
        b'{"epoch": 1e400, "dev_cer": 1, "dev_wer": 1, "dev_loss": 1}',
        b'{"epoch": NaN, "dev_cer": 1, "dev_wer": 1, "dev_loss": 1}',
        b'{"epoch": 1.5, "dev_cer": 1, "dev_wer": 1, "dev_loss": 1}',
        b'{"epoch": true, "dev_cer": 1, "dev_wer": 1, "dev_loss": 1}',
        b'{"epoch": -3, "dev_cer": 1, "dev_wer": 1, "dev_loss": 1}',
        b'{"epoch": 3, "dev_cer": [1], "dev_wer": 1, "dev_loss": 1}',
        b'{"epoch": 3, "dev_cer": 1, "dev_wer": 1, "dev_loss": 1, "lr": ' + NESTED + b"}",
        b'{"epoch": ' + b"9" * 10**6 + b', "dev_cer": 1, "dev_wer": 1, "dev_loss": 1}',
        b"\xff\x00\x00",
    ],
    ids=range(12),
)
def test_lines_that_are_no_epochs_are_counted(base, line):
    make_run(base, "damaged", metrics=METRICS + line + b"\n")
    run = listed(base)["damaged"]
    assert run.epochs == 2
    assert run.notes == ["metrics.jsonl: no metrics of an epoch in 1 of 3 lines"]


def test_metrics_that_are_a_folder(base):
    make_run(base, "damaged", metrics=None)
    (note,) = listed(base)["damaged"].notes
    assert note.startswith("metrics.jsonl cannot be read")


def test_a_log_that_is_a_pipe_is_not_waited_for(base):
    make_run(base, "odd")
    os.mkfifo(base / "odd" / "train.log")
    assert listed(base)["odd"].state == "stopped"
