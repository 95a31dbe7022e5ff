"""How many threads this process may use, and running the ranks of a native call on plain Python threads."""

import math
import os
import signal
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from fastff.errors import ArgumentError
from fastff.signals import HeldSignals


def usable_cpus() -> int:
    """The CPUs this process may use: its affinity, limited by its cgroup's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, int(min(count, _cgroup_quota() + 0.999)))


@lru_cache
def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float:
    try:
        quota, period = (root / "cpu.max").read_text().split()[:2]  # version 2
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text()  # version 1
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return math.inf
    try:
        limit = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return math.inf
    return limit if limit > 0 else math.inf


def check_threads(threads: int | None) -> int | None:
    """None, or a whole number of at least 1; ArgumentError otherwise."""
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1:
        raise ArgumentError(
            f"threads: {threads!r}, want a whole number of at least 1, or None for as many as are useful"
        )
    return int(threads)


def run_ranks(call: Callable[[int], None], size: int, stop: Callable[[bool], None]) -> None:
    """Run call(0) .. call(size - 1) at the same time and return when all have.

    The caller's thread only waits, so that Ctrl-C reaches it: then stop(False) asks the ranks to end at the next step,
    and KeyboardInterrupt is raised once they have; under HeldSignals, what its `check` raises. stop(True) tells the
    others that a rank has failed.
    """
    failures: list[BaseException] = []
    interrupts: list[BaseException] = []
    done = [threading.Event() for _ in range(size)]
    started, go = 0, threading.Event()

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
                threading.Thread(target=rank_main, args=(rank,), daemon=True).start()
                started += 1
        except BaseException as error:
            failures.append(error)
        go.set()
        for rank in range(started):
            while not done[rank].is_set():
                try:
                    done[rank].wait(0.1)
                    if held is not None and held.wants_stop():
                        stop(False)
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
