"""Threads of the operating system, also in programs where gevent or eventlet have put others in the place of Python's.

Theirs take turns in one thread, and those that wait for one another in native code would wait for ever. What they
replace are names in Python's modules, so this module makes the built-in module below them anew and takes its names.
"""

import contextlib
import sys
import threading
from collections.abc import Callable
from importlib.machinery import BuiltinImporter
from importlib.util import module_from_spec
from typing import Any

from fastff.errors import FastffError


def _unpatched() -> Any:
    spec = BuiltinImporter.find_spec("_thread")
    assert spec is not None
    module = module_from_spec(spec)
    BuiltinImporter.exec_module(module)
    return module


_thread = _unpatched()
Lock = _thread.allocate_lock
native_id: Callable[[], int] = _thread.get_native_id


class Event:
    """As threading.Event; a signal handler that raises in the midst of `wait` does not undo `set`."""

    def __init__(self) -> None:
        self._happened, self._waiting = False, Lock()
        self._waiting.acquire()

    def is_set(self) -> bool:
        return self._happened

    def set(self) -> None:
        self._happened = True
        with contextlib.suppress(RuntimeError):  # it is free: the event was set before
            self._waiting.release()

    def wait(self, timeout: float = -1) -> bool:
        """Wait for `set`, at most so many seconds; whether it has been called."""
        if not self._happened and self._waiting.acquire(timeout=timeout):
            with contextlib.suppress(RuntimeError):
                self._waiting.release()  # for whoever waits too
        return self._happened


class Thread:
    """A thread that runs target(*args) once it is started. A process that ends does not wait for it.

    native_id: the system's number of it, None until it runs.
    """

    native_id: int | None = None

    def __init__(self, target: Callable[..., Any], args: tuple[Any, ...] = ()) -> None:
        self.started = False
        self._target, self._args, self._ended = target, args, Event()

    def start(self) -> None:
        """Raises FastffError where the system starts no more threads."""
        try:
            _thread.start_new_thread(self._run, ())
        except (RuntimeError, MemoryError) as error:
            raise FastffError(
                f"threads: the system starts no more of them ({error}), want fewer (threads=1, --threads 1, "
                "--jobs 1) or a higher limit of processes or memory (ulimit -u, ulimit -v)"
            ) from None
        self.started = True

    def is_alive(self) -> bool:
        return self.started and not self._ended.is_set()

    def join(self, timeout: float = -1) -> bool:
        """Wait for its end, at most so many seconds; whether it has ended."""
        return self._ended.wait(timeout)

    def _run(self) -> None:
        self.native_id = native_id()
        # as in Python's own threads: debuggers, profilers and coverage ask all threads for this
        sys.settrace(threading.gettrace())
        sys.setprofile(threading.getprofile())
        try:
            self._target(*self._args)
        finally:
            self._ended.set()
