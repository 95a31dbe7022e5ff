"""The table of a program: its rows, and the addresses that they become when the program first runs."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fastff.errors import ArgumentError, FastffError
from fastff.kernels import compiler, operation
from fastff.kernels import run as driver
from fastff.kernels.cache import cache_dir
from fastff.kernels.operation import Operation, address
from fastff.system import clock
from fastff.system.hold import references
from fastff.system.limits import check_own_room


class Row:
    """An operation of a program for batches of at most `rows` rows, with what stands in its fields."""

    def __init__(self, operation: Operation, rows: int, *, barrier: bool = False, **fields: Any) -> None:
        operation.check(fields.keys())
        self.operation, self.rows, self.barrier, self.fields = operation, rows, barrier, fields

    def set(self, **fields: Any) -> None:
        """Put something else into some of the fields."""
        self.operation.check(self.fields.keys() | fields.keys())
        self.fields.update(fields)


# Bytes that LLVM takes the first time, when the kernels are compiled or read from the cache
COMPILING, LOADING = 160 << 20, 24 << 20


@dataclass
class EpochEnd:
    """What is run on other rows at an epoch's end: their order, the rows of a batch, and where its figures go.

    losses, hits: float64 (epochs, batches). Without such rows the order and each epoch's figures are empty.
    """

    order: np.ndarray
    rows: int
    losses: np.ndarray
    hits: np.ndarray


class Table:
    """The rows of a program's sections as the kernels read them, in a plan for runs over them.

    indexed: what the numbers of a run's rows pick from. filled: what all rows of a run are written to. elastic: whether
    the number of threads may change from batch to batch. seconds: what compiling or loading the operations took. Raises
    ArgumentError for arrays that the operations could not work on.
    """

    def __init__(
        self,
        sections: Sequence[Sequence[Row]],
        end: EpochEnd | None,
        indexed: Sequence[Any],
        filled: Sequence[Any],
        *,
        elastic: bool,
    ) -> None:
        rows = [row for section in sections for row in section]
        start = clock.now()
        if compiler.disabled():
            raise FastffError("NUMBA_DISABLE_JIT is set, and without its compiler nothing runs: want it unset or 0")
        if not driver.run.loaded:
            check_own_room("the kernels", LOADING if kernels_cached() else COMPILING)
        driver.run.load()
        for row in rows:
            row.operation.load()
        self.seconds = clock.since(start)
        try:
            encoded = [row.operation.encode(row.fields, barrier=row.barrier, rows=row.rows) for row in rows]
        except operation.FieldError as error:
            raise ArgumentError(str(error)) from None
        width = max(map(len, encoded), default=1)
        memory = [0] * driver.PLAN
        memory[driver.COLUMNS], memory[driver.OTHER_BATCH] = width, 1
        batches = [section for section in sections[driver.A_STEP - driver.BEFORE :][:2] if section]
        memory[driver.ELASTIC] = elastic and all(any(row.barrier for row in section) for section in batches)
        memory[driver.BEFORE : driver.AFTER + 1] = itertools.accumulate(map(len, sections))
        if end is not None:
            other = slice(driver.OTHER_INDEX, driver.OTHER_HITS + 1)
            memory[other] = address(end.order), len(end.order), end.rows, address(end.losses), address(end.hits)
        for values in encoded:
            memory += values
            memory += [0] * (width - len(values))
        self.plan = np.array(memory, np.int64)  # and the table behind it
        self.plan[driver.TABLE] = address(self.plan) + self.plan.itemsize * driver.PLAN
        self._indexed, self._filled = indexed, filled
        self._held = [reference for array in indexed for reference in references(array)]  # they may be a user's own

    def check_index(self, index: Any, most_epochs: int) -> np.ndarray:
        """index, which must be int64, (rows,) or (epochs, rows), and name rows that there are; else ArgumentError."""
        if not isinstance(index, np.ndarray) or index.dtype != np.int64 or index.ndim not in (1, 2) or not index.size:
            found = f"{index.dtype} {index.shape}" if isinstance(index, np.ndarray) else type(index).__name__
            raise ArgumentError(f"the order of the rows: {found}, want int64 row numbers, (rows,) or (epochs, rows)")
        self._check_numbers(int(index.min()), int(index.max()), index.shape[-1])
        if index.ndim == 2 and len(index) > most_epochs:
            raise ArgumentError(f"the order of the rows: {len(index)} epochs, want at most {most_epochs} in one run")
        return np.ascontiguousarray(index)

    def first_rows(self, count: int) -> np.ndarray:
        """The numbers of the first so many rows; ArgumentError where there are fewer."""
        self._check_numbers(0, count - 1, count)
        return counting(count)

    def _check_numbers(self, lowest: int, highest: int, count: int) -> None:
        """ArgumentError unless there are rows of these numbers, and room for what `count` rows give."""
        rows = min(map(len, self._indexed), default=None)
        if rows is not None and (lowest < 0 or highest >= rows):
            raise ArgumentError(
                f"the order of the rows: goes from {lowest} to {highest}, want row numbers below {rows}"
            )
        if any(len(array) < count for array in self._filled):
            raise ArgumentError(f"the order of the rows: {count} rows, want at most {len(self._filled[0])}")


@lru_cache(maxsize=32)
def counting(count: int) -> np.ndarray:
    """0, 1, ..., count - 1."""
    return np.arange(count, dtype=np.int64)


def kernels_cached(name: str = "run.run") -> bool:
    """Whether the machine code of the driver, or of what is called so, is in the cache already."""
    folder = cache_dir()
    return folder is not None and any(folder.glob(f"{name}*.nbi"))
