"""What a file of tensors may hold: plain values, and tensors that have the memory they claim.

torch reads a file without running code in it, but a small file can still claim any size: compressed
members, tensors that repeat one number by a stride of zero, values that refer to each other. Files
that ``torch.save`` makes of a model have none of these.
"""

import os
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from os import PathLike
from typing import Any

import torch

DTYPES = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.uint8, torch.int32, torch.int64,
}  # fmt: skip
MOST_VALUES = 3_000_000
MOST_DEPTH = 20
LARGEST_INT = 2**63


def check_archive(path: str | PathLike[str]) -> None:
    """zipfile.BadZipFile for a damaged zip file, and for one larger inside than outside.

    torch itself neither compares the checksums nor refuses compressed members, which it never
    writes.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        n_bytes = sum(member.file_size for member in members)
        is_stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not is_stored or n_bytes > os.path.getsize(path):
            raise zipfile.BadZipFile("compressed, or members that overlap")
        if archive.testzip() is not None:
            raise zipfile.BadZipFile("a checksum is wrong")


def load_archive(path: str | PathLike[str]) -> Any:
    """What ``torch.save`` wrote, on the processor; no code in it is run.

    Exceptions of check_archive and of torch's readers, which fail on damaged bytes in a dozen ways.
    """
    check_archive(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are about pickles that are refused anyway
        return torch.load(path, map_location="cpu", weights_only=True)


def check_content(content: object) -> None:
    """ValueError for a value that no model file holds, wherever it stands in ``content``.

    Dictionaries, lists and tuples of at most 20 levels; texts, numbers, None; dense tensors in the
    processor's memory, of finite numbers, none sharing memory with another.
    """
    spans: dict[int, list[tuple[int, int]]] = {}
    level: list[Any] = [content]
    depth = n_values = 0
    while level:
        depth += 1
        below = [item for value in level for item in _items_of(value, spans)]
        n_values += len(below)
        if depth > MOST_DEPTH or n_values > MOST_VALUES:
            raise ValueError("it is nested too deeply, or holds too many values")
        level = below
    for of_storage in spans.values():
        of_storage.sort()
        pairs = zip(of_storage, of_storage[1:], strict=False)
        if any(end > start for (_, end), (start, _) in pairs):
            raise ValueError("its tensors share memory")


def _items_of(value: Any, spans: dict[int, list[tuple[int, int]]]) -> Iterable[Any]:
    """What a dictionary, list or tuple holds; ValueError for a wrong value of another kind.

    ``spans`` gets the memory of tensors, by their storages.
    """
    kind = type(value)
    if kind in (dict, OrderedDict):
        if not all(type(key) in (str, int) for key in value):
            raise ValueError("it holds names that are no texts")
        return value.values()
    if kind in (list, tuple):
        return value
    if isinstance(value, torch.Tensor):
        _check_tensor(value, spans)
    elif kind is int:
        if not -LARGEST_INT <= value < LARGEST_INT:
            raise ValueError("it holds a number of absurd size")
    elif kind not in (str, float, bool, type(None)):
        raise ValueError(f"it holds a {kind.__name__}")
    return ()


def _check_tensor(tensor: torch.Tensor, spans: dict[int, list[tuple[int, int]]]) -> None:
    is_dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or not is_dense:
        raise ValueError("it holds a tensor that is not dense")
    if tensor.dtype not in DTYPES or tensor.is_conj() or tensor.is_neg():
        raise ValueError(f"it holds a tensor of {str(tensor.dtype).removeprefix('torch.')}")
    if not tensor.is_contiguous():
        raise ValueError("it holds a tensor that repeats or reorders its memory")
    if tensor.numel() == 0:
        return
    start = tensor.data_ptr()
    span = start, start + tensor.numel() * tensor.element_size()
    spans.setdefault(tensor.untyped_storage().data_ptr(), []).append(span)
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise ValueError("it holds numbers that are not finite")
