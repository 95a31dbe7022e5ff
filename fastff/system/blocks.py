"""Arrays a block of rows at a time: what checks, copies or stores a large one must not take its memory once more.

Imports NumPy only.
"""

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

BLOCK = 1 << 20  # numbers


class Sliceable(Protocol):
    """An array, or what stands for one and makes the rows [i:j] of it, or with np.asarray all, when it is asked."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


def row_blocks(array: Sliceable, numbers: int = BLOCK) -> Iterator[np.ndarray]:
    """The rows of an array in order, so many numbers at a time; views, where it is one. A scalar is one block."""
    if not array.shape:
        yield np.asarray(array)
        return
    size = max(1, numbers // max(1, math.prod(array.shape[1:])))
    for i in range(0, array.shape[0], size):
        yield array[i : i + size]


def copied(array: Sliceable, out: np.ndarray | None = None) -> np.ndarray:
    """A copy of an array with rows, in the memory of `out` where that fits."""
    if out is None or (out.shape, out.dtype) != (array.shape, array.dtype):
        out = np.empty(array.shape, array.dtype)
    for block, part in zip(row_blocks(array), row_blocks(out), strict=True):
        part[...] = block
    return out


def all_finite(array: Sliceable) -> bool:
    """Whether no number of an array is infinite or missing."""
    return all(np.isfinite(block).all() for block in row_blocks(array))
