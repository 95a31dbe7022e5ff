"""Checks of rows, labels and arguments, shared by the loaders, the layers and the trainer.

A wrong array is cheapest to explain where it comes in: every check names the argument, what was found and what is
wanted, in one line. Imports NumPy, fastff.errors and fastff.shards only.
"""

from typing import Any, overload

import numpy as np

from fastff.errors import ArgumentError, DataError
from fastff.shards import Rows, Shards

KEPT = (np.uint8, np.float32, np.float64)  # the row types the kernels read as they are
MAX_CLASSES = 2**31  # above any network's output; keeps labels that are really ids or prices from becoming classes
BLOCK = 1 << 20  # elements looked at in one go, so a check of a memory-mapped file needs a few MB


@overload
def check_rows(X: np.ndarray, name: str, *, features: int | None = None) -> np.ndarray: ...
@overload
def check_rows(X: Rows, name: str, *, features: int | None = None) -> Rows: ...
@overload
def check_rows(X: Any, name: str, *, features: int | None = None) -> np.ndarray: ...
def check_rows(X: Any, name: str, *, features: int | None = None) -> Rows:
    """X as rows a network can read: 2-D (N, D), N and D at least 1, native byte order, uint8, float32 or float64.

    Those three types are returned as they are, without a copy (memory-mapped, read-only and strided arrays too);
    other integers, bool and float16 become float32. Shards stay Shards. Values are not looked at: see check_finite.
    Raises DataError, starting with `name`, for another shape or type or when D is not `features`.
    """
    array = X if isinstance(X, Shards) else _as_array(X, name)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DataError(f"{name}: holds {array.dtype} values, want numbers (uint8, float32 or float64)")
    if array.ndim != 2:
        hint = "; one row is X[None, :]" if array.ndim == 1 else ""
        raise DataError(f"{name}: shape {array.shape}, want two dimensions (rows, features){hint}")
    rows, columns = array.shape
    if rows == 0 or columns == 0:
        raise DataError(f"{name}: empty, shape {array.shape}; want at least one row and one column")
    if features is not None and columns != features:
        raise DataError(f"{name}: rows of {columns} values, want {features}")
    if isinstance(array, Shards):
        return array
    if array.dtype.newbyteorder("=") not in KEPT:
        return array.astype(np.float32)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def check_finite(X: Rows, name: str) -> None:
    """Raise DataError with the first row and column (from 0) where X (N, D) holds a NaN or an infinity.

    Reads X a block of rows at a time; integers are not read at all.
    """
    if X.dtype.kind != "f":
        return
    step = max(1, BLOCK // X.shape[1])
    for start in range(0, len(X), step):
        block = X[start : start + step]
        finite = np.isfinite(block)
        if not finite.all():
            row, column = np.unravel_index(np.argmin(finite), finite.shape)
            raise DataError(f"{name}: {block[row, column]} at row {start + row}, column {column}; want finite numbers")


def check_labels(y: Any, name: str, *, rows: int, classes: int | None = None) -> np.ndarray:
    """y as class numbers: int64 (N,) from an array (N,) or (N, 1) of integers, or of floats with whole values.

    Raises DataError, starting with `name`, when there are not `rows` of them, or one is fractional, not finite,
    negative, or not below `classes`.
    """
    array = _as_array(y, name)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: holds {array.dtype} values, want class numbers")
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        raise DataError(f"{name}: shape {array.shape}, want (rows,) or (rows, 1): one class number a row")
    if len(array) != rows:
        raise DataError(f"{name}: {len(array)} labels for {rows} rows, want one a row")
    flat = array.reshape(-1)
    # An int64 and not a plain int, which would have to fit float16 when the labels are that.
    limit = np.int64(MAX_CLASSES if classes is None else classes)
    # NaN fails every comparison, so it is bad here without a test of its own.
    good = (flat >= 0) & (flat < limit)
    if flat.dtype.kind == "f":
        good &= flat == np.floor(flat)
    if not good.all():
        row = int(np.argmin(good))
        wanted = "of 0 or more" if classes is None else f"from 0 to {classes - 1}"
        raise DataError(f"{name}: {flat[row]} at row {row}, want a whole number {wanted}")
    return np.ascontiguousarray(flat, np.int64)


def _as_array(values: Any, name: str) -> np.ndarray:
    if type(values) in (np.ndarray, np.memmap):
        return values
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise DataError(f"{name}: a masked array with missing values, want a value everywhere")
    try:
        return np.asarray(values)
    except (TypeError, ValueError):
        raise DataError(f"{name}: {type(values).__name__} that is not an array of numbers") from None


def check_size(name: str, value: Any) -> int:
    """value as a whole number of at least 1; ArgumentError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name}: {value!r}, want a whole number of at least 1")
    return int(value)


def check_seed(value: Any, *, required: bool = False) -> None:
    """ArgumentError unless value is a whole number of at least 0, or None where it is not required."""
    if value is None and not required:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ArgumentError(f"seed: {value!r}, want a whole number of at least 0{'' if required else ', or None'}")


def check_number(name: str, value: Any, low: float, high: float, *, above: bool = False) -> float:
    """value as a float in [low, high), or in (low, high) if `above`; ArgumentError otherwise."""
    number = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
    if not (number and (low < value if above else low <= value) and value < high):
        raise ArgumentError(f"{name}: {value!r}, want a number in {'(' if above else '['}{low:g}, {high:g})")
    return float(value)
