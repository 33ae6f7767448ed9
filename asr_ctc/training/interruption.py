"""Ctrl-C and SIGTERM, which never fall into the middle of what must be done whole."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Within ``with Interruption() as interruption:`` both signals raise KeyboardInterrupt once.

    They do so at once, or, inside ``with interruption.postponed():``, at its end. Further signals
    are ignored: what the first one started, such as saving, is finished. With ``is_agreed`` neither
    raises by itself: processes that wait for each other must end together, so each tells the others
    which signals ``requested_by_signal`` has, and all of them ``agree``. ``signal`` is the one that
    came, None before.
    """

    def __init__(self, is_agreed: bool = False):
        self.is_agreed = is_agreed
        self.signal: int | None = None
        self._is_postponed = False

    def __enter__(self) -> "Interruption":
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: object) -> None:
        if self.signal is None:
            self.signal = number
            if not (self._is_postponed or self.is_agreed):
                raise KeyboardInterrupt

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """A signal inside raises at the end only."""
        was_requested = self.requested
        self._is_postponed = True
        try:
            yield
        finally:
            self._is_postponed = False
        if self.requested and not (was_requested or self.is_agreed):
            raise KeyboardInterrupt

    @property
    def requested(self) -> bool:
        """Has a signal come?"""
        return self.signal is not None

    @property
    def requested_by_signal(self) -> list[bool]:
        """Of each of SIGNALS: has it come?"""
        return [self.signal == number for number in SIGNALS]

    def agree(self, requests: Sequence[float]) -> None:
        """KeyboardInterrupt when a signal has come to any process.

        ``requests`` is ``requested_by_signal`` summed over all processes.
        """
        for number, n_requests in zip(SIGNALS, requests, strict=True):
            if n_requests:
                self.signal = number
                raise KeyboardInterrupt

    @property
    def name(self) -> str:
        return "SIGTERM" if self.signal == signal.SIGTERM else "Ctrl-C"
