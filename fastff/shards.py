"""Rows in files that may be larger than memory: any rows can be read, in any order, and none stay.

They are read, not mapped: pages of a memory map count as this process's own for as long as they are mapped (5 GB of 6
after a tenth of an epoch), mapping them anew for each part was slower (2.0 microseconds a row of 3 KB, reading 1.4),
and a file that is cut short ends the process there. fastff.stream reads for the kernels. Imports NumPy, fastff.errors
and fastff.room.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastff.errors import DataError
from fastff.room import check_room


@dataclass(frozen=True)
class Shard:
    """One file: `rows` rows of the set's width and type, the first of them `offset` bytes from the start."""

    path: Path
    offset: int
    rows: int


class Shards:
    """Rows (N, D) in files one after the other, as `load_dataset` finds them in a folder; fit and evaluate take them.

    It has the len, shape, dtype and ndim of the array that it stands for; `shards[rows]` is that part of it, a slice or
    row numbers, as an array in memory, and np.asarray(shards) all of it. `select` gives some of the rows as Shards.
    """

    ndim = 2

    def __init__(
        self, files: Sequence[Shard], columns: int, dtype: Any, *, name: str, picked: np.ndarray | None = None
    ) -> None:
        self.files, self.name = tuple(files), name
        self.dtype = np.dtype(dtype)
        self.picked = picked  # the numbers of the rows in the files that are rows here; None: all
        self.starts = np.cumsum([0, *(file.rows for file in files)])  # the number of each file's first row, and of all
        self.shape = int(self.starts[-1]) if picked is None else len(picked), columns

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"Shards({self.name!r}, {rows:,} rows of {columns:,} {self.dtype} values, {len(self.files)} files)"

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def select(self, rows: np.ndarray) -> "Shards":
        """The rows of these numbers, in this order, still in their files."""
        picked = np.asarray(rows, np.int64) if self.picked is None else self.picked[rows]
        return Shards(self.files, self.shape[1], self.dtype, name=self.name, picked=picked)

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = np.arange(len(self))[key]
        numbers = (rows if self.picked is None else self.picked[rows]).reshape(-1)
        check_room(f"{len(numbers):,} rows of {self.name}", len(numbers) * self.shape[1] * self.dtype.itemsize)
        out = np.empty((len(numbers), self.shape[1]), self.dtype)
        file = np.searchsorted(self.starts, numbers, "right") - 1
        # rows that follow one another are read as one
        starts = np.flatnonzero(np.append(True, (np.diff(numbers) != 1) | (np.diff(file) != 0)))[: len(numbers)]
        for begin, end in itertools.pairwise([*starts.tolist(), len(numbers)]):
            shard = self.files[file[begin]]
            first = int(numbers[begin] - self.starts[file[begin]])
            _read(shard, first, out[begin:end])
        return out.reshape(*np.shape(rows), self.shape[1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)


Rows = np.ndarray | Shards  # what fit and evaluate take


def _read(shard: Shard, first: int, out: np.ndarray) -> None:
    """The rows of a file from `first` on into out, C-contiguous. DataError where they cannot be read."""
    at, left = shard.offset + first * out.strides[0], out.reshape(-1).view(np.uint8)
    try:
        with shard.path.open("rb", buffering=0) as file:
            file.seek(at)
            while len(left):
                if not (got := file.readinto(left.data)):
                    raise DataError(f"{shard.path}: ends where row {first} should, was it cut short meanwhile?")
                left = left[got:]  # a read of more than 2 GB, for one
    except OSError as error:
        raise DataError(f"cannot read {shard.path}: {error.strerror}") from None
