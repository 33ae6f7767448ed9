"""Where and how to compute: the device, the arithmetic, threads and memory."""

import ctypes
import math
import os
import sys
from pathlib import Path

import torch

from asr_ctc.base.errors import UserError

AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# glibc's mallopt: the size from which a block is mapped on its own, and the free memory at the top
# of the heap from which it is handed back.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# oneDNN keeps compiled code and scratch memory, some MB, for each length that a batch ever had. Of
# its 1,024 places these are plenty: lengths seldom come twice, and compiling takes little time.
PRIMITIVES_KEPT = "128"
OUT_OF_MEMORY = (
    "out of memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory", "not enough memory", "Cannot allocate memory",
    "could not create a primitive", "can't start new thread",
)  # fmt: skip


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the device or off it: torch has many words for that."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def pick_device(name: str, flag: str = "--device") -> torch.device:
    """The device for auto, cpu or cuda; UserError when ``flag`` asks for a cuda that is absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{flag} cuda: no CUDA device is available here; use {flag} cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> str:
    """fp32, bf16 or fp16; auto takes the half precision by which the processor gains.

    bf16 where matrices are multiplied in it natively: GPUs from Ampere on, CPUs with AMX or
    AVX512-BF16. fp16 on GPUs before Ampere that have tensor cores (Volta, Turing). fp32 elsewhere.
    Which processors gain, and how much, is measured by benchmarks/train_step.py; a start asks for
    the feature alone and times nothing, because two runs with the same seed must choose alike
    however busy the machine is. UserError where fp16 or bf16 cannot be computed.
    """
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        usable = ["fp32", "fp16"] + ["bf16"] * (capability >= (8, 0))
        gaining = "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    else:
        usable = ["fp32", "bf16"]
        asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        has_bf16 = any(getattr(torch.cpu, name, bool)() for name in asked)
        gaining = "bf16" if has_bf16 else "fp32"
    if name == "auto":
        return gaining
    if name not in usable:
        raise UserError(
            f"--precision {name}: unknown precision on this processor ({device.type}); "
            f"use --precision {' or '.join(usable)}, or auto, which takes {gaining} here"
        )
    return name


def autocast(device: torch.device, precision: str):
    """The context in which the model runs; losses and log-softmax are in float32 all the same."""
    half = AUTOCAST_TYPES.get(precision)
    return torch.autocast(device.type, half or torch.bfloat16, enabled=half is not None)


def make_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """The gradient scaler of a precision: at work for fp16, whose range gradients leave, else idle.

    An idle one passes everything through and has an empty state. Micikevicius et al. 2018.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def use_processor() -> None:
    """Sets threads and oneDNN for long work on the CPU. Call once, at the start of a command.

    As many threads as there are physical cores for this process, but no more than a container's
    quota pays for; OMP_NUM_THREADS wins. What oneDNN keeps is bounded;
    ONEDNN_PRIMITIVE_CACHE_CAPACITY wins.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", PRIMITIVES_KEPT)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), _quota_cores()))


def keep_freed_memory() -> None:
    """Keeps freed memory for the next step of training, where the C library is glibc.

    It would otherwise be returned, and zeroed again page by page, at every step.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
    except (OSError, AttributeError):
        pass  # another C library


def _quota_cores() -> float:
    """Cores that the control group pays for, rounded up; infinite without a quota."""
    try:
        quota, period = CGROUP_QUOTA.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no control groups, or "max"
        return math.inf


class SavedActivations:
    """Counts the bytes that a forward pass keeps for the backward one, weights not counted.

    A context around the forward pass; afterwards ``megabytes`` tells: of several passes, each with
    its backward one, what the largest kept. A tensor kept twice counts once. It costs a call per
    kept tensor, so measure one step.
    """

    def __init__(self, model: torch.nn.Module):
        self._model = model
        self._weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self._kept: dict[int, int] = {}
        self._largest = 0

    def _begin(self, *forward) -> None:
        self._largest = max(self._largest, sum(self._kept.values()))
        self._kept.clear()

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights:
            self._kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def __enter__(self) -> "SavedActivations":
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda kept: kept)
        self._hooks.__enter__()
        self._each = self._model.register_forward_pre_hook(self._begin)
        return self

    def __exit__(self, *error) -> None:
        self._each.remove()
        self._hooks.__exit__(*error)
        self._begin()

    @property
    def megabytes(self) -> float:
        return self._largest / 1e6


def peak_memory_mb(device: torch.device) -> float:
    """The most memory that this process has had: of the GPU, or without one, of the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        import resource
    except ImportError:  # Windows does not tell
        return float("nan")
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes / 1e6
