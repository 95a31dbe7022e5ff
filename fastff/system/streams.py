"""Standard streams that are missing, closed or full: what a person would be told is lost, and nothing else.

A daemon or a job of cron may have none, a program without a console (pythonw) has None for them, a disk may be full.
"""

import contextlib
import io
import os
import sys
from typing import Any


class Lossy:
    """A stream, or None, as one that loses what it cannot write."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return self._stream is not None and bool(self._stream.isatty())
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(text: str) -> None:
    """Print text to standard error, if that can be done."""
    print(text, file=Lossy(sys.stderr), flush=True)


def prepare() -> None:
    """Have standard output take every character, and open the null device in place of each stream that is not there.

    A character that its encoding lacks, as in a pipe on Windows, is written as in Python (\\xb1), which standard error
    does by itself. And without a stream the next file that is opened would get its number, and whatever C code prints
    would end up in that file.
    """
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number, which is this one
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (for the rest of the process)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def close(status: int) -> int:
    """Write out what the standard streams hold; returns the status to exit with.

    That is 1 in place of 0 where standard output could not be written; standard error then has a line that says so.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        if not isinstance(error, BrokenPipeError):  # as in "train | head"
            say(f"error: standard output: {getattr(error, 'strerror', None) or error}")
        status = status or 1
        _discard(sys.stdout)
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _discard(sys.stderr)
    return status


def _discard(stream: Any) -> None:
    """Send what a stream holds to the null device; at exit Python would try again and exit with 120."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
