"""Batches made by worker processes."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable

import torch
from torch.utils.data import DataLoader, Dataset

from asr_ctc.base.processors import n_usable_cores
from asr_ctc.loading.batch import BatchCollate

PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies


def make_loader(
    dataset: Dataset, batches: Iterable, n_threads: int, *, pin_memory: bool = False
) -> DataLoader:
    """A loader of Batches from a batch sampler (or any list of lists of rows or Draws).

    ``n_threads`` worker processes make them, at most as many as there are usable cores; 0 makes
    them in this process. ``pin_memory`` is for batches that go to a GPU: their copy overlaps with
    computing. torch's global random state is neither read nor changed.
    """
    n_workers = min(n_threads, n_usable_cores())
    return _Loader(
        dataset,
        batch_sampler=batches,
        collate_fn=BatchCollate(),
        num_workers=n_workers,
        worker_init_fn=_follow_the_main_process,
        persistent_workers=n_workers > 0,
        prefetch_factor=4 if n_workers else None,
        pin_memory=pin_memory,
        # The default draws from torch's own stream, which must not depend on loaders.
        generator=torch.Generator(),
    )


class _Loader(DataLoader):
    """Its workers begin with SIGTERM blocked, hence also the threads that torch starts in them."""

    def __iter__(self):
        if sys.platform != "linux":
            return super().__iter__()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _follow_the_main_process(worker_id: int) -> None:
    """A worker leaves Ctrl-C and SIGTERM, which may reach every process, to the main process.

    A terminal sends Ctrl-C to all of them; torchrun and job schedulers do so with SIGTERM (which
    is left to the main process on Linux only). A worker ends with the main one even when that is
    killed: torch watches for it, but not from the worker's first moment on. SIGTERM is blocked: see
    ``_Loader``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        threading.Thread(target=_end_when_the_main_process_asks, daemon=True).start()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != multiprocessing.parent_process().pid:
            os._exit(1)


def _end_when_the_main_process_asks() -> None:
    """Its SIGTERM ends a worker whose loader it did not shut down before its end."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
