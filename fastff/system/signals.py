"""SIGINT, SIGTERM and SIGHUP during work that must not be left half done: they wait for the next moment that can be saved.

An exception that Python raises between any two bytecodes could leave a trainer with an epoch counted and not recorded.
Imports the standard library only.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, ClassVar

# Ctrl-C, what schedulers send first, and a terminal that goes (Windows has no such signal)
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """A signal asked for an end; nothing is half done."""

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(text)
        self.number = number


class StoppedAtOnce(Stopped):
    """A second signal: whatever was under way is given up."""


class SaveDue(Exception):
    """Nobody asked for an end, but it is time to save what there is and go on."""


class HeldSignals:
    """A context in which the first of STOPPING waits for `check`, which raises Stopped; a second raises at once.

    save_due: when it is true, `check` raises SaveDue instead. Native runs ask `wants_stop` while they
    wait, and end at the next step. In another thread than the main one signals stay as they are, and so does
    a signal that the process ignores (nohup).
    """

    _current: ClassVar["HeldSignals | None"] = None

    @staticmethod
    def in_force() -> "HeldSignals | None":
        """The context that this thread is in, if it is the main thread."""
        return HeldSignals._current if threading.current_thread() is threading.main_thread() else None

    def __init__(self, save_due: Callable[[], bool]) -> None:
        self._save_due = save_due
        self._number: int | None = None
        self._stops: list[Callable[[bool], None]] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "HeldSignals":
        if threading.current_thread() is threading.main_thread():
            HeldSignals._current = self
            for number in STOPPING:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):  # None: not Python's, so not ours to put back
                    self._before[number] = before
                    signal.signal(number, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if HeldSignals._current is self:
            HeldSignals._current = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None:
            raise StoppedAtOnce(number)
        self._number = number
        for stop in self._stops:
            stop(False)

    def check(self) -> None:
        """Raise Stopped if a signal has come, or SaveDue; nothing may be half done here."""
        if self._number is not None:
            raise Stopped(self._number)
        if self._save_due():
            raise SaveDue

    def watch(self, stop: Callable[[bool], None]) -> None:
        """Have a signal call stop(False), until `unwatch`; at once where one has come already."""
        self._stops.append(stop)
        if self._number is not None:
            stop(False)

    def unwatch(self) -> None:
        self._stops.clear()

    def wants_stop(self) -> bool:
        return self._number is not None or self._save_due()
