"""What goes wrong in a run, and what a run that goes on is given wrongly."""

import fcntl
import logging
import math
import os

import pytest
import torch

from asr_ctc import distributed, resume, step, training
from asr_ctc.checkpoint import load_model
from asr_ctc.config import make_config
from asr_ctc.errors import UserError
from asr_ctc.resume import find_start
from asr_ctc.runs import setup
from asr_ctc.step import train_step
from asr_ctc.training import train
from tests.test_training import make_batch, make_model
from tests.toy import make_toy_corpus

SMALL = dict(
    nhidden_rnn=8, nlayers_rnn=1, batch_size=2, num_epochs=2, nthreads=0, precision="fp32",
    device="cpu", min_duration=0.5, seed=1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _log_everything(caplog):
    caplog.set_level(logging.INFO, "asr_ctc")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """ROOT of a corpus of 6, 3 and 1 clips. Read only."""
    root = tmp_path_factory.mktemp("few")
    make_toy_corpus(root, (6, 3, 1))
    return root


def go(root, logs, **flags) -> int:
    """Trains in ``logs``/run."""
    given = {**SMALL, "datasetroot": str(root), "baselogdir": str(logs), "logname": "run"}
    return train(make_config(given, flags), ["main_ctc.py", "train"])


def go_on(folder, **flags) -> int:
    config = make_config({}, {"resume_from": str(folder), **flags})
    return train(config, ["main_ctc.py", "train"])


@pytest.fixture
def folder(root, tmp_path):
    """That of a finished run."""
    assert go(root, tmp_path) == 0
    return tmp_path / "run"


# --- Steps that fail -----------------------------------------------------------------------------


def weights_of(model) -> list:
    return [value.clone() for value in model.state_dict().values()]


def step_of(model, batch, scaler=None, lr=0.1):
    cpu = torch.device("cpu")
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return train_step(model, [batch], optimizer, None, cpu, "fp32", scaler)


def test_a_batch_that_needs_too_much_memory_is_named_and_skipped(monkeypatch, caplog):
    model, batch = make_model(), make_batch([1, 2], [2])
    batch.durations = (0.5, 0.25)
    before = weights_of(model)

    def fail(*args):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB")

    hook = model.charlin.register_forward_hook(fail)  # past the normalisation
    done = step_of(model, batch)
    assert not done.taken and done.n_clips == 2
    assert all(torch.equal(a, b) for a, b in zip(weights_of(model), before))
    assert "out of memory on a batch of 2 clips, padded to 0.5 s each, 1 s in all" in caplog.text
    assert "--batch_seconds below 1" in caplog.text and "clips: clip 0, clip 1" in caplog.text
    hook.remove()
    assert step_of(model, batch).taken


def test_any_other_error_leaves_the_model_as_it_was():
    """So that the run can be saved when another process has gone."""
    model, before = make_model(), weights_of(make_model())

    def fail(*args):
        raise RuntimeError("gloo: Connection closed by peer")

    model.charlin.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        step_of(model, make_batch([1]))
    assert all(torch.equal(a, b) for a, b in zip(weights_of(model), before))


def test_the_scaler_seeks_its_scale_but_not_for_ever(caplog):
    """A gradient that is infinite at every scale is no matter of the scale."""
    model = make_model()
    model.charlin[0].bias.register_hook(lambda gradient: gradient * math.inf)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    done = [step_of(model, make_batch([1, 2]), scaler) for _ in range(4)]
    assert not any(step.taken for step in done)
    assert [step.n_clips for step in done] == [0, 0, 1, 1]  # at 4 and 2; then it counts as skipped
    assert caplog.text.count("step skipped: the gradient is not finite") == 2


def test_a_run_whose_every_step_is_skipped_stops_with_what_was_learnt(root, tmp_path, monkeypatch):
    losses, calls = step.ctc_losses, []

    def diverging(*args):
        calls.append(None)
        return losses(*args) * (math.nan if len(calls) > 3 else 1)

    monkeypatch.setattr(step, "ctc_losses", diverging)
    with pytest.raises(UserError, match="10 steps in a row were skipped, in epoch 5 after 1 batch"):
        go(root, tmp_path, num_epochs=9)
    file = load_model(tmp_path / "run" / "last.pt")
    assert all(value.isfinite().all() for value in file.state_dict.values())
    assert file.training["state"]["schedule"]["step"] == 3
    assert "10 steps in a row" in (tmp_path / "run" / "train.log").read_text()


# --- Going on ------------------------------------------------------------------------------------


def test_settings_that_contradict_the_run_are_refused_by_name(folder):
    with pytest.raises(UserError) as caught:
        go_on(folder, nhidden_rnn=9, base_lr=0.1, nmels=13, num_epochs=3, seed=1)
    said = str(caught.value)
    for words in (
        "--nhidden_rnn 9 (the run has 8)",
        "--base_lr 0.1 (the run has 0.0005)",
        "--nmels 13 (the run has 20)",
    ):
        assert words in said
    assert "num_epochs" not in said and "seed" not in said  # the one may change, the other is equal


def test_a_folder_that_holds_no_run(tmp_path, folder):
    with pytest.raises(UserError, match="holds no last.pt, so it is not the folder of a run"):
        go_on(tmp_path)
    (folder / "last.pt").unlink()
    (folder / "last.previous.pt").unlink()
    with pytest.raises(UserError, match="holds no last.pt"):
        go_on(folder)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_state_is_replaced_by_the_one_before(folder, damage, caplog):
    wanted, last = load_model(folder / "last.pt").state_dict, folder / "last.pt"
    data = last.read_bytes()
    last.unlink()
    if damage == "cut":
        last.write_bytes(data[: len(data) // 2])
    assert go_on(folder) == 0
    assert f"going on from {folder / 'last.previous.pt'}" in caplog.text
    assert "going on in epoch 2, after 0 of its batches" in caplog.text
    found = load_model(last).state_dict
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_folder_in_which_another_process_trains(folder):
    """Processes share no lock, so that another one is needed to hold it."""
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with open(folder / "train.log", "a") as log:
            fcntl.lockf(log, fcntl.LOCK_EX)
            os.write(ready[1], b"x")
            os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        with pytest.raises(UserError, match="another process trains in this folder"):
            go_on(folder, num_epochs=3)
    finally:
        os.write(done[1], b"x")
        os.waitpid(child, 0)
    assert go_on(folder, num_epochs=3) == 0


def test_another_corpus_under_the_same_name_is_refused(root, folder, tmp_path):
    make_toy_corpus(tmp_path / "other", (6, 3, 1), seed=1)
    with pytest.raises(UserError, match="train has changed since the run began"):
        go_on(folder, datasetroot=str(tmp_path / "other"))


def test_a_run_goes_on_where_it_was_even_if_there_is_a_gpu(folder, monkeypatch):
    """Its device is its own, unless another is given now: the processes are joined for it."""
    devices = []
    monkeypatch.setattr(
        distributed, "join", lambda device: devices.append(device) or distributed.ALONE
    )
    assert go_on(folder) == 0
    assert devices == ["cpu"]


def test_on_a_processor_of_another_precision_the_scaler_starts_anew(root, folder):
    start = find_start(make_config({}, {"resume_from": str(folder)}))
    run = setup(start, [])
    state = training.make_state(run, 3)
    state.scaler = torch.amp.GradScaler("cpu")
    sampler = training.make_sampler(run.train_corpus.durations, run.config.training)
    resume.restore(start, state, sampler, run.world)
    assert state.epoch == 3 and state.scaler.get_scale() == 65536.0


# --- From a model's weights ----------------------------------------------------------------------


def test_another_character_map_keeps_all_but_the_output_layer(root, folder, caplog):
    best = folder / "best_model.pt"
    given = {**SMALL, "datasetroot": str(root), "resume_from": str(best)}
    start = find_start(make_config({**given, "charset": "auto", "charset_min_count": 1}, {}))
    model, weights = setup(start, []).model, load_model(best).state_dict
    assert model.charlin[0].out_features == 12 != len(weights["charlin.0.bias"])
    for name, value in model.state_dict().items():
        assert name.startswith("charlin.") or torch.equal(value, weights[name])
    assert "the output layer is new" in caplog.text


def test_frozen_parts_stay_as_they_are(root, folder, tmp_path):
    best = folder / "best_model.pt"
    assert go(root, tmp_path / "b", resume_from=str(best), freeze=["cnn"], num_epochs=1) == 0
    before, after = (load_model(path).state_dict for path in (best, tmp_path / "b/run/last.pt"))
    for name in before:
        assert torch.equal(before[name], after[name]) == name.startswith("cnn."), name
