"""Reads tables, .csv and .parquet: one column is the class, the others are numbers.

Imports NumPy and the data package's own modules; pyarrow only when a .parquet file is read.
"""

import csv
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fastff.data.dataset import Split, reading
from fastff.errors import DataError, MissingExtra

Table = tuple[dict[str, Split], Sequence[str] | None]  # the training split, and the classes' names if they have names


def read_csv(path: Path, target: str | None) -> Table:
    """Rows float32 (N, columns - 1) and labels of a comma-separated file in UTF-8 with a header line.

    Targets that are all whole numbers are the class numbers themselves; others are names, numbered in sorted order.
    Raises DataError with line and column for a cell that is not a finite number, a missing target or a ragged row.
    """
    x, classes = _parse_csv(path, lambda header: _target_index(header, target, path))
    return _table(x, classes)


def read_rows(path: Path) -> np.ndarray:
    """Rows float32 (N, columns) of a comma-separated file of features alone, with a header line; errors as read_csv."""
    return _parse_csv(path, lambda header: None)[0]


def _parse_csv(path: Path, find_target: Callable[[list[str]], int | None]) -> tuple[np.ndarray, list[str]]:
    """The numbers float32 (N, features), and the texts of the target column, if find_target(header) names one."""
    with reading(path, "CSV file"), path.open(encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream, strict=True)
        header = [name.strip() for name in next(lines, [])]
        at = find_target(header)
        names = [name for i, name in enumerate(header) if i != at]
        values, classes, line_numbers = array("f"), [], array("q")
        for cells in lines:
            if not cells:
                continue
            line = lines.line_num
            if len(cells) != len(header):
                raise DataError(f"{path}: line {line}: {len(cells)} cells, want {len(header)} as in the header")
            if at is not None:
                classes.append(cells.pop(at).strip())
                if not classes[-1]:
                    raise DataError(f"{path}: line {line}, column {header[at]!r}: empty, want a class")
            try:
                values.extend(map(float, cells))
            except ValueError:
                raise DataError(f"{path}: line {line}, {_not_a_number(names, cells)}") from None
            line_numbers.append(line)
    if not line_numbers:
        raise DataError(f"{path}: no rows below the header")
    x = np.frombuffer(values, np.float32).reshape(len(line_numbers), len(names))
    finite = np.isfinite(x)
    if not finite.all():
        row, column = np.unravel_index(np.argmin(finite), x.shape)
        raise DataError(
            f"{path}: line {line_numbers[row]}, column {names[column]!r}: {x[row, column]}, want a finite number"
        )
    return x, classes


def read_parquet(path: Path, target: str | None) -> Table:
    """As read_csv, for a Parquet file. Raises MissingExtra without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra(f"{path}: reading .parquet needs pyarrow: pip install 'fastff[parquet]'") from None
    with reading(path, "Parquet file"), path.open("rb") as stream:
        table = pq.read_table(stream)
    at = _target_index(table.column_names, target, path)
    rows = table.num_rows
    if rows == 0:
        raise DataError(f"{path}: no rows")
    x = np.empty((rows, table.num_columns - 1), np.float32)
    for position, name in enumerate(table.column_names):
        column = table.column(position)
        if column.null_count:
            raise DataError(f"{path}: column {name!r}: {column.null_count} of {rows} values are missing")
        if position == at:
            continue
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise DataError(f"{path}: column {name!r}: {kind} values, want numbers")
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused below
            cells = column.to_numpy().astype(np.float32)
        if not np.isfinite(cells).all():
            row = int(np.argmin(np.isfinite(cells)))
            raise DataError(f"{path}: column {name!r}: {cells[row]} at row {row}, want a finite number")
        x[:, position - (position > at)] = cells
    return _table(x, [str(value) for value in table.column(at).to_pylist()])


def _target_index(columns: list[str], target: str | None, path: Path) -> int:
    if target is None or target not in columns:
        problem = "no target column named" if target is None else f"has no column {target!r}"
        listed = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
        raise DataError(f"{path}: {problem}; want one of: {listed or '(the file is empty)'}")
    if len(columns) < 2:
        raise DataError(f"{path}: {target!r} is the only column, want at least one feature beside it")
    return columns.index(target)


def _table(x: np.ndarray, classes: list[str]) -> Table:
    try:
        y = np.array([float(label) for label in classes])
    except ValueError:
        found, y = np.unique(classes, return_inverse=True)
        return {"train": (x, y)}, [str(name) for name in found]
    return {"train": (x, y)}, None


def _not_a_number(names: list[str], cells: list[str]) -> str:
    for name, cell in zip(names, cells, strict=True):
        try:
            float(cell)
        except ValueError:
            return f"column {name!r}: {cell[:40]!r}, want a number"
    raise AssertionError("every cell is a number")
