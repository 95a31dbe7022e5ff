"""Reads tables as pyarrow.Table: .csv and .tsv, also packed by gzip, .parquet, and frames of pandas or polars."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastff.data.cells import CellError, arrow, numbers, plain
from fastff.data.decimals import columns_show_comma, with_points
from fastff.data.readers import reading
from fastff.data.text_tables import DECIMAL, TextTable
from fastff.errors import DataError, MissingExtra
from fastff.system.limits import check_room, check_unpacked

ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
PARQUET_ROWS = 1 << 16  # rows read at a time
LEFT_OUT = b"fastff.left_out"  # in the metadata of a table: the numbers of rows that were left out of it


def is_table(path: Path) -> bool:
    """Whether a file is a table, by the end of its name."""
    return path.name.lower().endswith(ENDINGS)


def table_name(path: Path) -> str:
    """The name of a table's file without its ending."""
    ending = next(ending for ending in ENDINGS if path.name.lower().endswith(ending))
    return path.name[: -len(ending)]


def read_table(path: Path, texts: Sequence[str] = (), decimal: str = ".") -> Any:
    """The table in a file.

    texts: columns whose cells are kept as they are written, such as 01; what the others hold is found out. decimal:
    the decimal sign where the file does not show which one it has; `decimal_sign` gives that of a table. Raises
    DataError, with line and column where there are lines, for what is no table, and MissingExtra without pyarrow.
    """
    pa = arrow()
    if path.name.lower().endswith(".parquet"):
        return _read_parquet(path)
    with reading(path, "table"):
        form = TextTable(path, decimal)
        try:
            return form.read(texts)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if "utf" not in str(error).lower() or form.encoding != "utf-8":
                raise
        form.encoding = "cp1252"  # what spreadsheets write in Western Europe and America
        return form.read(texts)


def decimal_sign(table: Any, otherwise: str = ".") -> str:
    """The decimal sign of the file of a table; `otherwise` of a frame, or of a file that has none."""
    return ((table.schema.metadata or {}).get(DECIMAL) or otherwise.encode()).decode()


def as_in_file(table: Any, texts: Sequence[str], decimal: str, source: object) -> Any:
    """A table whose cells of text hold numbers as those of a file that `read_table` reads by this decimal sign."""
    if decimal == "." or DECIMAL in (table.schema.metadata or {}):
        return table
    with naming(source):
        names = table.column_names
        table = arrow().table([plain(table.column(name), name) for name in names], names)
    return with_points(table, texts, source, shown=columns_show_comma(table))


def read_rows(path: Path) -> np.ndarray:
    """The rows, float32 (N, D), of a table of numbers without gaps, for models that know no names of columns."""
    table = read_table(path)
    if table.num_rows < 1:
        raise DataError(f"{path}: no rows below the header")
    check_room(str(path), table.num_rows * table.num_columns * 4)
    out = np.empty((table.num_rows, table.num_columns), np.float32)
    with reading(path, "table"), naming(path), np.errstate(over="ignore"):
        for i, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
            out[:, i] = numbers(plain(column, name), name)
            if not np.isfinite(out[:, i]).all():
                row = int(np.argmin(np.isfinite(out[:, i])))
                raise DataError(f"column {name!r}: {out[row, i]} at row {row}, want a finite number")
    return out


def _every(name: str) -> bool:
    return True


def as_table(table: Any, source: object = "table", wanted: Callable[[str], bool] = _every) -> Any:
    """A pyarrow.Table as it is, or one of the columns of a frame. Raises DataError for anything else.

    wanted: whether the column of a name is used. One that is not may hold anything, comes without its values from a
    frame, and once if it is there twice.
    """
    pa = arrow()
    if not isinstance(table, pa.Table):
        table = _from_frame(table, source, wanted)
    names = table.column_names
    first = {name: i for i, name in reversed([*enumerate(names)])}
    if len(first) == len(names):
        return table
    twice = [name for name, count in Counter(names).items() if count > 1 and wanted(name)]
    if twice:
        raise DataError(f"{source}: the column {min(twice)!r} is there twice, want every name once")
    return table.select(sorted(first.values()))


def is_frame(value: Any) -> bool:
    """Whether this is a table of pyarrow, or a frame."""
    return hasattr(type(value), "columns") and not isinstance(value, str | os.PathLike)


@contextmanager
def naming(source: object, table: Any = None) -> Iterator[None]:
    """Within the block, a DataError about a column also says which table it is in.

    table: where `without_rows` may have made it; errors then have the numbers that the rows had before.
    """
    try:
        yield
    except CellError as error:
        row = error.row if table is None else _row_before(table, error.row)
        raise DataError(f"{source}: {CellError(error.found, row, error.wanted)}") from None
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def without_rows(table: Any, left_out: np.ndarray) -> Any:
    """A table without some of its rows, given as flags (N,)."""
    numbers = np.flatnonzero(left_out).astype("<i8").tobytes()
    kept = table.filter(arrow().array(~left_out))
    return kept.replace_schema_metadata({**(table.schema.metadata or {}), LEFT_OUT: numbers})


def _row_before(table: Any, row: int) -> int:
    """The number that a row had before some were left out."""
    left_out = np.frombuffer((table.schema.metadata or {}).get(LEFT_OUT, b""), "<i8")
    return int(np.delete(np.arange(table.num_rows + len(left_out)), left_out)[row])


def _from_frame(frame: Any, source: object, wanted: Callable[[str], bool]) -> Any:
    try:
        import narwhals
    except ImportError as error:
        raise MissingExtra.of("frames need narwhals", '"fastff[tables]"', error) from None
    pa = arrow()
    names = None
    try:
        if hasattr(frame, "loc"):  # of pandas, whose names may be numbers, and there twice
            names = [str(name) for name in frame.columns]
            if len(set(names)) < len(names):
                frame = frame.loc[:, [wanted(name) for name in names]]
            if any(not isinstance(name, str) for name in frame.columns):
                frame = frame.rename(columns=str)
        eager = narwhals.from_native(frame, eager_only=True)
        names = names or list(eager.columns)
        used = [name for name in names if wanted(name)]
        read = eager.select(used).to_arrow().select(used)  # without the index of a frame of pandas
    except (pa.ArrowException, TypeError, ValueError, AttributeError, KeyError) as error:
        detail = " ".join(str(error).split())[:200]
        raise DataError(f"{source}: {type(frame).__name__} that cannot be read: {detail}; want a frame") from None
    columns = dict(zip(used, read.columns, strict=True))
    nothing = pa.nulls(len(eager))
    return pa.table([columns.get(name, nothing) for name in names], names)


def _read_parquet(path: Path) -> Any:
    pa = arrow()
    with reading(path, "Parquet file"), path.open("rb") as stream:
        file = pa.parquet.ParquetFile(stream, pre_buffer=False)
        schema, rows = file.schema_arrow, file.metadata.num_rows
        # A billion equal values take a few bytes in a file: a small one may declare more rows than fit in memory.
        check_unpacked(path, rows * len(schema) * 4, path.stat().st_size)
        # Columns of text are read as dictionaries, in which a text that occurs a million times is in memory once.
        texts = [name for name, kind in zip(schema.names, schema.types, strict=True) if pa.types.is_string(kind)]
        file = pa.parquet.ParquetFile(stream, pre_buffer=False, read_dictionary=texts)
        batches, found = [], 0
        for batch in file.iter_batches(PARQUET_ROWS, use_threads=False):
            found += len(batch)
            if found > rows:
                break
            batch.validate(full=True)  # the numbers of texts in a damaged file may lead out of their dictionary
            batches.append(batch)
        if found != rows:
            raise DataError(f"{path}: declares {rows} rows, found {found}")
        return as_table(pa.Table.from_batches(batches, file.schema_arrow), path)
