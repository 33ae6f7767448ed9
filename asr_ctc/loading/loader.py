"""Batches made by worker processes."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from asr_ctc.base.errors import LIMITS, UserError, exhausted
from asr_ctc.loading.batch import BatchCollate

DESCRIPTORS_OF_A_WORKER = 8  # pipes and locks of its queues
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies


def make_loader(
    dataset: Dataset, batches: Iterable, n_threads: int, pin_memory: bool = False
) -> DataLoader:
    """A loader of Batches from a batch sampler (or any list of lists of rows or Draws).

    ``pin_memory`` is for batches that go to a GPU: their copy overlaps with computing.
    """
    n_workers = min(n_threads, os.cpu_count() or 1)
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
        if self._iterator is None:
            _refuse_few_descriptors(DESCRIPTORS_OF_A_WORKER * self.num_workers)
        if sys.platform != "linux":
            return _with_plain_errors(super().__iter__())
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return _with_plain_errors(super().__iter__())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _refuse_few_descriptors(n_needed: int) -> None:
    """UserError when this process may not open so many files: starting workers would end halfway,
    with torch's own tracebacks."""
    opened = []
    try:
        opened += (os.open(os.devnull, os.O_RDONLY) for _ in range(n_needed))
    except OSError as error:
        if error.errno in LIMITS:
            error.filename = None
            raise exhausted(error) from None
        raise
    finally:
        for handle in opened:
            os.close(handle)


def _with_plain_errors(batches: Iterator) -> Iterator:
    """The batches; torch puts a worker's traceback before the message of its error."""
    try:
        yield from batches
    except UserError as error:
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from None


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
