"""Large arrays a block of rows at a time: checking, copying or storing one must not take as much memory again."""

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

BLOCK = 1 << 20  # numbers in a block


class Sliceable(Protocol):
    """An array, or an object that makes or reads the rows [i:j] of one, or all of them with np.asarray, on request."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


def row_blocks(array: Sliceable, numbers: int = BLOCK) -> Iterator[np.ndarray]:
    """The rows of an array, in blocks of about `numbers` values; views of a NumPy array. A scalar is one block."""
    if not array.shape:
        yield np.asarray(array)
        return
    size = max(1, numbers // max(1, math.prod(array.shape[1:])))
    for i in range(0, array.shape[0], size):
        yield array[i : i + size]


def copied(array: Sliceable, out: np.ndarray | None = None) -> np.ndarray:
    """A copy of an array: in `out` if that has its shape and type, otherwise in new memory."""
    if out is None or (out.shape, out.dtype) != (array.shape, array.dtype):
        out = np.empty(array.shape, array.dtype)
    for block, part in zip(row_blocks(array), row_blocks(out), strict=True):
        part[...] = block
    return out


def all_finite(array: Sliceable) -> bool:
    """Whether no number of an array is infinite or NaN."""
    return all(np.isfinite(block).all() for block in row_blocks(array))
