"""Worker processes that are killed, stopped while they start, or lack shared memory."""

import contextlib
import errno
import gc
import multiprocessing
import os
import signal
import sys
from multiprocessing import popen_fork, synchronize

import pytest
import torch

from asr_ctc.audio.log_mel import FeatureSettings, WaveformProcessor
from asr_ctc.base.errors import UserError
from asr_ctc.corpus.corpus import find_corpus
from asr_ctc.loading import loader as workers
from asr_ctc.loading.dataset import ClipDataset
from asr_ctc.loading.loader import WorkerDied, make_loader
from asr_ctc.loading.selection import prepare_split
from asr_ctc.text.charmap import CharMap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux"),
]


@pytest.fixture
def dataset(few_root):
    corpus = prepare_split(find_corpus(few_root, None, "fr"), "train", n_threads=0)
    return ClipDataset(corpus, CharMap(), WaveformProcessor(FEATURES))


@pytest.fixture(autouse=True)
def no_handler_of_torch():
    """A test before may have used a loader of torch alone, whose handler stays for good."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture
def unraised(monkeypatch):
    """What Python says of errors that nobody can catch."""
    errors = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: errors.append(said.exc_value))
    return errors


FEATURES = FeatureSettings(rate=16_000, win_length=0.04, win_step=0.01, nmels=20)
BATCHES = [[0, 1], [2, 3], [4, 5]]


def test_batches_travel_without_shared_memory(dataset, monkeypatch):
    def fail(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>")

    expected = list(make_loader(dataset, BATCHES, 0))
    for shared in True, False:
        if not shared:
            monkeypatch.setattr(torch.Tensor, "share_memory_", fail)  # and in workers, forked
        found = list(make_loader(dataset, BATCHES, 2))
        assert [batch.ids for batch in found] == [batch.ids for batch in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours.spectrograms.data, theirs.spectrograms.data)
            assert ours.spectrograms.data.is_shared() == shared


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS])
def test_a_killed_worker_is_named(dataset, number, capfd, unraised):
    """While its batch is awaited, and even if it dies between two."""
    loader = make_loader(dataset, BATCHES * 50, 2)
    batches = iter(loader)
    next(batches)
    for worker in multiprocessing.active_children():
        with contextlib.suppress(ProcessLookupError):  # the loader may have ended the others
            os.kill(worker.pid, number)
    with pytest.raises(WorkerDied, match=f"audio was killed by {number.name}.*--nthreads 0"):
        list(batches)
    del loader, batches
    gc.collect()
    said = capfd.readouterr().err  # torch's handler of SIGBUS in the worker may still say its line
    assert not said or (number == signal.SIGBUS and said.startswith("ERROR: Unexpected bus error"))
    assert unraised == []
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL


def test_a_death_does_not_disturb_what_is_done_with_a_batch(dataset):
    loader = make_loader(dataset, BATCHES * 50, 2)
    batches = iter(loader)
    next(batches)
    worker = multiprocessing.active_children()[0]
    os.kill(worker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # SIGCHLD has come
    assert sum(range(1000)) == 499500  # torch's handler raises here
    with pytest.raises(WorkerDied):
        next(batches)


def test_workers_that_cannot_have_locks_are_one_line(dataset, monkeypatch, unraised):
    """Python's locks live in /dev/shm."""

    def fail(*args, **how):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(synchronize.SemLock, "__init__", fail)
    with pytest.raises(UserError, match="No space left on device.*/dev/shm.*--nthreads 0"):
        iter(make_loader(dataset, BATCHES, 2))
    gc.collect()
    assert unraised == []


def test_a_process_that_cannot_be_made_is_one_line(dataset, monkeypatch, unraised):
    def fail():
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(popen_fork.os, "fork", fail)
    with pytest.raises(UserError, match="cannot be started.*--nthreads 0"):
        iter(make_loader(dataset, BATCHES, 2))
    gc.collect()
    assert unraised == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_workers_start_is_silent(dataset, number, monkeypatch, capfd, unraised):
    """It comes to all processes, and takes effect when the workers have started."""
    monkeypatch.setattr(workers, "n_usable_cores", lambda: 2)
    n_started, fork = [], os.fork

    def fork_and_stop():
        child = fork()
        n_started.append(child)
        os.kill(os.getpid(), number)
        return child

    def stop(*args):
        raise KeyboardInterrupt

    before = signal.signal(number, stop)
    try:
        monkeypatch.setattr(popen_fork.os, "fork", fork_and_stop)
        loader = make_loader(dataset, BATCHES, 2)
        with pytest.raises(KeyboardInterrupt):
            iter(loader)
        assert len(n_started) == 2
        assert sum(len(batch.ids) for batch in loader) == 6  # whole, for whoever goes on
        del loader
        gc.collect()
    finally:
        signal.signal(number, before)
    assert capfd.readouterr().err == "" and unraised == []
