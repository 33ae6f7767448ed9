"""Where and how to compute: the device, the arithmetic, and autocast."""

import torch

from asr_ctc.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device for auto, cpu or cuda; UserError when cuda is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device is available here; use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> str:
    """fp32 or bf16; auto takes bf16 where the processor multiplies bf16 matrices itself.

    That is GPUs from Ampere on, and CPUs with AMX or AVX512-BF16. It is asked, not measured: two
    runs with the same seed must choose alike, however busy the machine is.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    has_bf16 = any(getattr(torch.cpu, name, bool)() for name in asked)
    return "bf16" if has_bf16 else "fp32"


def autocast(device: torch.device, precision: str):
    """The context in which the model runs; losses and log-softmax stay in float32 outside it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
