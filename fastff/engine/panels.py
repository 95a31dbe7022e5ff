"""The memory that kernels work on: aligned arrays, and weights between NumPy's (in, out) and the kernels' panels."""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastff.engine.table import Row
from fastff.errors import ArgumentError, DataError, NoRoom
from fastff.kernels.cpu import MR, NR
from fastff.kernels.operation import address
from fastff.kernels.panels import batch_size, round_up, weights_size
from fastff.system.blocks import Sliceable, row_blocks
from fastff.system.hold import hold
from fastff.system.limits import check_room

LINE = 64  # bytes of a cache line: arrays start on one


def aligned(count: int, dtype: type = np.float32) -> np.ndarray:
    """`count` zeros that start on a cache line. Raises NoRoom where memory lacks."""
    itemsize = np.dtype(dtype).itemsize
    check_room("an array of the network", count * itemsize)
    try:
        raw = np.zeros(count * itemsize + LINE, np.uint8)
    except MemoryError as error:  # too little to be looked for before
        raise NoRoom(f"an array of the network: {error}") from None
    hold(raw)
    start = -address(raw) % LINE
    return raw[start : start + count * itemsize].view(dtype)


def batch(features: int, rows: int) -> np.ndarray:
    """Room for a batch of rows of so many features in panels."""
    return aligned(batch_size(features, rows))


def pack(matrix: Sliceable, panels: np.ndarray) -> None:
    """Write matrix (in, out) into panels [out/NR][in padded][NR]; the padding keeps what it holds."""
    at, by_panel = 0, panels.reshape(-1, round_up(matrix.shape[0], MR), NR)
    for block in row_blocks(matrix):
        for q, panel in enumerate(by_panel):
            part = block[:, q * NR : (q + 1) * NR]
            panel[at : at + len(part), : part.shape[1]] = part
        at += len(block)


def unpack(
    panels: np.ndarray, shape: tuple[int, int], out: np.ndarray | None = None, *, rows: slice = slice(None)
) -> np.ndarray:
    """The matrix (in, out) that panels hold, or those rows of it, as a new array or in out."""
    n_in = shape[0]
    first, stop, _ = rows.indices(n_in)
    matrix = np.empty((max(0, stop - first), shape[1]), np.float32) if out is None else out
    for q, panel in enumerate(panels.reshape(-1, round_up(n_in, MR), NR)):
        part = matrix[:, q * NR : (q + 1) * NR]
        part[:] = panel[first:stop, : part.shape[1]]
    return matrix


class Unpacked:
    """The matrix (in, out) that panels hold, as fastff.system.blocks.Sliceable: what is asked for is copied then."""

    dtype = np.dtype(np.float32)

    def __init__(self, panels: np.ndarray, shape: tuple[int, int]) -> None:
        self.panels, self.shape = panels, shape

    def __getitem__(self, rows: slice) -> np.ndarray:
        return unpack(self.panels, self.shape, rows=rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return unpack(self.panels, self.shape).astype(self.dtype if dtype is None else dtype, copy=False)


def panel_size(shape: tuple[int, int]) -> int:
    """The values of a matrix (in, out) in panels."""
    return weights_size(*shape)


class Matrix:
    """A float32 matrix (in, out) that lives in panels and shows itself as an ordinary array.

    Panels have no strides that NumPy could view, so `array` returns a copy, and keeps it in step for as long as
    somebody holds it: `flush` takes up what was written to it, before kernels run; `changed` shows in it what they did.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.panels = aligned(panel_size(shape))  # [out/NR][in padded][NR], for kernels; see flush
        self._shown: np.ndarray | None = None

    @property
    def array(self) -> np.ndarray:
        """The matrix, (in, out): writing to it changes the matrix, and it follows training."""
        if self._shown is None:
            self._shown = unpack(self.panels, self.shape)
        return self._shown

    @array.setter
    def array(self, value: Sliceable) -> None:
        pack(value, self.panels)
        self.changed()

    def flush(self) -> None:
        """Write to the panels what was written to `array`; to be called before a kernel reads them."""
        if self._shown is not None:
            if self._shown.shape != self.shape or self._shown.dtype != np.float32:
                found = f"{self._shown.dtype} {self._shown.shape}"
                raise ArgumentError(f"weights: the array was made {found}, want float32 {self.shape}: reshape a view")
            pack(self._shown, self.panels)
            # two references, the attribute and getrefcount's argument: nobody else can write to it any more
            if sys.getrefcount(self._shown) <= 2:
                self._shown = None

    def rows(self) -> Sliceable:
        """The matrix, to be read before anything else happens to it: whole, or some rows at a time without a copy."""
        return Unpacked(self.panels, self.shape) if self._shown is None else self._shown

    def move(self, panels: np.ndarray, *, keep: bool) -> None:
        """Live in this memory from now on, with the values so far (keep) or with those it holds."""
        if keep:
            self.flush()
            panels[:] = self.panels
        self.panels = panels
        self.changed()

    def changed(self) -> None:
        """Say that a kernel has written to the panels."""
        if self._shown is not None and self._shown.shape == self.shape:
            unpack(self.panels, self.shape, out=self._shown)


@dataclass(eq=False)
class Panels:
    """A batch of `features` values a row, in panels, and the row of the program that makes it."""

    memory: np.ndarray
    features: int
    maker: Row | None = None
    rounded: np.ndarray | None = None  # the right form, of bfloat16 (fastff.engine.bfloat16)


class SparseRows:
    """Rows (N, features) as their entries: a copy of SciPy's CSR form, in order of the columns, none of them twice.

    DataError unless the entries of each row are there and in one of the columns.
    """

    def __init__(self, starts: Any, columns: Any, values: Any, features: int) -> None:
        self.features, self.starts, self.columns = features, np.array(starts, np.int64), np.array(columns, np.int64)
        with np.errstate(over="ignore"):
            self.values = np.array(values, np.float32)
        ends = self.starts[[0, -1]]
        there = ends[0] >= 0 and ends[1] <= min(len(self.columns), len(self.values))
        inside = ((self.columns >= 0) & (self.columns < features)).all()
        if not there or not inside or (np.diff(self.starts) < 0).any():
            raise DataError(
                f"X: entries outside of the {len(self)} x {features} values, want a sparse matrix as SciPy's"
            )

    def __len__(self) -> int:
        return len(self.starts) - 1
