"""The threads of a native call: how many there may be, and running them together."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastff.errors import ArgumentError, StalledError
from fastff.system.signals import HeldSignals
from fastff.system.threads import Event, Thread

POLL = 0.1  # seconds between looks at the threads
LOOKS = 600  # looks without any progress, a minute, before a thread that is not at work is given up


def check_threads(threads: int | None) -> int | None:
    """None, or a whole number of at least 1; ArgumentError otherwise."""
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1:
        raise ArgumentError(
            f"threads: {threads!r}, want a whole number of at least 1, or None for as many as are useful"
        )
    return int(threads)


def run_threads(
    call: Callable[[int], None],
    size: int,
    stop: Callable[[bool], None],
    arrivals: np.ndarray | None = None,
    signals: HeldSignals | None = None,
) -> None:
    """Run call(0) .. call(size - 1) at the same time, each in a thread, and return when all have ended.

    The caller's thread only waits, so that Ctrl-C reaches it: then stop(False) asks the threads to end at the next
    step, and KeyboardInterrupt is raised once they have; with `signals`, what its `check` raises. stop(True) tells the
    others that a thread has failed.

    arrivals: (size,), how often each thread has come to a barrier, if they have any. Raises StalledError, which names
    the thread, where the others wait at a barrier for one that will not come.
    """
    failures: list[BaseException] = []
    interrupts: list[BaseException] = []
    done = [Event() for _ in range(size)]
    threads: list[Thread] = []
    started, go = 0, Event()

    def work(number: int) -> None:
        go.wait()
        try:
            if started == size:  # else one could not be started, and the others would wait for it at a barrier
                call(number)
        except BaseException as error:
            failures.append(error)
            stop(True)
        finally:
            done[number].set()

    def interrupted(*_: object) -> None:
        interrupts.append(KeyboardInterrupt())
        stop(False)

    # Python's own handler raises an exception between any two bytecodes of this thread, where none could be caught for
    # certain; one that only sets a flag is never missed.
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, interrupted)
    try:
        if signals is not None:
            signals.watch(stop)
        try:
            for number in range(size):
                threads.append(Thread(work, (number,)))
                threads[-1].start()
                started += 1
        except BaseException as error:
            failures.append(error)
        go.set()
        watch = _Watch(threads[:started], done, np.zeros(size) if arrivals is None else arrivals)
        for number in range(started):
            while not done[number].is_set() and number not in watch.lost:
                try:
                    late = not done[number].wait(POLL)
                    if signals is not None and signals.wants_stop():
                        stop(False)
                    if late and watch.stalled():
                        failures.append(watch.error())
                        stop(True)
                except BaseException as error:  # from somebody's own signal handler
                    interrupts.append(error)
                    stop(False)
    finally:
        if signals is not None:
            signals.unwatch()
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if signals is not None and not (failures or interrupts):
        signals.check()
    if failures or interrupts:
        raise (failures + interrupts)[0]


class _Watch:
    """Notices that the threads at a barrier wait in vain, because one that is missing there sleeps or has ended.

    A thread that takes no part (fastff.kernels.team) has a number below 0, and nobody misses it: thread 0 calls it.

    A thread that computes, or waits for a core or for the disk, is only slow; and while the machine is suspended nobody
    looks, so that this does not count either.
    """

    def __init__(self, threads: list[Thread], done: list[Event], arrivals: np.ndarray) -> None:
        self.lost: set[int] = set()
        self._threads, self._done, self._arrivals = threads, done, arrivals
        self._idle, self._before = 0, b""

    def stalled(self) -> bool:
        """Whether nothing has moved at LOOKS looks on end, and a thread that is missing slept or had ended at each."""
        now = self._arrivals.tobytes() + bytes(event.is_set() for event in self._done)
        missing = {
            number
            for number, thread in enumerate(self._threads)
            if 0 <= self._arrivals[number] < self._arrivals.max() and (self._done[number].is_set() or _idle(thread))
        }
        if self._done[0].is_set() and (self._arrivals < 0).any():  # the others wait for it to say that there is no more
            missing.add(0)
        self._idle = self._idle + 1 if missing and now == self._before else 0
        self._before = now
        if self._idle < LOOKS or self.lost:
            return False
        self.lost = missing
        return True

    def error(self) -> StalledError:
        """What to raise, once `stalled` has been True."""
        numbers = ", ".join(map(str, sorted(self.lost)))
        return StalledError(
            f"thread {numbers} of {len(self._threads)} has not come to where the other threads have waited for "
            f"{LOOKS * POLL:.0f} s; the step under way is lost, its weights are not whole: go on from a checkpoint"
        )


def _idle(thread: Thread) -> bool:
    """Whether a thread has ended, or sleeps as one does that waits for a lock. False where the system does not say."""
    if not thread.is_alive():
        return True
    try:
        status = Path(f"/proc/self/task/{thread.native_id}/stat").read_text("utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "S"
