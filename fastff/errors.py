"""What goes wrong on the user's side, each error one line that says what was found and what is wanted.

Everything fastff raises on purpose derives from FastffError, so a command can print it and exit without a traceback.
Imports nothing of the project: every module may use it.
"""


class FastffError(Exception):
    """The base of all errors that fastff raises on purpose."""


class DataError(FastffError, ValueError):
    """A file or an array cannot be used: the message names it, the value found and the value wanted."""


class ArgumentError(FastffError, ValueError):
    """An argument is out of range: the message names it, the value found and the value wanted."""


class DivergenceError(FastffError, ArithmeticError):
    """Training met a loss that is not finite."""


class MissingExtra(FastffError, ImportError):
    """An optional dependency is not installed: the message names the extra to install."""
