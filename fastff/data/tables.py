"""Reads tables, .csv and .parquet: the target column holds the classes, the others are features and hold numbers.

pyarrow is imported only when a .parquet file is read.
"""

import csv
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastff.data.dataset import Split
from fastff.data.readers import reading
from fastff.errors import DataError, MissingExtra
from fastff.system.limits import check_unpacked

Table = tuple[dict[str, Split], Sequence[str] | None]  # {"train": split}, and the class names; None if numbers

PARQUET_ROWS = 1 << 16  # rows read at a time


def read_csv(path: Path, target: str | None) -> Table:
    """Rows float32 (N, columns - 1) and labels of a comma-separated file in UTF-8 with a header line.

    Targets that are all numbers are class numbers, which make_dataset checks; others are names, numbered in sorted
    order. Raises DataError, with line and column, for a feature that is not a finite number, an empty target, and a row
    of another length than the header.
    """
    x, classes = _parse_csv(path, lambda header: _target_index(header, target, path))
    return _table(x, classes)


def read_rows(path: Path) -> np.ndarray:
    """Rows float32 (N, columns) of a comma-separated file without a target column; header and errors as of read_csv."""
    return _parse_csv(path, lambda header: None)[0]


def _parse_csv(path: Path, find_target: Callable[[list[str]], int | None]) -> tuple[np.ndarray, list[str]]:
    """The features, float32 (N, D), and the target texts; find_target(header) is the target's index, or None."""
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
    """The same as read_csv for a Parquet file. Raises MissingExtra without pyarrow."""
    with open_parquet(path, target) as table:
        # A billion equal values take a few bytes in a file: a small one may declare more rows than fit in memory.
        check_unpacked(path, table.rows * (len(table.features) + 1) * 4, path.stat().st_size)
        x = np.empty((table.rows, len(table.features)), np.float32)
        classes: list[str] = []
        for block, texts in table.blocks(PARQUET_ROWS):
            x[len(classes) : len(classes) + len(block)] = block
            classes += texts
    return _table(x, classes)


@dataclass(frozen=True)
class ParquetTable:
    """An open Parquet file whose columns have been checked: the names of its features, its number of rows, and
    blocks(most), which yields features float32 (n, D) and n classes as text, n at most `most`, until all are read.
    """

    features: list[str]
    rows: int
    blocks: Callable[[int], Iterator[tuple[np.ndarray, list[str]]]]


@contextmanager
def open_parquet(path: Path, target: str | None) -> Iterator[ParquetTable]:
    """Open a Parquet file and check the types of its columns. Raises DataError, and MissingExtra without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra(f'{path}: reading .parquet needs pyarrow: pip install "fastff[parquet]"') from None
    with reading(path, "Parquet file"), path.open("rb") as stream:
        file = pq.ParquetFile(stream, pre_buffer=False)
        schema, rows = file.schema_arrow, file.metadata.num_rows
        at = _target_index(schema.names, target, path)
        if rows < 1:
            raise DataError(f"{path}: no rows")
        for position, (name, kind) in enumerate(zip(schema.names, schema.types, strict=True)):
            if position != at and not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == pa.bool_()):
                raise DataError(f"{path}: column {name!r}: {kind} values, want numbers")
            if position == at and pa.types.is_nested(kind):
                raise DataError(f"{path}: column {name!r}: {kind} values, want classes")

        def blocks(most: int) -> Iterator[tuple[np.ndarray, list[str]]]:
            # Columns of text are read as dictionaries, in which a text that occurs a million times is in memory once.
            texts = [name for name, kind in zip(schema.names, schema.types, strict=True) if pa.types.is_string(kind)]
            file, start = pq.ParquetFile(stream, pre_buffer=False, read_dictionary=texts), 0
            for batch in file.iter_batches(most, use_threads=False):
                if start + len(batch) > rows:
                    break
                x = np.empty((len(batch), len(schema) - 1), np.float32)
                for position, (name, column) in enumerate(zip(schema.names, batch.columns, strict=True)):
                    if column.null_count:
                        missing = f"{column.null_count} of {len(batch)} values are missing"
                        raise DataError(f"{path}: column {name!r}: {missing}")
                    if position == at:
                        classes = _texts(column)
                    else:
                        x[:, position - (position > at)] = _numbers(column, name, start, path)
                start += len(batch)
                yield x, classes
            if start != rows:
                raise DataError(f"{path}: declares {rows} rows, found {start}")

        yield ParquetTable(schema.names[:at] + schema.names[at + 1 :], rows, blocks)


def _texts(column: Any) -> list[str]:
    if not hasattr(column, "dictionary"):
        return [str(value) for value in column.to_pylist()]
    names = [str(value) for value in column.dictionary.to_pylist()]
    return [names[i] for i in column.indices.to_pylist()]


def _numbers(column: Any, name: str, start: int, path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite, which is refused below
        cells = column.to_numpy(zero_copy_only=False).astype(np.float32)
    if not np.isfinite(cells).all():
        row = int(np.argmin(np.isfinite(cells)))
        raise DataError(f"{path}: column {name!r}: {cells[row]} at row {start + row}, want a finite number")
    return cells


def _target_index(columns: list[str], target: str | None, path: Path) -> int:
    if target is None or target not in columns:
        problem = "no target column named" if target is None else f"has no column {target!r}"
        listed = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
        raise DataError(f"{path}: {problem}; want one of: {listed or '(the file is empty)'}")
    if len(columns) < 2:
        raise DataError(f"{path}: {target!r} is the only column, want at least one feature beside it")
    return columns.index(target)


def _table(x: np.ndarray, classes: list[str]) -> Table:
    numbers, names = number_classes(classes)
    return {"train": (x, np.array([numbers[label] for label in classes]))}, names


def number_classes(classes: Iterable[str]) -> tuple[dict[str, float], list[str] | None]:
    """The number of each class, and the class names in the order of their numbers, which is sorted; None if numbers."""
    # Not np.unique: each text in an array takes as much memory as the longest.
    found = set(classes)
    try:
        return {label: float(label) for label in found}, None
    except ValueError:
        names = sorted(found)
        return {name: float(i) for i, name in enumerate(names)}, names


def _not_a_number(names: list[str], cells: list[str]) -> str:
    for name, cell in zip(names, cells, strict=True):
        try:
            float(cell)
        except ValueError:
            return f"column {name!r}: {cell[:40]!r}, want a number"
    raise AssertionError("every cell is a number")
