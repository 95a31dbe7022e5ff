"""Rows and labels as a network takes them: Shards, which are rows in files larger than memory, and checks of both.

Shards are read and not memory-mapped. The pages of a map count as memory of this process for as long as it exists (5 GB
of 6 GB after a tenth of an epoch); a new map for each part was slower (2.0 microseconds a row of 3 KB, reading 1.4);
and access to the map of a file that was cut short ends the process. fastff.engine.readahead reads for the kernels.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from fastff.errors import DataError
from fastff.system.blocks import row_blocks
from fastff.system.hold import check_whole
from fastff.system.limits import check_room

KEPT = (np.uint8, np.float32, np.float64)  # the types of rows that kernels read without a conversion
EXACT32 = 1 << 24  # float32 holds all whole numbers up to here
SMALLEST_WEIGHT = 1e-25  # of a row, beside the largest: the sum of a batch of such weights has an inverse in float32
MAX_CLASSES = 2**31  # no network has as many outputs: larger labels must be ids or prices


@dataclass(frozen=True)
class Shard:
    """A file with `rows` rows of the width and type of its Shards; the first row begins at byte `offset`."""

    path: Path
    offset: int
    rows: int


class Shards:
    """Rows (N, D) that stay in several files, as `load_dataset` finds them in a folder; fit and evaluate take them.

    They have the len, shape, dtype and ndim of one array with all rows. `shards[rows]`, of a slice or of row numbers,
    reads those rows into an array, and np.asarray(shards) all of them. `select` gives some of the rows as Shards.
    """

    ndim = 2

    def __init__(
        self, files: Sequence[Shard], columns: int, dtype: Any, *, name: str, picked: np.ndarray | None = None
    ) -> None:
        self.files, self.name = tuple(files), name
        self.dtype = np.dtype(dtype)
        self.picked = picked  # the number of each row among all rows of the files; None if these are all
        # the number of each file's first row among all rows of the files, and last how many rows there are
        self.starts = np.cumsum([0, *(file.rows for file in files)], dtype=np.int64)
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
        rows = np.arange(len(self), dtype=np.int64)[key]
        numbers = (rows if self.picked is None else self.picked[rows]).reshape(-1)
        check_room(f"{len(numbers):,} rows of {self.name}", len(numbers) * self.shape[1] * self.dtype.itemsize)
        out = np.empty((len(numbers), self.shape[1]), self.dtype)
        file = np.searchsorted(self.starts, numbers, "right") - 1
        # rows that are next to each other in a file are read at once
        starts = np.flatnonzero(np.append(True, (np.diff(numbers) != 1) | (np.diff(file) != 0)))[: len(numbers)]
        for begin, end in itertools.pairwise([*starts.tolist(), len(numbers)]):
            shard = self.files[file[begin]]
            first = int(numbers[begin] - self.starts[file[begin]])
            _read(shard, first, out[begin:end])
        return out.reshape(*np.shape(rows), self.shape[1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)


def _read(shard: Shard, first: int, out: np.ndarray) -> None:
    """Read len(out) rows of a file, from row `first` on, into out (rows, D), C-contiguous. Raises DataError."""
    at, left = shard.offset + first * out.strides[0], out.reshape(-1).view(np.uint8)
    try:
        with shard.path.open("rb", buffering=0) as file:
            file.seek(at)
            while len(left):
                if not (got := file.readinto(left.data)):
                    raise DataError(f"{shard.path}: ends where row {first} should, was it cut short meanwhile?")
                left = left[got:]  # one call may read less, for example at most 2 GB
    except OSError as error:
        raise DataError(f"cannot read {shard.path}: {error.strerror}") from None


Rows = np.ndarray | Shards  # the rows that fit and evaluate take


@overload
def check_rows(X: np.ndarray, name: str, *, features: int | None = None) -> np.ndarray: ...
@overload
def check_rows(X: Rows, name: str, *, features: int | None = None) -> Rows: ...
@overload
def check_rows(X: Any, name: str, *, features: int | None = None) -> np.ndarray: ...
def check_rows(X: Any, name: str, *, features: int | None = None) -> Rows:
    """X as rows that a network can read: (N, D), N and D at least 1, native byte order, uint8, float32 or float64.

    Arrays of those three types (also memory-mapped, read-only or strided) and Shards are returned without a copy; bool,
    float16 and other integers become float32, or float64 where float32 would round them. Values are not checked: see
    check_finite. Raises DataError, starting with `name`, for another shape or type, or if D is not `features`.
    """
    array = X if isinstance(X, Shards) else _as_array(X, name)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        texts = array.dtype.kind in "OUSM"
        hint = "; load_dataset(frame, target=...) makes numbers of texts and dates" if texts else ""
        raise DataError(f"{name}: holds {array.dtype} values, want numbers (uint8, float32 or float64){hint}")
    if array.ndim != 2:
        hint = "; one row is X[None, :]" if array.ndim == 1 else "; pictures become rows by X.reshape(len(X), -1)"
        raise DataError(f"{name}: shape {array.shape}, want two dimensions (rows, features){hint}")
    rows, columns = array.shape
    if rows == 0 or columns == 0:
        raise DataError(f"{name}: empty, shape {array.shape}; want at least one row and one column")
    if features is not None and columns != features:
        raise DataError(f"{name}: rows of {columns} values, want {features}")
    if isinstance(array, Shards):
        return array
    if array.dtype.type in KEPT and array.dtype.isnative:
        return array
    native = array.dtype.newbyteorder("=")
    if native in KEPT:
        return array.astype(native)
    large = native.kind in "iu" and native.itemsize > 2 and max(-int(array.min()), int(array.max())) > EXACT32
    return array.astype(np.float64 if large else np.float32)


def check_finite(X: Rows, name: str) -> None:
    """Raise DataError, with the first row and column (from 0), if X (N, D) holds a NaN or an infinity.

    X is read a block of rows at a time, and not at all if it holds integers.
    """
    if X.dtype.kind != "f":
        return
    start = 0
    for block in row_blocks(X):
        finite = np.isfinite(block)
        if not finite.all():
            row, column = np.unravel_index(np.argmin(finite), finite.shape)
            raise DataError(f"{name}: {block[row, column]} at row {start + row}, column {column}; want finite numbers")
        start += len(block)


def check_labels(y: Any, name: str, *, rows: int, classes: int | None = None, otherwise: str = "") -> np.ndarray:
    """y as class numbers: a new int64 (N,) from an array (N,) or (N, 1) of integers, or of floats with whole values.

    Raises DataError, starting with `name`, unless there are `rows` of them, or if one is fractional, not finite,
    negative, or not below `classes`. otherwise: what to ask for where fractions are numbers to predict.
    """
    array = _as_array(y, name)
    if array.dtype.kind not in "biuf":
        cure = f"names, {name} = np.unique({name}, return_inverse=True)" if name.isidentifier() else "np.unique"
        raise DataError(f"{name}: holds {array.dtype} values, want class numbers, as {cure} gives them")
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        hint = f"; one-hot rows become class numbers by {name}.argmax(1)" if _is_one_hot(array) else ""
        raise DataError(f"{name}: shape {array.shape}, want (rows,) or (rows, 1): one class number a row{hint}")
    if len(array) != rows:
        raise DataError(f"{name}: {len(array)} labels for {rows} rows, want one a row")
    flat = array.reshape(-1)
    # An int64, because NumPy 2 would convert a plain int to the type of the labels, which may be float16.
    limit = np.int64(MAX_CLASSES if classes is None else classes)
    # Every comparison with NaN is false, so NaN is refused here as well.
    good = (flat >= 0) & (flat < limit)
    if flat.dtype.kind == "f":
        good &= flat == np.floor(flat)
    if not good.all():
        row = int(np.argmin(good))
        wanted = "of 0 or more" if classes is None else f"from 0 to {classes - 1}"
        if name == "Y" and flat[row] % 1 == 0 and len(np.unique(flat)) == classes:
            wanted += ", as np.unique(Y, return_inverse=True)[1] has them"
        cure = f", or {otherwise} for numbers to predict" if otherwise and flat[row] % 1 > 0 else ""
        raise DataError(f"{name}: {flat[row]} at row {row}, want a whole number {wanted}{cure}")
    return np.array(flat, np.int64)  # a copy: what the kernels read stays as it was checked


def check_targets(y: Any, name: str, *, rows: int, outputs: int | None = None) -> np.ndarray:
    """y as numbers to predict: a new float32 (N, outputs) from an array of numbers, or (N,) for one output.

    Raises DataError, starting with `name`, for another shape or type, and for what is not finite as float32.
    """
    array = target_array(y, name, rows=rows, outputs=outputs)
    with np.errstate(over="ignore"):
        return _finite(np.array(array, np.float32, order="C"), name)


def target_array(y: Any, name: str, *, rows: int | None = None, outputs: int | None = None) -> np.ndarray:
    """check_targets without a copy in another type: (N, outputs) of finite numbers."""
    array = _as_array(y, name)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: holds {array.dtype} values, want numbers to predict")
    if array.ndim not in (1, 2) or array.size == 0:
        raise DataError(f"{name}: shape {array.shape}, want (rows, outputs), or (rows,) for one output")
    array = array.reshape(len(array), -1)
    if rows is not None and len(array) != rows:
        raise DataError(f"{name}: {len(array)} targets for {rows} rows, want one a row")
    if outputs is not None and array.shape[1] != outputs:
        raise DataError(f"{name}: rows of {array.shape[1]}, want {outputs}: a number for each output of the network")
    return _finite(array, name)


def check_weights(weights: Any, name: str, *, rows: int) -> np.ndarray:
    """The weights of rows: a new float32 (N,), all times one power of two, so that the largest is from 1/2 to 1.

    Only their ratios count. Raises DataError, starting with `name`, unless there is one for each row, finite and not
    negative, and for positive ones that are too small beside the largest.
    """
    array = _as_array(weights, name)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: holds {array.dtype} values, want the weight of each row")
    if array.shape not in ((rows,), (rows, 1)):
        raise DataError(f"{name}: shape {array.shape}, want ({rows},): one weight a row")
    flat = array.reshape(-1).astype(np.float64)
    good = np.isfinite(flat) & (flat >= 0)
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(f"{name}: {flat[row]} at row {row}, want finite weights of 0 or more")
    largest = np.max(flat)
    small = (flat > 0) & (flat < largest * SMALLEST_WEIGHT)
    if small.any():
        row = int(np.argmax(small))
        raise DataError(
            f"{name}: {flat[row]} at row {row} beside {largest}, want 0 or at least {SMALLEST_WEIGHT:g} of it"
        )
    return np.ldexp(flat, -np.frexp(largest)[1]).astype(np.float32)


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row, column = np.unravel_index(np.argmin(np.isfinite(array)), array.shape)
        raise DataError(f"{name}: {array[row, column]} at row {row}, want finite numbers within float32")
    return array


def _is_one_hot(array: np.ndarray) -> bool:
    return array.ndim == 2 and bool(((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all())


def _as_array(values: Any, name: str) -> np.ndarray:
    if type(values) in (np.ndarray, np.memmap):
        check_whole(values, name)
        return values
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise DataError(f"{name}: a masked array with missing values, want a value everywhere")
    if isinstance(values, list | tuple) and any(isinstance(item, np.ndarray) and item.ndim == 2 for item in values):
        raise DataError(
            f"{name}: a {type(values).__name__} of {len(values)} arrays, want one array; where these are the outputs "
            "of all layers, the last one is meant, [-1]"
        )
    try:
        array = np.asarray(values)
        if array.dtype == object and array.ndim == 2:
            kinds = [getattr(dtype, "kind", "O") for dtype in getattr(values, "dtypes", "O")]
            if set(kinds) <= set("biuf"):  # pandas has no common type for numbers beside flags or gaps
                return np.asarray(values.to_numpy(np.float64, na_value=np.nan))
        return array
    except (TypeError, ValueError):
        raise DataError(f"{name}: {type(values).__name__} that is not an array of numbers") from None
