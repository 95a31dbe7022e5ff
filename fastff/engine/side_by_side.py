"""Many trainings at once, each in a thread of this process: they share the data, and none waits for another.

Native calls run without Python's lock. Between them a training takes its turn at Python, one training at a time and for
as long as it needs: left to itself, Python would pass its lock to and fro hundreds of times in each training, and wake
up a thread each time. Imports the standard library and fastff.system only.
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
    """Runs a function for many items, several at a time; native calls of that function go through `native`."""

    def __init__(self) -> None:
        self._turn = Lock()  # held by the one thread that is at work in Python
        self._stopped: int | None = None  # the signal that ended the work
        self._under_way: dict[int, Callable[[bool], None]] = {}  # how to stop each thread's native call
        self._failures: list[BaseException] = []

    def run(
        self, function: Callable[[Item], Any], items: Sequence[Item], jobs: int, signals: HeldSignals | None = None
    ) -> None:
        """Call function(item) for all items, `jobs` at a time, begun in their order.

        What a call raises ends all of them and is raised here. Ctrl-C ends them at their next step, where `native`
        raises Stopped in each; with `signals`, SIGTERM does so too, and Stopped is raised here.
        """
        left = iter(list(items))
        threads = [Thread(self._work, (function, left)) for _ in range(min(jobs, len(items)))]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while not thread.join(POLL):
                    if signals is not None:
                        signals.check()
        except BaseException as error:
            self._stop(getattr(error, "number", signal.SIGINT))
            raise
        finally:
            for thread in threads:
                if thread.started:
                    thread.join()
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
        try:
            with self._turn:
                for item in left:  # the thread that has its turn takes the next item
                    if self._stopped is not None:
                        return
                    function(item)
        except BaseException as error:
            if self._stopped is None:
                self._failures.append(error)
                self._stop(signal.SIGINT)
