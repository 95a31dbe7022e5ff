"""What else goes on while a program runs: signals that wait for a good moment, and trainings in other threads."""

from collections.abc import Callable
from dataclasses import dataclass

from fastff.engine.side_by_side import SideBySide
from fastff.system.signals import HeldSignals


@dataclass(frozen=True)
class RunContext:
    """Passed to all runs of a training.

    signals: what asks a run to end at its next step; None leaves Ctrl-C to Python. beside: the trainings of this
    process of which this is one, each with one thread; None where it has the processor for itself. compiling: called
    with True before kernels are compiled or loaded, and with False after it.
    """

    signals: HeldSignals | None = None
    beside: SideBySide | None = None
    compiling: Callable[[bool], None] | None = None


ALONE = RunContext()
