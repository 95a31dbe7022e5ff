"""Pictures drawn by other processes, beside what the command does: one imports matplotlib while the network trains.

Importing matplotlib and drawing a run take as long as training the digits five times. Where the system can fork, and
nothing else runs in this process yet, a process forked before training has matplotlib ready by the end of it, and forks
once more for every picture. A picture that it could not draw is drawn here, where its error is raised.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from fastff.system.limits import usable_cpus


class Drawing:
    """Call it with the name of a function of fastff.plots and its arguments: it draws here, or through a pipe."""

    def __init__(self, pipe: "Connection[Any, Any] | None" = None) -> None:
        self._pipe = pipe
        self._asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, name: str, *args: Any, **options: Any) -> None:
        if self._pipe is None:
            _draw(name, args, options)
            return
        self._asked.append((name, args, options))
        try:
            self._pipe.send(self._asked[-1])
        except OSError:  # somebody has ended that process
            self.finish()

    def finish(self) -> None:
        """Return when all pictures are drawn. Raises DataError where one cannot be written."""
        if self._pipe is None:
            return
        failed = range(len(self._asked))
        with contextlib.suppress(OSError, EOFError):
            self._pipe.send(None)
            failed = self._pipe.recv()
        self._pipe = None
        for i in failed:
            _draw(*self._asked[i])


@contextlib.contextmanager
def drawing_beside() -> Iterator[Drawing]:
    """What draws in processes beside this one, where they can be forked; they end with the block at the latest."""
    # a fork has no thread but the one that forks, and keeps the locks that the others held
    child = None
    if sys.platform == "linux" and usable_cpus() > 1 and threading.active_count() == 1:
        with contextlib.suppress(OSError):  # no room for another process, or for a pipe
            ours, theirs = multiprocessing.Pipe()
            child = _fork()
    if child is None:
        yield Drawing()
        return
    if child == 0:
        ours.close()
        _leave(lambda: _serve(theirs))
    theirs.close()
    try:
        yield Drawing(ours)
    finally:
        ours.close()
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)  # it waits for nothing any more, but may still be importing
            os.waitpid(child, 0)


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 counts the threads of libraries too; those of BLAS are made for being forked
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _leave(work: Any) -> None:
    """Do the work and end this process, without what Python does at its end: that is the parent's to do."""
    try:
        work()
    except BaseException:  # whatever it is, the parent meets it again
        os._exit(1)
    os._exit(0)


def _serve(pipe: "Connection[Any, Any]") -> None:
    """Draw what comes through the pipe, in a process each, until it ends; then send the places of what has failed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides, and closes the pipe
    import fastff.plots  # noqa: F401 (what takes long)

    children = []
    while (asked := pipe.recv()) is not None:
        children.append(_fork())
        if children[-1] == 0:
            _leave(lambda asked=asked: _draw(*asked))
    pipe.send([i for i, child in enumerate(children) if os.waitpid(child, 0)[1] != 0])


def _draw(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    from fastff import plots  # here, as matplotlib takes as long to import as the digits to train

    getattr(plots, name)(*args, **options)
