"""The errors that fastff raises on purpose, each with a message of one line: what was found and what is wanted.

All derive from FastffError, so that a command can print them and exit without a traceback.
"""

LONGEST = 1000  # characters of a message; a file can hold names of any length


class FastffError(Exception):
    """The base of all errors that fastff raises on purpose: one line, whatever a file or an argument holds."""

    def __init__(self, message: str = "") -> None:
        super().__init__(_one_line(message))


class DataError(FastffError, ValueError):
    """A file or an array cannot be used: the message names it, the value found and the value wanted."""


class ArgumentError(FastffError, ValueError):
    """An argument is out of range: the message names it, the value found and the value wanted."""


class DivergenceError(FastffError, ArithmeticError):
    """Training met a loss that is not finite."""


class MissingExtra(FastffError, ImportError):
    """An optional dependency is not installed, or cannot be imported: the message names the extra to install."""

    @classmethod
    def of(cls, needs: str, install: str, error: ImportError) -> "MissingExtra":
        """needs: "reading tables needs pyarrow", say. install: what pip should. error: what the import ended with."""
        why = "" if isinstance(error, ModuleNotFoundError) else f", which cannot be imported here ({error})"
        return cls(f"{needs}{why}: pip install {install}")


class NoRoom(FastffError, MemoryError):
    """What is asked for needs more memory than there is: the message gives both numbers. Nothing was allocated."""


class StalledError(FastffError, RuntimeError):
    """A thread of a training run does not come to the barrier where the others wait: the message says which one."""


def _one_line(message: str) -> str:
    # A file's own names may hold line ends, or control characters that a terminal would obey.
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(message))
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST * 2 // 3]} ... {line[-LONGEST // 3 :]}"
