"""Where and how to compute: device, precision, threads and memory."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import torch

from asr_ctc.base.errors import UserError
from asr_ctc.base.processors import quota_cores

HOST_MEMORY, GROUP_MEMORY = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# glibc's mallopt: the size from which a block is mapped on its own, and the free memory at the top
# of the heap from which it is handed back.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
OUT_OF_MEMORY = (
    "out of memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory", "not enough memory", "Cannot allocate memory",
    "could not create a primitive", "can't start new thread",
)  # fmt: skip


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the device or the host; torch has many messages for that."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def pick_device(name: str, flag: str = "--device") -> torch.device:
    """The device for auto, cpu or cuda; UserError if ``flag`` requests cuda and there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{flag} cuda: no CUDA device is available here; use {flag} cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> str:
    """fp32, bf16 or fp16; auto picks the half precision that makes the processor faster.

    bf16 where matrix products in it are native: GPUs from Ampere on, CPUs with AMX or AVX512-BF16.
    fp16 on GPUs before Ampere that have tensor cores (Volta, Turing). fp32 elsewhere.
    benchmarks/train_step.py measures which processors gain, and how much. The choice depends on
    processor features only and times nothing: two runs with the same seed must choose alike,
    however busy the machine is. UserError if the processor cannot compute in ``name``.
    """
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        usable = ["fp32", "fp16"] + ["bf16"] * (capability >= (8, 0))
        gaining = "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    else:
        usable = ["fp32", "bf16"]
        has_bf16 = has_amx() or _processor_has("avx512_bf16")
        gaining = "bf16" if has_bf16 else "fp32"
    if name == "auto":
        return gaining
    if name not in usable:
        raise UserError(
            f"--precision {name}: unknown precision on this processor ({device.type}); "
            f"use --precision {' or '.join(usable)}, or auto, which picks {gaining} here"
        )
    return name


def has_amx() -> bool:
    """True on a processor that multiplies tiles of matrices."""
    return _processor_has("amx_tile")


def _processor_has(feature: str) -> bool:
    """What torch says of this processor by a private function; False where there is none."""
    return getattr(torch.cpu, f"_is_{feature}_supported", lambda: False)()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which the model runs; losses and log-softmax stay in float32."""
    half = AUTOCAST_TYPES.get(precision)
    return torch.autocast(device.type, half or torch.bfloat16, enabled=half is not None)


def make_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """The gradient scaler: enabled for fp16, whose range gradients can leave, else disabled.

    A disabled scaler passes everything through and has an empty state. Micikevicius et al. 2018.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def use_processor() -> None:
    """Sets the threads of this process for long work. Call once, at the start of a command.

    As many threads as there are physical cores for this process, but no more than a container's
    quota pays for; OMP_NUM_THREADS wins.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(int(min(torch.get_num_threads(), quota_cores())))


@contextlib.contextmanager
def host_settings_restored() -> Iterator[None]:
    """Puts torch's random states and number of threads back at the end, as if nothing had run."""
    n_threads = torch.get_num_threads()
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    devices = range(torch.cuda.device_count()) if on_gpu else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        torch.set_num_threads(n_threads)


def keep_freed_memory() -> None:
    """Keeps freed memory in the process for the next training step, if the C library is glibc.

    Otherwise it is returned to the system, and zeroed again page by page, at every step.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
    except (OSError, AttributeError):
        pass  # another C library


class SavedActivations:
    """Counts the bytes that a forward pass saves for the backward pass, weights not included.

    A context manager around the forward pass; ``megabytes`` holds the result afterwards, of several
    passes the largest. A tensor saved twice counts once. It costs a call per saved tensor, so
    measure one step only.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self._bytes_of: dict[int, int] = {}  # by storage
        self._largest = 0

    def _start_pass(self, *forward: object) -> None:
        self._largest = max(self._largest, sum(self._bytes_of.values()))
        self._bytes_of.clear()

    def _count(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights:
            self._bytes_of[storage.data_ptr()] = storage.nbytes()
        return tensor

    def __enter__(self) -> "SavedActivations":
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._count, lambda tensor: tensor)
        self._hooks.__enter__()
        self._before_pass = self._model.register_forward_pre_hook(self._start_pass)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._before_pass.remove()
        self._hooks.__exit__(kind, error, traceback)
        self._start_pass()

    @property
    def megabytes(self) -> float:
        return self._largest / 1e6


def free_memory_bytes(device: torch.device) -> float:
    """What this process may still take: of the GPU's memory, or of the host's.

    What a control group allows counts too; cached files are free. NaN where nothing says it.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + unused)
    try:
        free = 1024.0 * _numbers_of(HOST_MEMORY)["MemAvailable:"]
    except (OSError, ValueError, KeyError):  # not Linux
        return float("nan")
    try:
        limit = int((GROUP_MEMORY / "memory.max").read_text())
        used = int((GROUP_MEMORY / "memory.current").read_text())
        cached = _numbers_of(GROUP_MEMORY / "memory.stat")["inactive_file"]
    except (OSError, ValueError, KeyError):  # no control group, or "max"
        return free
    return float(min(free, max(0, limit - used + cached)))


def _numbers_of(file: Path) -> dict[str, int]:
    """The first word and the number after it, of each line."""
    rows = (line.split() for line in file.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows}


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory of this process in MB: on the GPU, or without one, on the host."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes / 1e6
