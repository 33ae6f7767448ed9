"""Batches made by worker processes."""

import contextlib
import ctypes
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from asr_ctc.base.errors import LIMITS, UserError, exhausted
from asr_ctc.base.processors import n_usable_cores
from asr_ctc.loading.batch import Batch, BatchCollate

DYING_S = 1.0  # from the first sign of a worker's death to its end, at most
KILLED_BECAUSE = {
    "SIGKILL": ", as the system does when memory runs out",
    "SIGBUS": ", as when /dev/shm is full",
}
WORKER_NICENESS = 10
DESCRIPTORS_OF_A_WORKER = 8  # pipes and locks of its queues
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies


def make_loader(
    dataset: Dataset,
    batches: Iterable,
    n_threads: int,
    *,
    pin_memory: bool = False,
    gives_way: bool = False,
) -> DataLoader:
    """A loader of Batches from a batch sampler (or any list of lists of rows or Draws).

    ``n_threads`` worker processes make them, at most as many as there are usable cores; 0 makes
    them in this process. ``pin_memory`` is for batches that go to a GPU: their copy overlaps with
    computing. ``gives_way`` lowers the priority of the workers, for training on the same cores.
    torch's global random state is neither read nor changed. Iterating raises WorkerDied
    when a worker is killed, UserError when none can be started.
    """
    n_workers = min(n_threads, n_usable_cores())
    return _Loader(
        dataset,
        batch_sampler=batches,
        collate_fn=BatchCollate(),
        num_workers=n_workers,
        worker_init_fn=_give_way if gives_way else _follow_the_main_process,
        persistent_workers=n_workers > 0,
        prefetch_factor=4 if n_workers else None,
        pin_memory=pin_memory,
        # The default draws from torch's own stream, which must not depend on loaders.
        generator=torch.Generator(),
    )


class WorkerDied(UserError):
    """A worker process has ended while its loader needed it."""


class _WorkerBatches(_MultiProcessingDataLoaderIter):
    """torch's own, which may end half made or without one of its workers."""

    def _shutdown_workers(self) -> None:
        with contextlib.suppress(AttributeError):  # half made
            super()._shutdown_workers()

    def kill(self) -> None:
        """Nobody waits for the others, who may wait for a lock that the dead one has."""
        for worker in self._workers:
            worker.kill()
        self._shutdown = True


class _Loader(DataLoader):
    """Raises WorkerDied, but only while a batch is awaited, never within what is done with one."""

    def __iter__(self) -> Any:
        if self.num_workers == 0:
            return super().__iter__()
        if self._iterator is None:
            _refuse_few_descriptors(DESCRIPTORS_OF_A_WORKER * self.num_workers)
        try:
            with self._deaths_raise(), _stops_postponed():
                batches = super().__iter__()
        except OSError as error:
            raise UserError(
                f"worker processes cannot be started ({error.strerror or error}), which need a "
                "/dev/shm that can be written, memory and a free process number: use --nthreads 0"
            ) from None
        return self._watch_workers(batches)

    def _get_iterator(self) -> Any:
        return _WorkerBatches(self) if self.num_workers else super()._get_iterator()

    def _watch_workers(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            with self._deaths_raise(), _plain_errors():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    @contextlib.contextmanager
    def _deaths_raise(self) -> Iterator[None]:
        """A death is noticed at once, even when what is read from the worker breaks off.

        torch's own handler of SIGCHLD, which is replaced, raises in the middle of anything.
        """
        self._refuse_dead_worker()
        is_main = threading.current_thread() is threading.main_thread()
        number = getattr(signal, "SIGCHLD", None) if is_main else None
        before = None
        if number:
            before = signal.signal(number, lambda *_: self._refuse_dead_worker())
        try:
            yield
        except (RuntimeError, OSError, EOFError):  # such as of a connection to a dying worker
            workers = self._workers()
            ended = multiprocessing.connection.wait([w.sentinel for w in workers], DYING_S)
            for worker in workers:
                if worker.sentinel in ended:  # its files are closed, its exit status may follow
                    worker.join(DYING_S)
            self._refuse_dead_worker()
            raise
        finally:
            if number:
                signal.signal(number, before or signal.SIG_DFL)

    def _workers(self) -> list[BaseProcess]:
        return getattr(self._iterator, "_workers", [])

    def _refuse_dead_worker(self) -> None:
        for worker in self._workers():
            if worker.exitcode:
                cause = _how_it_ended(worker.exitcode)
                self._iterator.kill()  # type: ignore[union-attr, attr-defined]
                raise WorkerDied(
                    f"a worker process that loads audio {cause}: use fewer (--nthreads), or none "
                    "(--nthreads 0)"
                )


def _how_it_ended(exit_code: int) -> str:
    if exit_code > 0:
        return f"ended with status {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"was killed by {name}{KILLED_BECAUSE.get(name, '')}"


@contextlib.contextmanager
def _stops_postponed() -> Iterator[None]:
    """Ctrl-C and SIGTERM take effect at its end: no worker and no loader stays half made.

    The workers that start inside begin with SIGTERM blocked, hence also the threads that torch
    starts in them.
    """
    received: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()  # only it can have handlers
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in before:
            signal.signal(number, lambda number, frame: received.append(number))
        with _sigterm_blocked() if sys.platform == "linux" else contextlib.nullcontext():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        if received:
            signal.raise_signal(received[0])


@contextlib.contextmanager
def _sigterm_blocked() -> Iterator[None]:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _refuse_few_descriptors(n_needed: int) -> None:
    """UserError when this process may not open so many files: starting workers would end halfway,
    with torch's own tracebacks."""
    opened: list[int] = []
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


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """torch puts a worker's traceback before the message of its error: this removes it."""
    try:
        yield
    except WorkerDied:
        raise
    except UserError as error:
        message = str(error.args[0] if error.args else error)
        raise UserError(message.rpartition("UserError: ")[2].strip()) from None


def _give_way(worker_id: int) -> None:
    """Lowers the priority of a worker beside a training on the same cores.

    Each matrix product there waits for the slowest core; batches are made ahead and can wait.
    """
    if hasattr(os, "nice"):
        os.nice(WORKER_NICENESS)
    _follow_the_main_process(worker_id)


def _follow_the_main_process(worker_id: int) -> None:
    """A worker leaves Ctrl-C and SIGTERM, which may reach every process, to the main process.

    A terminal sends Ctrl-C to all of them; torchrun and job schedulers do so with SIGTERM (which
    is left to the main process on Linux only). A worker ends with the main one even when that is
    killed: torch watches for it, but not from the worker's first moment on. SIGTERM is blocked: see
    ``_stops_postponed``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGBUS", "SIGSEGV", "SIGFPE"):  # torch prints a line of its own at these
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    if sys.platform == "linux":
        threading.Thread(target=_end_when_the_main_process_asks, daemon=True).start()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is None or os.getppid() != parent.pid:
            os._exit(1)


def _end_when_the_main_process_asks() -> None:
    """Its SIGTERM ends a worker whose loader it did not shut down before its end."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
