"""Signals that ask for an end amid work that must not be left half done: they wait for a moment that can be saved.

Python's own answer to Ctrl-C is an exception between any two bytecodes, which could leave a trainer with an epoch
counted and not recorded. Imports the standard library only.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn

# Ctrl-C, what schedulers send first, the end of a terminal, which Windows has no signal for, and its Ctrl-Break
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


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
    """A context in which the first signal of STOPPING waits for `check`, which raises Stopped; a second raises at once.

    save_due: when it returns True, `check` raises SaveDue. Native runs that are given this object ask `wants_stop`
    while they wait, and end at the next step. Signals that the process ignores (nohup) stay ignored, and in any other
    thread than the main one all signals stay as they are, because Python lets no other thread handle them.
    """

    def __init__(self, save_due: Callable[[], bool]) -> None:
        self._save_due = save_due
        self._number: int | None = None  # of the first signal that has come
        self._stops: list[Callable[[bool], None]] = []
        self._before: dict[int, Any] = {}  # the handlers to put back

    def __enter__(self) -> "HeldSignals":
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):  # None: not set by Python, which could not put it back
                    self._before[number] = before
                    signal.signal(number, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

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
        """Have a signal call stop(False) until `unwatch` is called, and at once if one has come already."""
        self._stops.append(stop)
        if self._number is not None:
            stop(False)

    def unwatch(self) -> None:
        """Call none of the functions given to `watch` any more."""
        self._stops.clear()

    def wants_stop(self) -> bool:
        """Whether `check` would raise."""
        return self._number is not None or self._save_due()


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP are raised as Ctrl-C is, so that what is finished is kept."""

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(number)

    others = [number for number in STOPPING if number != signal.SIGINT]
    before = {number: signal.getsignal(number) for number in others}
    heeded = [number for number in others if before[number] not in (signal.SIG_IGN, None)]  # nohup ignores one
    for number in heeded:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])
