"""Checks of arguments that are numbers; an error is one line with the argument's name, the value found and wanted."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from fastff.errors import ArgumentError
from fastff.system.hold import check_whole

LARGEST = float(np.finfo(np.float64).max)  # a whole number may be larger


def shown(value: Any) -> str:
    """value in the line of an error; an array by type and shape, as its numbers are many, or in a file cut short."""
    return f"an array of {value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)


def is_whole(value: Any) -> bool:
    """Whether value is a whole number; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_size(name: str, value: Any) -> int:
    """Return value as an int. Raises ArgumentError unless it is a whole number of at least 1."""
    if not is_whole(value) or value < 1:
        raise ArgumentError(f"{name}: {shown(value)}, want a whole number of at least 1")
    return int(value)


def check_list(name: str, values: Any, wanted: str) -> list[Any]:
    """Return values as a list. Raises ArgumentError for what has no items in an order, and for a text."""
    if not isinstance(values, str | bytes | Mapping | Set):
        try:
            return list(values)
        except Exception:  # whatever an object raises that only looks like a sequence
            pass
    raise ArgumentError(f"{name}: {type(values).__name__}, want {wanted}")


def check_count(name: str, value: Any) -> int:
    """Return value as an int. Raises ArgumentError unless it is a whole number from 0 to 2**62."""
    if not is_whole(value) or not 0 <= value <= 1 << 62:
        raise ArgumentError(f"{name}: {shown(value)}, want a whole number from 0 to 2**62")
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Return value as a bool. Raises ArgumentError unless it is one."""
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name}: {shown(value)}, want True or False")
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return value. Raises ArgumentError unless it is one of these choices."""
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"{name}: {shown(value)}, want one of {', '.join(choices)}")
    return value


def check_seed(value: Any, *, required: bool = False) -> int | None:
    """Return value. Raises ArgumentError unless it is a whole number of at least 0, or None if it is not required."""
    if value is None and not required:
        return None
    if not is_whole(value) or value < 0:
        raise ArgumentError(f"seed: {shown(value)}, want a whole number of at least 0{'' if required else ', or None'}")
    return int(value)


def check_number(name: str, value: Any, low: float, high: float, *, above: bool = False) -> float:
    """Return value as a float. Raises ArgumentError unless it is in [low, high), or in (low, high) if `above`."""
    number = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
    if not (number and (low < value if above else low <= value) and value < high and abs(value) <= LARGEST):
        raise ArgumentError(f"{name}: {shown(value)}, want a number in {'(' if above else '['}{low:g}, {high:g})")
    return float(value)


def check_numbers(name: str, values: Any, dtype: type, wanted: str) -> np.ndarray:
    """values as an array of this type; ArgumentError, which says what is wanted, where they are not numbers."""
    check_whole(values, name)
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError, OverflowError):  # a whole number may be too large for a float
        raise ArgumentError(f"{name}: {type(values).__name__} that is not an array of numbers, want {wanted}") from None
