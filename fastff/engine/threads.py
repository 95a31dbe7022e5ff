"""How many threads this process may use, and running the ranks of a native call on threads."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastff.errors import ArgumentError, StalledError
from fastff.system.signals import HeldSignals
from fastff.system.threads import Event, Thread

POLL = 0.1  # seconds between looks at waiting ranks
LOOKS = 600  # looks without any progress, before a rank that sleeps elsewhere is given up: a minute


def check_threads(threads: int | None) -> int | None:
    """None, or a whole number of at least 1; ArgumentError otherwise."""
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1:
        raise ArgumentError(
            f"threads: {threads!r}, want a whole number of at least 1, or None for as many as are useful"
        )
    return int(threads)


def run_ranks(
    call: Callable[[int], None], size: int, stop: Callable[[bool], None], arrivals: np.ndarray | None = None
) -> None:
    """Run call(0) .. call(size - 1) at the same time and return when all have.

    The caller's thread only waits, so that Ctrl-C reaches it: then stop(False) asks the ranks to end at the next step,
    and KeyboardInterrupt is raised once they have; under HeldSignals, what its `check` raises. stop(True) tells the
    others that a rank has failed.

    arrivals: (size,) how often each rank has come to a barrier, if they have any. Raises StalledError, which names the
    rank, where the others wait at one for a rank that will not come.
    """
    failures: list[BaseException] = []
    interrupts: list[BaseException] = []
    done = [Event() for _ in range(size)]
    ranks: list[Thread] = []
    started, go = 0, Event()

    def rank_main(rank: int) -> None:
        go.wait()
        try:
            if started == size:  # else one could not be started, and the others would wait for it at a barrier
                call(rank)
        except BaseException as error:
            failures.append(error)
            stop(True)
        finally:
            done[rank].set()

    def interrupted(*_: object) -> None:
        interrupts.append(KeyboardInterrupt())
        stop(False)

    # An exception may be raised between any two bytecodes of a waiting thread; a flag can't be missed.
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    held = HeldSignals.in_force()
    if ours:
        signal.signal(signal.SIGINT, interrupted)
    try:
        if held is not None:
            held.watch(stop)
        try:
            for rank in range(size):
                ranks.append(Thread(rank_main, (rank,)))
                ranks[-1].start()
                started += 1
        except BaseException as error:
            failures.append(error)
        go.set()
        watch = _Watch(ranks[:started], done, np.zeros(size) if arrivals is None else arrivals)
        for rank in range(started):
            while not done[rank].is_set() and rank not in watch.lost:
                try:
                    late = not done[rank].wait(POLL)
                    if held is not None and held.wants_stop():
                        stop(False)
                    if late and watch.stalled():
                        failures.append(watch.error())
                        stop(True)
                except BaseException as error:  # from somebody's own signal handler
                    interrupts.append(error)
                    stop(False)
    finally:
        if held is not None:
            held.unwatch()
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if held is not None and not (failures or interrupts):
        held.check()
    if failures or interrupts:
        raise (failures + interrupts)[0]


class _Watch:
    """Notices a rank for which the others wait at a barrier in vain, and no other: a rank that computes, waits for a
    core or for the disk is slow, and a suspended machine does not look.
    """

    def __init__(self, ranks: list[Thread], done: list[Event], arrivals: np.ndarray) -> None:
        self.lost: set[int] = set()
        self._ranks, self._done, self._arrivals = ranks, done, arrivals
        self._idle, self._before = 0, b""

    def stalled(self) -> bool:
        """Whether, at LOOKS looks on end, nothing has moved and a rank that is missing has slept or has gone."""
        now = self._arrivals.tobytes() + bytes(event.is_set() for event in self._done)
        missing = {
            rank
            for rank, thread in enumerate(self._ranks)
            if self._arrivals[rank] < self._arrivals.max() and (self._done[rank].is_set() or _idle(thread))
        }
        self._idle = self._idle + 1 if missing and now == self._before else 0
        self._before = now
        if self._idle < LOOKS or self.lost:
            return False
        self.lost = missing
        return True

    def error(self) -> StalledError:
        ranks = ", ".join(map(str, sorted(self.lost)))
        return StalledError(
            f"rank {ranks} of {len(self._ranks)} has not come to where the other threads have waited for "
            f"{LOOKS * POLL:.0f} s; the step under way is lost, its weights are not whole: go on from a checkpoint"
        )


def _idle(thread: Thread) -> bool:
    """Whether a thread sleeps, as one does that waits for another's lock, or has ended. False where nobody can tell."""
    if not thread.is_alive():
        return True
    try:
        status = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "S"
