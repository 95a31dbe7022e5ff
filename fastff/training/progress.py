"""What a person sees while a network trains: one line that is drawn anew in a terminal or a notebook.

It says which epoch has ended, its figures, the time that has passed and what is left; before the first epoch, that
kernels are compiled. Where nothing can be drawn anew, as in a file, nothing is.
"""

import sys
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from fastff.engine.table import kernels_cached
from fastff.system import clock
from fastff.system.streams import Lossy
from fastff.training.history import EpochRecord

BAR = 20  # the most columns of the bar itself


class TrainingProgress:
    """The line of one training; a context manager.

    epochs: how many there will be in all. done: how many of them are done already. stream: where it is drawn if that
    is a terminal, or this process is a notebook's; by default standard error. alone: False for one of several
    trainings at once, which shows nothing.
    """

    def __init__(self, epochs: int, done: int, *, stream: Any = None, alone: bool = True) -> None:
        lossy: Any = Lossy(sys.stderr if stream is None else stream)  # a terminal may go while training goes on
        console = Console(file=lossy)
        self.drawn = alone and can_draw(lossy, console)
        self._line = _Line(console, done)
        self._bar = Progress(self._line, console=console, disable=not self.drawn)
        self._task = self._bar.add_task("", total=epochs, completed=done)

    def __enter__(self) -> "TrainingProgress":
        if self.drawn:
            self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.drawn:  # rich 13.7 would end a line that it has not begun
            self._bar.stop()

    def compiling(self, begins: bool) -> None:
        """Say that kernels are compiled, or loaded where they have been before; False: that this is done."""
        if begins:
            stage = "loading the kernels ..." if kernels_cached() else "compiling the kernels, once ..."
        else:
            self._line.restart()
            stage = ""
        self._bar.update(self._task, stage=stage)

    def show(self, record: EpochRecord) -> None:
        """Show an epoch that has ended."""
        self._line.record, self._line.last = record, clock.now()
        self._bar.update(self._task, completed=record.epoch)


def can_draw(stream: Lossy, console: Console) -> bool:
    """Whether a line can be drawn anew: in a terminal, or in a notebook that has ipywidgets, which rich needs there."""
    return find_spec("ipywidgets") is not None if console.is_jupyter else stream.isatty()


class _Line(ProgressColumn):
    """The whole line as one column, so that it can be made as wide as the terminal is and no wider."""

    max_refresh = None

    def __init__(self, console: Console, done: int) -> None:
        super().__init__()
        self.console, self.done = console, done
        self.record: EpochRecord | None = None
        self.begin = self.first = self.last = clock.now()

    def restart(self) -> None:
        """Count the time of epochs from now on, where none has ended yet."""
        if self.record is None:
            self.first = self.last = clock.now()

    def render(self, task: Task) -> Text:
        done, total = int(task.completed), int(task.total or 0)
        passed = _time(clock.since(self.begin))
        left = "" if self.record is None else f", {_time(self.left(done, total))} left"
        head, times = f"epoch {done}/{total}", f"{passed}{left}"
        stage = task.fields.get("stage")
        figures = stage or figures_of(self.record, " ")
        room = self.console.width - 1 - len(head) - len(times) - len(figures) - 3  # the last column stays free
        if self.record is not None and not stage:
            speed = f"  {self.record.examples_per_second:,.0f} rows/s"
            if room >= BAR + len(speed):
                figures, room = figures + speed, room - len(speed)
        bar = max(0, min(BAR, room))
        full = bar * done // max(total, 1)
        mark = "━" if self.console.encoding.lower().startswith("utf") else "-"
        line = Text(f"{head} ", no_wrap=True, overflow="crop")
        line.append(mark * full, "bar.complete").append(mark * (bar - full), "bar.back")
        return line.append(f"{' ' * (bar > 0)}{figures}{' ' * (figures != '')}{times}")

    def left(self, done: int, total: int) -> float:
        """Seconds until the last epoch ends, if all take as long as those that were seen."""
        seen = max(1, done - self.done)
        return max(0.0, (self.last - self.first) / seen * (total - done) - clock.since(self.last))


def figures_of(record: EpochRecord | None, between: str) -> str:
    """An epoch's loss and scores, in words."""
    if record is None:
        return ""
    if record.train_accuracy is not None:
        found = [f"loss {record.train_loss:.3f}", f"accuracy {record.train_accuracy:.1%}"]
        found += [] if record.val_accuracy is None else [f"validation {record.val_accuracy:.1%}"]
    else:
        found = [f"loss {record.train_loss:.4g}", f"r2 {record.train_r2:.3f}"]
        found += [] if record.val_r2 is None else [f"validation {record.val_r2:.3f}"]
    return between.join(found)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
