"""The memory that kernels work on: aligned arrays, and weights between NumPy's (in, out) and the kernels' panels."""

import sys

import numpy as np

from fastff.kernels.target import LANES, MR, NR
from fastff.room import check_room

LINE = 64  # bytes of a cache line: arrays start on one


def round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def aligned(count: int, dtype: type = np.float32) -> np.ndarray:
    """`count` zeros that start on a cache line. Raises NoRoom where memory lacks."""
    itemsize = np.dtype(dtype).itemsize
    check_room("an array of the network", count * itemsize)
    raw = np.zeros(count * itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + count * itemsize].view(dtype)


def lanes(features: int, rows: int) -> np.ndarray:
    """Room for rows of so many features in panels; transposes may touch LANES rows of a panel past the end."""
    return aligned(round_up(rows, NR) * round_up(features, NR) + NR * LANES)


def pack(matrix: np.ndarray, panels: np.ndarray) -> None:
    """Write matrix (in, out) into panels [out/NR][in padded][NR]; the padding keeps what it holds."""
    n_in = len(matrix)
    for q, panel in enumerate(panels.reshape(-1, round_up(n_in, MR), NR)):
        part = matrix[:, q * NR : (q + 1) * NR]
        panel[:n_in, : part.shape[1]] = part


def unpack(panels: np.ndarray, shape: tuple[int, int], out: np.ndarray | None = None) -> np.ndarray:
    """The matrix (in, out) that panels hold, as a new array or in out."""
    n_in = shape[0]
    matrix = np.empty(shape, np.float32) if out is None else out
    for q, panel in enumerate(panels.reshape(-1, round_up(n_in, MR), NR)):
        part = matrix[:, q * NR : (q + 1) * NR]
        part[:] = panel[:n_in, : part.shape[1]]
    return matrix


def panel_size(shape: tuple[int, int]) -> int:
    return round_up(shape[0], MR) * round_up(shape[1], NR)


class Matrix:
    """A float32 matrix (in, out) that lives in panels and shows itself as an ordinary array.

    Panels have no strides that NumPy could view, so `array` hands out a copy and keeps it in step for as long as
    somebody holds it: `panels` takes up what was written to it, `changed` shows in it what a kernel did.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._panels = aligned(panel_size(shape))
        self._shown: np.ndarray | None = None

    @property
    def array(self) -> np.ndarray:
        """The matrix, (in, out): writing to it changes the matrix, and it follows training."""
        if self._shown is None:
            self._shown = unpack(self._panels, self.shape)
        return self._shown

    @array.setter
    def array(self, value: np.ndarray) -> None:
        if self._shown is not None:
            self._shown[:] = value
        pack(value, self._panels)

    @property
    def panels(self) -> np.ndarray:
        """The kernels' memory [out/NR][in padded][NR], float32, with all that was written to `array`."""
        if self._shown is not None:
            pack(self._shown, self._panels)
            self._forget()
        return self._panels

    def copy(self, out: np.ndarray | None = None) -> np.ndarray:
        """The matrix, (in, out), as an array of its own or in `out`; nothing else is allocated."""
        return unpack(self.panels, self.shape, out=out)

    def move(self, panels: np.ndarray, *, keep: bool) -> None:
        """Live in this memory from now on, with the values so far (keep) or with those it holds."""
        if keep:
            panels[:] = self.panels
        self._panels = panels
        self.changed()

    def changed(self) -> None:
        """Say that a kernel has written to the panels."""
        if self._shown is not None:
            unpack(self._panels, self.shape, out=self._shown)

    def _forget(self) -> None:
        # two references, the attribute and getrefcount's argument: nobody else can write to it any more
        if sys.getrefcount(self._shown) <= 2:
            self._shown = None
