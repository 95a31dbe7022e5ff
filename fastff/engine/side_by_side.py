"""Many trainings at once, one a thread of this process: they share the data, and wait for nobody.

Between native calls, which run without Python's lock, a training takes a turn at Python. The turns are whole: left to
itself, Python hands its lock to and fro hundreds of times a training, and each time costs a wake-up. Imports the
standard library and fastff.system only.
"""

import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fastff.system.signals import HeldSignals, Stopped
from fastff.system.threads import Lock, Thread

POLL = 0.1  # seconds between looks at signals
Item = TypeVar("Item")


class SideBySide:
    """Runs a function for many items, `jobs` at a time."""

    _here = threading.local()

    @classmethod
    def in_force(cls) -> "SideBySide | None":
        """The work that this thread is part of."""
        return getattr(cls._here, "work", None)

    def __init__(self) -> None:
        self._turn = Lock()
        self._stopped: int | None = None  # by which signal
        self._under_way: dict[int, Callable[[bool], None]] = {}  # how to stop each thread's native call
        self._failures: list[BaseException] = []

    def run(self, function: Callable[[Item], Any], items: Sequence[Item], jobs: int) -> None:
        """Call function(item) for all items, begun in their order. What it raises ends all and is raised here.

        So does Ctrl-C, at the next step of every training, which raises Stopped there; under HeldSignals SIGTERM does,
        too, and Stopped is raised here.
        """
        left = iter(list(items))
        threads = [
            Thread(self._work, (function, left)) for _ in range(min(jobs, len(items)))
        ]
        held = HeldSignals.in_force()
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while not thread.join(POLL):
                    if held is not None:
                        held.check()
        except BaseException as error:
            self._stop(getattr(error, "number", signal.SIGINT))
            for thread in threads:
                if thread.started:
                    thread.join()
            raise
        if self._failures:
            raise self._failures[0]

    def native(self, call: Callable[[int], None], stop: Callable[[bool], None]) -> None:
        """Run call(0), a native call, while others have their turn; stop(False) asks it to end at its next step."""
        self._check()
        own = threading.get_ident()
        self._under_way[own] = stop
        self._turn.release()
        try:
            call(0)
        finally:
            self._turn.acquire()
            del self._under_way[own]
        self._check()

    def _check(self) -> None:
        if self._stopped is not None:
            raise Stopped(self._stopped)

    def _stop(self, number: int) -> None:
        self._stopped = number
        for stop in list(self._under_way.values()):
            stop(False)

    def _work(self, function: Callable[[Item], Any], left: Any) -> None:
        SideBySide._here.work = self
        try:
            with self._turn:
                for item in left:  # whoever has the turn takes the next
                    if self._stopped is not None:
                        return
                    function(item)
        except BaseException as error:
            if self._stopped is None:
                self._failures.append(error)
                self._stop(signal.SIGINT)
