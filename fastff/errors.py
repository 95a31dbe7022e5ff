"""The errors that a user can cause or meet, each one line that says what was found and what is wanted.

All errors that fastff raises on purpose derive from FastffError, so that a command can print them without a traceback.
"""

LONGEST = 1000  # characters of a message, which may contain a name from a file, of any length


class FastffError(Exception):
    """The base of all errors that fastff raises on purpose; the message is made one line, whatever it contains."""

    def __init__(self, message: str = "") -> None:
        super().__init__(_one_line(message))


class DataError(FastffError, ValueError):
    """A file or an array cannot be used: the message names it, the value found and the value wanted."""


class ArgumentError(FastffError, ValueError):
    """An argument is out of range: the message names it, the value found and the value wanted."""


class DivergenceError(FastffError, ArithmeticError):
    """Training met a loss that is not finite."""


class MissingExtra(FastffError, ImportError):
    """An optional dependency is not installed: the message names the extra to install."""


class NoRoom(FastffError, MemoryError):
    """More memory is needed than is free: the message gives both sizes. Nothing was allocated."""


class StalledError(FastffError, RuntimeError):
    """A thread of a training step has stopped for good: the message gives its number."""


def _one_line(message: str) -> str:
    # Names from a file may contain line ends, or control characters that a terminal would obey.
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(message))
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST * 2 // 3]} ... {line[-LONGEST // 3 :]}"
