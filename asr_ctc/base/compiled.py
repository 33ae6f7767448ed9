"""Functions compiled by numba and cached on disk, so that only their first use compiles them."""

import hashlib
import inspect
import logging
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numba
from numba.core import event
from numba.core.options import DefaultOptions

log = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable)

CACHE_ERRORS = (RuntimeError, OSError, EOFError, pickle.UnpicklingError)


# A private option of numba's, used if it exists; without it the functions are only slower.
_NO_REFCOUNTS: dict[str, Any] = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}


# Loops become SIMD instructions, with fused multiplications and sums in an order of their own, and
# a division by 0 is no error.
VECTORISED: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "reassoc"}}


def without_refcounts(function: Function, **options: Any) -> Function:
    """Decorator: compiles a helper of a compiled function, without counting array references.

    Numba counts the references to each array in a function's arguments with atomic instructions.
    For a tuple of twenty arrays, the counting takes longer than a short function itself. The
    function must neither create an array (numba refuses that) nor return one. ``options`` are
    numba's.
    """
    return numba.njit(**_NO_REFCOUNTS, **options)(function)


class _Announcer(event.Listener):
    """Logs the start of a compilation, which takes seconds; loading from the cache does not."""

    def __init__(self, message: str):
        self.message = message

    def on_start(self, event: event.Event) -> None:
        if self.message:
            log.info(self.message)
        self.message = ""  # its callees are compiled within this compilation

    def on_end(self, event: event.Event) -> None:
        pass


def compiled(
    signatures: Any, what: str, uses: Sequence[ModuleType] = (), vectorised: bool = False
) -> Callable[[Function], Function]:
    """Decorator: compiles a function for a numba signature, or a list of them; it frees the GIL.

    Numba caches the machine code beside the module or, if that folder is read-only, in
    $XDG_CACHE_HOME/numba; $NUMBA_CACHE_DIR overrides both. The function is recompiled for another
    processor, and when its file, this one or a module in ``uses`` has changed: the machine code
    contains those modules' functions, constants and tuple layouts. Without a writable folder every
    process compiles it. ``what`` names the function in the log line that explains the wait.
    ``vectorised``: with the options ``VECTORISED``.
    """

    signatures = signatures if isinstance(signatures, list) else [signatures]
    simd: dict[str, Any] = VECTORISED if vectorised else {}

    def decorate(function: Function) -> Function:
        # Numba checks the function's own file only; its cache is keyed by the qualified name.
        files = [__file__, *map(inspect.getfile, uses)]
        sources = b"".join(Path(file).read_bytes() for file in files)
        function.__qualname__ += f"-{hashlib.sha256(sources).hexdigest()[:16]}"

        def compile_it(note: str, **options: Any) -> Any:
            with event.install_listener("numba:compile", _Announcer(f"compiling {what}, {note}")):
                return numba.njit(signatures, nogil=True, **simd, **options)(function)

        try:
            return compile_it("once; later runs load it from the cache", cache=True)
        except CACHE_ERRORS as error:
            return compile_it(
                f"which takes some seconds in every run, because it cannot be cached ({error}): "
                "set NUMBA_CACHE_DIR to a writable folder"
            )

    return decorate
