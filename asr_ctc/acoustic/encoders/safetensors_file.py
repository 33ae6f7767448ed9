"""Reads safetensors files: https://github.com/huggingface/safetensors#format.

Eight bytes: the length of the header, little-endian. The header: JSON, for each tensor its type,
shape and place. Then the bytes of the tensors. Nothing in it can be executed.
"""

import json
import math
import os
from pathlib import Path

import torch

from asr_ctc.base.errors import UserError

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
MOST_HEADER_BYTES = 100_000_000


def read_safetensors(path: Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with one of ``prefixes``, which is removed from the name.

    UserError for a file that is missing, truncated or of another format, and for tensors that share
    bytes: a small file could fill any memory.
    """
    try:
        with open(path, "rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size
            n_header = int.from_bytes(file.read(8), "little")
            if n_bytes < 8 or n_header > min(n_bytes - 8, MOST_HEADER_BYTES):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(n_header))
            tensors, n_left = {}, n_bytes - 8 - n_header
            for name, about in header.items():
                prefix = next((p for p in prefixes if name.startswith(p)), None)
                if name == "__metadata__" or prefix is None:
                    continue
                begin, end = about["data_offsets"]
                dtype, shape = DTYPES[about["dtype"]], about["shape"]
                if not all(type(size) is int and size >= 0 for size in (*shape, begin, end)):
                    raise ValueError(f"{name} has impossible sizes")
                if end - begin != math.prod(shape) * dtype.itemsize or 8 + n_header + end > n_bytes:
                    raise ValueError(f"{name} is truncated")
                n_left -= end - begin
                if n_left < 0:
                    raise ValueError(f"{name} shares bytes with others")
                file.seek(8 + n_header + begin)
                data = bytearray(file.read(end - begin))
                tensor = torch.frombuffer(data, dtype=dtype) if data else torch.zeros(0).to(dtype)
                tensors[name.removeprefix(prefix)] = tensor.view(shape)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (
        *(ValueError, KeyError, TypeError, AttributeError),
        *(RuntimeError, OverflowError),  # a shape that no tensor has; too deep
    ) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a safetensors file, or damaged: {reason:.200}") from None
    return tensors
