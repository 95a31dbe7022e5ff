"""What the commands say while something takes place: a line in a terminal, and what is worth a line in a file too."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from fastff.engine.table import kernels_cached
from fastff.system.streams import Lossy, say
from fastff.training.progress import TrainingProgress, can_draw

__all__ = ["TrainingProgress", "announce_compiling", "doing"]


def announce_compiling(precision: str = "float32") -> None:
    """Say that kernels are going to be compiled, where those that every network takes are not in the cache."""
    if not kernels_cached() or (precision == "bfloat16" and not kernels_cached("linear16")):
        say("compiling the kernels for this CPU, once: this takes some seconds ...")


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what takes place in the block, while it does, on standard error if that is a terminal."""
    errors: Any = Lossy(sys.stderr)
    console = Console(file=errors)
    if not what or not can_draw(errors, console):
        yield
        return
    with console.status(what, spinner="line"):
        yield
