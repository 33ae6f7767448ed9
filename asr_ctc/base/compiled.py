"""Functions compiled by numba, and kept on disk so that only the first use of all compiles them."""

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

log = logging.getLogger("asr_ctc")

Function = TypeVar("Function", bound=Callable)

CACHE_ERRORS = (RuntimeError, OSError, EOFError, pickle.UnpicklingError)


# Numba's own name for it, thus asked for; without it the functions are only slower.
_NO_REFCOUNTS: dict[str, Any] = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}


def without_refcounts(function: Function) -> Function:
    """Decorator: compiles a part of a compiled function that only borrows its arrays.

    Numba counts the references to each array in a function's arguments, by atomic instructions:
    for a tuple of twenty arrays that takes longer than a short function itself. The function may
    neither make an array nor return one (numba refuses the former).
    """
    return numba.njit(**_NO_REFCOUNTS)(function)


class _Announcer(event.Listener):
    """Says that a compilation begins: it takes seconds, and loading what was kept does not."""

    def __init__(self, message: str):
        self.message = message

    def on_start(self, event: event.Event) -> None:
        if self.message:
            log.info(self.message)
        self.message = ""  # what the function calls is compiled within

    def on_end(self, event: event.Event) -> None:
        pass


def compiled(
    signature: Any, what: str, uses: Sequence[ModuleType] = ()
) -> Callable[[Function], Function]:
    """Decorator: compiles a function for one signature; it runs without the interpreter's lock.

    Numba keeps the machine code beside the module, or where that cannot be written in
    $XDG_CACHE_HOME/numba; $NUMBA_CACHE_DIR overrules both. It is renewed when the file of the
    function or of one of the modules that it ``uses`` has changed, and for another processor: the
    machine code holds their functions, the values of their constants, the order of the fields of
    their tuples. With nowhere to write it is compiled in each process anew. ``what`` it is stands
    in the line that says why the user waits.
    """

    def decorate(function: Function) -> Function:
        # Numba looks at the function's own file only; what it keeps goes by the qualified name.
        sources = b"".join(Path(inspect.getfile(module)).read_bytes() for module in uses)
        function.__qualname__ += f"-{hashlib.sha256(sources).hexdigest()[:16]}"

        def compile_it(note: str, **options: Any) -> Any:
            with event.install_listener("numba:compile", _Announcer(f"compiling {what}, {note}")):
                return numba.njit([signature], nogil=True, **options)(function)

        try:
            return compile_it("once; later runs find it ready", cache=True)
        except CACHE_ERRORS as error:
            return compile_it(
                f"which takes some seconds in every run, since it cannot be kept ({error}): "
                "set NUMBA_CACHE_DIR to a folder that can be written"
            )

    return decorate
