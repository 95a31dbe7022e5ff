"""The mean and the standard deviation of every column, in one pass over rows that need not fit in memory.

Blocks are summed in float64, in an order of our own, and combined as in Chan, Golub & LeVeque (1979), without
subtracting large numbers that are nearly equal. The statistics of Shards are kept in a file beside the data, together
with the stamps of the data's files.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from fastff.data.rows import Rows, Shards, check_finite
from fastff.errors import DataError
from fastff.system import checkpoint
from fastff.system.blocks import row_blocks
from fastff.system.elementary import sum_rows
from fastff.system.files import file_stamps

IN_CACHE = 1 << 17  # values computed with at a time: in float64 they stay in a core's own cache, 3 times as fast
Statistics = tuple[np.ndarray, np.ndarray]  # mean and standard deviation of each column, float64 (D,)


def of(X: Rows, name: str) -> Statistics:
    """The statistics of X (N, D), which check_rows has returned; the deviation of a constant column is 0.

    Raises DataError, starting with `name`, for a value that is not finite.
    """
    if not isinstance(X, Shards):
        return _compute(X, name)
    picked = None if X.picked is None else hashlib.sha256(np.ascontiguousarray(X.picked, "<i8").data).hexdigest()
    chosen = "" if picked is None else f"-{picked[:8]}"  # which rows, if not all
    path = X.files[0].path.with_name(f"{X.name}{chosen}.statistics.safetensors")
    stamp = {"files": file_stamps(shard.path for shard in X.files), "rows": picked}
    found = _saved(path, stamp, X.shape[1])
    if found is None:
        found = _compute(X, name)
        with contextlib.suppress(DataError):  # without the file the next call computes them again
            checkpoint.save(path, {"mean": found[0], "deviation": found[1]}, stamp)
    return found


def _compute(X: Rows, name: str) -> Statistics:
    rows, total = 0, np.zeros(X.shape[1])
    squares = np.zeros(X.shape[1])  # the sums of squared deviations from the mean so far
    first, constant = X[:1], np.ones(X.shape[1], bool)
    room = np.empty((max(1, IN_CACHE // X.shape[1]), X.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):  # NaN and infinity are found below
        for block in (part for whole in row_blocks(X) for part in row_blocks(whole, IN_CACHE)):
            values = room[: len(block)]
            values[:] = block
            own = sum_rows(values)
            mean = own / len(block)
            away = np.subtract(block, mean, out=values)
            squares += sum_rows(np.square(away, out=away))
            if rows:
                squares += np.square(mean - total / rows) * (rows * len(block) / (rows + len(block)))
            total += own
            rows += len(block)
            # Rounding would give a constant column a deviation of some ulps, by which nothing should be scaled.
            constant &= (block == first).all(0)
        deviation = np.sqrt(squares / rows)
    if not np.isfinite(deviation).all():
        check_finite(X, name)
    return total / rows, np.where(constant, 0.0, deviation)


def _saved(path: Path, stamp: dict[str, Any], columns: int) -> Statistics | None:
    """The statistics in the file; None if it is missing, damaged, or not of these rows."""
    try:
        arrays, notes = checkpoint.load(path)
        mean, deviation = arrays["mean"], arrays["deviation"]
    except (DataError, KeyError):
        return None
    whole = all(a.dtype == np.float64 and a.shape == (columns,) and np.isfinite(a).all() for a in (mean, deviation))
    return (mean, deviation) if whole and notes == stamp and (deviation >= 0).all() else None
