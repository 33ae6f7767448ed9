"""The processes that train together, one for each device, as torchrun starts them.

Every process reads its own part of each split; DistributedDataParallel averages their gradients
(Li et al. 2020, "PyTorch Distributed"). A process that was not started by torchrun is alone, and
then nothing here communicates.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from asr_ctc.acoustic.masked_norm import MaskedBatchNorm2d
from asr_ctc.base.errors import UserError

T = TypeVar("T")
log = logging.getLogger(__name__)
PACKAGE_LOG = logging.getLogger("asr_ctc")

PATIENCE = timedelta(hours=2)  # the first process may index a corpus while the others wait


@dataclass(frozen=True)
class World:
    """This process's number among ``size``, and on its own machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """True on rank 0, the only process that writes files and logs."""
        return self.rank == 0

    def wrap(self, model: nn.Module, device: torch.device, sync_batchnorm: bool) -> nn.Module:
        """The model to call in training; its weights start as those of the main process.

        Its running statistics stay those of the main process. ``sync_batchnorm`` computes them, and
        what training normalises by, over the batches of all processes.
        """
        if self.size == 1:
            return model
        for module in model.modules():
            if isinstance(module, MaskedBatchNorm2d):
                module.synchronised = sync_batchnorm
        return DistributedDataParallel(model, [device] if device.type == "cuda" else None)

    def sum(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The sums of each value over all processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, items: Iterable) -> list:
        """The items of all processes, by rank."""
        if self.size == 1:
            return list(items)
        parts: list = [None] * self.size
        dist.all_gather_object(parts, list(items))
        return [item for part in parts for item in part]

    def share_buffers(self, model: nn.Module) -> None:
        """Gives the model of all processes the running statistics of the main one."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    @contextlib.contextmanager
    def local_main_process_first(self) -> Iterator[None]:
        """One process of each machine runs what is inside before its others begin."""
        if self.local_rank > 0:
            self.gather([])
        yield
        if self.local_rank == 0:
            self.gather([])

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        """What ``make`` returns on rank 0, which alone calls it."""
        if self.size == 1:
            return make()
        box: list[Any] = [make() if self.is_main else None]
        dist.broadcast_object_list(box)
        return box[0]


ALONE = World()


def join_processes(device: str) -> World:
    """Joins the processes that torchrun started, with NCCL on GPUs and gloo on CPUs.

    All but the main process log errors only. UserError for more processes than GPUs, for
    processes that do not reach each other, and where torchrun has restarted this one: its store
    still holds the addresses of dead processes, and its command line would begin the run anew.
    """
    if not dist.is_torchelastic_launched():
        return ALONE
    if int(os.environ["TORCHELASTIC_RESTART_COUNT"]) > 0:
        raise UserError(
            "torchrun has restarted this process (--max_restarts), and a run does not go on that "
            "way: start torchrun again, with `train --resume_from FOLDER`"
        )
    world = World(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        if world.local_rank >= torch.cuda.device_count():
            raise UserError(
                f"torchrun started more processes than this machine has GPUs "
                f"({torch.cuda.device_count()}): lower --nproc_per_node, or use --device cpu"
            )
        torch.cuda.set_device(world.local_rank)
    if world.size > 1 and not dist.is_initialized():
        try:
            dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
        except RuntimeError as error:
            raise UserError(
                "the processes that torchrun started do not reach each other: "
                f"{str(error).splitlines()[0]}"
            ) from None
    if not world.is_main:
        PACKAGE_LOG.setLevel(logging.ERROR)
    return world


def n_processes() -> int:
    """How many torchrun has started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


def leave_processes() -> None:
    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):  # the error that ended the run is the one to read
            dist.destroy_process_group()


def is_dead_peer(error: RuntimeError) -> bool:
    """Is this the error of a process that waits for one that has ended?"""
    words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
    return dist.is_initialized() and any(word in str(error) for word in words)


@contextlib.contextmanager
def as_user_error_when_a_peer_dies() -> Iterator[None]:
    """Raises the error that a dying process causes in the others as a UserError that quotes it.

    Its words may also be those of an error of this process, such as NCCL's.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_dead_peer(error):
            raise
        message = (
            "another process of this run has ended, as its own error says, or cannot be reached: "
            f"{str(error).splitlines()[0]}; the last save stands: go on with --resume_from"
        )
        log.error("%s", message)  # at once: torchrun is about to end this process too
        raise UserError(message) from None
