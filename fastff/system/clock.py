"""Time that has passed, on a clock that may stand still or go back: that of a test which freezes time, for example."""

import time


def now() -> float:
    """Seconds on a clock of this process that nobody sets."""
    return time.perf_counter()


def since(start: float) -> float:
    """Seconds since now() returned `start`; 0 where the clock has gone back."""
    return max(0.0, now() - start)


def per_second(count: float, seconds: float) -> float:
    """How many of `count` came in one of these seconds; 0 where no time has passed, so that nobody can tell."""
    return count / seconds if seconds > 0 else 0.0


STARTED = now()  # when fastff was imported, which is all but when a command was called
