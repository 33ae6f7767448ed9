"""A last.pt that was damaged or changed: a run goes on from it exactly, or says why not."""

import copy
import random
import shutil

import pytest
import torch

from asr_ctc.base.errors import UserError
from asr_ctc.config.load import make_config
from asr_ctc.training.loop import train
from asr_ctc.training.resume import find_start
from tests.helpers.mutation import N_TRIES, mutate
from tools.toy_corpus import SMALL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(few_root, tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    flags = {**SMALL, "datasetroot": str(few_root), "baselogdir": str(logs), "logname": "a"}
    assert not train(make_config({}, {**flags, "num_epochs": 1})).interrupted
    return logs / "a"


@pytest.fixture
def folder(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "a")
    (folder / "last.previous.pt").unlink()
    return folder


def go_on(folder) -> str:
    """ "" for a run that could go on, else why not, in one line."""
    try:
        assert not train(make_config({}, {"resume_from": str(folder), "num_epochs": 1})).interrupted
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 800
        return str(error)
    return ""


def test_states_at_random(folder, few_root):
    content, draw = torch.load(folder / "last.pt", weights_only=True), random.Random(0)
    assert go_on(folder) == ""
    n_refused = 0
    for _ in range(max(10, N_TRIES // 3)):
        mutated = copy.deepcopy(content)
        mutate(mutated["training"], draw)
        torch.save(mutated, folder / "last.pt")
        n_refused += go_on(folder) != ""
    assert n_refused > 5


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("epoch", -1),
        ("epoch", "1"),
        ("epoch", 1.5),
        ("schedule", {"step": "x", "epoch": 1, "n_halvings": 0, "epochs_since": 0}),
        ("best", {"ranks": {1: [None, 1.0]}}),
        ("best", {"ranks": {"1": [1.0, 1.0]}}),
        ("doctor", {"history": [{"epoch": "x"}], "told": []}),
        ("sums", {}),
        ("optimizer", {"state": {}, "param_groups": []}),
    ],
)
def test_parts_of_a_wrong_kind(folder, part, change):
    content = torch.load(folder / "last.pt", weights_only=True)
    content["training"]["state"][part] = change
    torch.save(content, folder / "last.pt")
    assert "cannot go on" in go_on(folder)


def test_an_optimizer_of_other_shapes(folder):
    content = torch.load(folder / "last.pt", weights_only=True)
    states = content["training"]["state"]["optimizer"]["state"]
    states[0]["exp_avg"] = torch.zeros(3)
    torch.save(content, folder / "last.pt")
    assert "its state of 'optimizer' is damaged" in go_on(folder)


@pytest.mark.parametrize("has_previous", [True, False])
def test_damaged_bytes(finished, tmp_path, has_previous, caplog):
    folder = shutil.copytree(finished, tmp_path / "a")
    if has_previous:
        shutil.copy(folder / "last.pt", folder / "last.previous.pt")
    else:
        (folder / "last.previous.pt").unlink()
    whole, draw = (folder / "last.pt").read_bytes(), random.Random(0)
    config = make_config({}, {"resume_from": str(folder)})
    for place in [0, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(20))]:
        for damaged in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :],
        ):
            (folder / "last.pt").write_bytes(damaged)
            if has_previous:
                assert find_start(config).folder == folder
            else:
                try:  # padding between the members may be anything
                    find_start(config)
                except UserError as error:
                    assert "last.pt" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("line", [b"\xff\x00", b"[" * 10**5, b'{"epoch": [1]}', b'{"epoch": "1"}'])
def test_lines_of_metrics_that_are_none_are_removed(folder, line):
    metrics = folder / "metrics.jsonl"
    whole = metrics.read_bytes()
    metrics.write_bytes(line + b"\n" + whole)
    assert go_on(folder) == "" and metrics.read_bytes() == whole


def test_metrics_that_are_a_folder_or_a_link(folder, tmp_path):
    metrics = folder / "metrics.jsonl"
    metrics.rename(tmp_path / "elsewhere")
    metrics.mkdir()
    assert "metrics.jsonl: cannot be read (Is a directory)" in go_on(folder)
    metrics.rmdir()
    metrics.symlink_to(tmp_path / "elsewhere")
    assert "metrics.jsonl is a link" in go_on(folder)
    log = folder / "train.log"
    log.rename(tmp_path / "log")
    log.symlink_to(tmp_path / "log")
    before = (tmp_path / "log").read_bytes()
    assert "train.log: is a link" in go_on(folder)
    assert (tmp_path / "log").read_bytes() == before
