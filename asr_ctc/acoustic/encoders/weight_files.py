"""Files of weights that others wrote, read without running code in them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

from asr_ctc.acoustic.encoders.safetensors_file import read_safetensors
from asr_ctc.acoustic.plain_content import load_archive
from asr_ctc.base.errors import UserError

SHOWN = 3  # names of tensors in a message


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file or of one that torch.save wrote.

    UserError when it is missing, damaged, holds pickled code or anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return read_safetensors(path)
        state = load_archive(path)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: holds pickled code, or is damaged; nothing in it was run"
        ) from None
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"no file of weights at {path}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception:  # the readers fail on damaged bytes in a dozen ways
        raise UserError(f"{path}: not a file of weights, or damaged") from None
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise UserError(f"{path}: not a state dict: it holds more than named tensors")
    return dict(state)


def load_into(
    model: nn.Module, state: Mapping[str, torch.Tensor], source: str, *, assign: bool = False
) -> None:
    """Loads weights into ``model``; UserError, which names the tensors, if they are of another.

    With ``assign`` they replace its parameters, which need no memory before.
    """
    refuse_infinite(source, state)
    needed = model.state_dict()
    shapes = [
        (name, tensor.shape, needed[name].shape)
        for name, tensor in state.items()
        if name in needed and needed[name].shape != tensor.shape
    ]
    refuse_shapes(source, shapes)
    mismatch = model.load_state_dict(state, strict=False, assign=assign)
    refuse_difference(source, mismatch.missing_keys, mismatch.unexpected_keys)


def refuse_shapes(source: str, shapes: Iterable[tuple[str, Iterable[int], Iterable[int]]]) -> None:
    """UserError if there are tensors, each (its name, its shape, the needed one)."""
    texts = [f"{name} is {tuple(shape)}, needed {tuple(needed)}" for name, shape, needed in shapes]
    if texts:
        raise UserError(f"{source}: weights of another architecture: {shorten(sorted(texts))}")


def refuse_difference(source: str, missing: Iterable[str], unknown: Iterable[str]) -> None:
    """UserError if there are tensors that are missing or unknown."""
    named = {"missing": sorted(missing), "unknown": sorted(unknown)}
    parts = [f"{what} {shorten(names)}" for what, names in named.items() if names]
    if parts:
        raise UserError(f"{source}: weights of another architecture: {'; '.join(parts)}")


def refuse_infinite(source: str, state: Mapping[str, torch.Tensor]) -> None:
    """UserError if there are numbers that are not finite."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UserError(f"{source}: {name} holds numbers that are not finite")


def shorten(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
