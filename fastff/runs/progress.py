"""What a person sees while a network trains: a progress bar in a terminal, and nothing if output goes to a file."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fastff.engine.table import kernels_cached
from fastff.system.streams import Lossy, say
from fastff.training.history import EpochRecord


def announce_compiling(precision: str = "float32") -> None:
    """Say that kernels are going to be compiled, where those that every network takes are not in the cache."""
    if not kernels_cached() or (precision == "bfloat16" and not kernels_cached("linear16")):
        say("compiling the kernels for this CPU, once: this takes some seconds ...")


class TrainingProgress:
    """A bar of epochs with the last one's figures and rows per second, on standard error if that is a terminal.

    alone: False for one of several trainings at once, which shows nothing.
    """

    def __init__(self, epochs: int, done: int, *, alone: bool = True) -> None:
        errors: Any = Lossy(sys.stderr)  # a terminal may go while training goes on
        self._bar = Progress(
            TextColumn("epoch {task.completed}/{task.total}"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(file=errors),
            disable=not (alone and errors.isatty()),
        )
        self._task = self._bar.add_task("", total=epochs, completed=done)

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def show(self, record: EpochRecord) -> None:
        """Show an epoch that has ended."""
        if record.train_accuracy is not None:
            text = f"loss {record.train_loss:.3f}  accuracy {record.train_accuracy:.1%}"
            text += "" if record.val_accuracy is None else f"  validation {record.val_accuracy:.1%}"
        else:
            text = f"loss {record.train_loss:.3f}  r2 {record.train_r2:.3f}"
            text += "" if record.val_r2 is None else f"  validation {record.val_r2:.3f}"
        self._bar.update(
            self._task, completed=record.epoch, description=f"{text}  {record.examples_per_second:,.0f} rows/s"
        )
