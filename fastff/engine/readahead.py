"""Rows that a program reads from files as it runs, and the thread that has the system fetch them in good time.

The kernels' threads read each batch into memory that stays in their caches. The thread here copies nothing: it asks for
the rows of the steps to come, so that they are on their way from the disk while the kernels work. Where the page cache
has them already it must not take a core from a kernel's thread, for which the others would wait: it looks at some of
the rows then, and rests.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import numpy as np

from fastff.data.rows import Shards
from fastff.errors import DataError, FastffError
from fastff.kernels import files, system
from fastff.system.threads import Event, Thread, native_id

AHEAD = 64 << 20  # bytes of rows that are asked for before they are needed
AT_ONCE = 4096  # rows that are asked for before the thread looks whether anybody still wants them
SAMPLE = 256  # of so many rows one is looked at, before all are asked for
REST = 0.05  # seconds between looks at how far the kernels are, who take some 10 times as long for AHEAD bytes
LEAST = 19  # the priority that yields to all others

_ADVICE = hasattr(os, "posix_fadvise")  # macOS reads as it is asked to: it could not say which rows are there already
_READING = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_RANDOM", 0)  # the last two are Windows's


class Stream:
    """What the kernels need to read the rows of `source`.

    table, shared: as fastff.kernels.files has them; picked: the numbers of the rows in the files, or None for all.
    """

    def __init__(self, source: Shards) -> None:
        self.source, self.picked = source, source.picked
        self.width = source.shape[1] * source.dtype.itemsize
        self.table = np.zeros((len(source.files) + 1, files.FILE), np.int64)
        self.table[:, 0] = source.starts
        self.table[:-1, 2] = [file.offset for file in source.files]
        self.shared = np.zeros(files.SHARED, np.int64)

    @contextmanager
    def running(self, order: np.ndarray, position: Callable[[], int]) -> Iterator[None]:
        """Hold the files open for a run over the rows `order` (N,), of which position() are done.

        Raises DataError where a row could not be read.
        """
        self.shared[:] = 0
        over = Event()
        with ExitStack() as stack:
            for number, file in enumerate(self.source.files):
                try:
                    descriptor = os.open(file.path, _READING)
                except OSError as error:
                    raise DataError(f"cannot read {file.path}: {error.strerror}") from None
                stack.callback(os.close, descriptor)
                self.table[number, 1] = system.handle(descriptor)
                if _ADVICE:  # else the system reads 128 KB for each row
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            if _ADVICE:
                ahead = Thread(self._ask_ahead, (order, position, over))
                ahead.start()
                stack.callback(ahead.join)
                stack.callback(over.set)
            yield
        if self.shared[files.UNREAD]:
            raise self._reason(int(self.shared[files.UNREAD]) - 1)

    def _ask_ahead(self, order: np.ndarray, position: Callable[[], int], over: Event) -> None:
        if sys.platform == "linux":  # where that is of this thread alone: it runs when a kernel waits for the disk
            with suppress(OSError):  # a container may forbid it
                os.setpriority(os.PRIO_PROCESS, native_id(), LEAST)
        most, asked = max(1, AHEAD // self.width), 0
        while asked < len(order) and not over.is_set():
            asked = max(asked, position())
            until = min(position() + most, asked + AT_ONCE, len(order))
            if until - asked < min(most, AT_ONCE, len(order) - asked):
                over.wait(REST)
                continue
            self._ask(order[asked:until])
            asked = until

    def _ask(self, order: np.ndarray) -> None:
        """Ask for these rows, unless all that are looked at are there."""
        if not all(_cached(*place) for place in self._places(order[::SAMPLE])):
            with suppress(OSError):  # the files are closed already where a second Ctrl-C ended the wait for this thread
                for descriptor, place in self._places(order):
                    os.posix_fadvise(descriptor, place, self.width, os.POSIX_FADV_WILLNEED)

    def _places(self, order: np.ndarray) -> Iterator[tuple[int, int]]:
        """The descriptor of each row's file, and where in it the row begins."""
        rows = order if self.picked is None else self.picked[order]
        where = self.table[np.searchsorted(self.source.starts, rows, "right") - 1]
        places = where[:, 2] + (rows - where[:, 0]) * self.width
        return zip(where[:, 1].tolist(), places.tolist(), strict=True)

    def _reason(self, row: int) -> FastffError:
        try:
            self.source[row : row + 1]
        except FastffError as error:
            return error
        return DataError(f"{self.source.files[0].path.parent}: row {row} of {self.source.name} could not be read")


def _cached(descriptor: int, place: int) -> bool:
    """Whether the page there can be read without waiting for a disk; False where the system does not say."""
    try:
        os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT)
    except (OSError, AttributeError):
        return False
    return True
