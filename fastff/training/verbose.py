"""What a fit shows of itself: Trainer(verbose=True)."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from fastff.engine.context import RunContext
from fastff.training.history import EpochRecord

Shown = tuple[Callable[[EpochRecord], Any], Callable[[bool], Any]]


def shown(verbose: bool, context: RunContext, epochs: int, done: int, stack: ExitStack) -> Shown:
    """What is called with each epoch's record, and before and after compiling.

    epochs: how many there will be in all. done: how many are. stack: closes what draws.
    """
    if not verbose:
        return _nothing, context.compiling or _nothing
    from fastff.training.progress import TrainingProgress  # rich takes some time to import

    line = TrainingProgress(epochs, done, stream=sys.stdout)
    if not line.drawn:
        return partial(print, flush=True), _nothing
    stack.enter_context(line)
    return line.show, line.compiling


def _nothing(_: object) -> None:
    """Shows nothing."""
