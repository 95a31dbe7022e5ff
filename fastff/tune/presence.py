"""Which running trials are still being trained, told through any storage and by no clock but one's own.

A process writes a growing number into each of its trials every few seconds. Another takes a trial for lost when it has
seen no change for a while on its own clock; the machines' clocks may differ as they like. One that was only slow, or
cut off, finds its trial taken, and gives up what it has. (Optuna's own heartbeats need a database, and study.optimize.)
"""

import contextlib
import threading
import time
from collections.abc import Hashable
from typing import Any

import optuna
import sqlalchemy

# Seconds without a sign. The owner of a journal file's lock that is killed keeps all others from writing for 30.
GRACE = 60.0


class Heart:
    """Beats for trials from another thread, from `start` to `stop`."""

    def __init__(self, grace: float) -> None:
        self._every = grace / 6
        self._trials: dict[int, optuna.Trial] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="tune heartbeat", daemon=True)

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
                # The trial may have ended meanwhile. Whatever is wrong with the storage, the search meets it too.
                with contextlib.suppress(optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError, OSError):
                    trial.set_user_attr("beat", count)


class Watch:
    """Remembers since when each thing looks as it does."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._seen: dict[Hashable, tuple[Any, float]] = {}

    def silent(self, key: Hashable, sign: Any) -> bool:
        """Whether the sign of this key has been the same for longer than the grace, as far as it was looked at."""
        now = time.monotonic()
        if key not in self._seen or self._seen[key][0] != sign:
            self._seen[key] = (sign, now)
        return now - self._seen[key][1] > self._grace
