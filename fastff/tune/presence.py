"""Heartbeats of running trials: how processes that share a search notice that another one has died.

Every few seconds a process writes a growing number into each trial that it trains. Another process that sees no new
number for GRACE seconds on its own clock takes the trial for lost; clocks of several machines are never compared. A
process that was only slow finds its trial taken and drops it. (Optuna's own heartbeats need a database.)
"""

import contextlib
import time
from collections.abc import Hashable
from typing import Any

import optuna
import sqlalchemy

from fastff.system.threads import Event, Thread

# Seconds without a heartbeat. If a process is killed while it holds a journal file's lock, no other can write for 30 s.
GRACE = 60.0


class Heart:
    """Writes the heartbeats of this process's trials from a thread of its own, from `start` to `stop`."""

    def __init__(self, grace: float) -> None:
        self._every = grace / 6
        self._trials: dict[int, optuna.Trial] = {}
        self._stopped = Event()
        self._thread = Thread(self._beat)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def add(self, trial: optuna.Trial) -> None:
        self._trials[trial.number] = trial

    def remove(self, number: int) -> None:
        self._trials.pop(number, None)

    def _beat(self) -> None:
        count = 0
        while not self._stopped.wait(self._every):
            count += 1
            for trial in list(self._trials.values()):
                # The trial may have ended by now. Errors of the storage reach the user by way of the search.
                with contextlib.suppress(optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError, OSError):
                    trial.set_user_attr("beat", count)


class Watch:
    """Remembers the last heartbeat of each trial and when it was first seen."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._seen: dict[Hashable, tuple[Any, float]] = {}

    def silent(self, key: Hashable, sign: Any) -> bool:
        """Note this trial's heartbeat `sign`; True if it has been the same for longer than `grace` seconds."""
        now = time.monotonic()
        if key not in self._seen or self._seen[key][0] != sign:
            self._seen[key] = (sign, now)
        return now - self._seen[key][1] > self._grace
