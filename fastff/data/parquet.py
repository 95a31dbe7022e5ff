"""Parquet files that may be larger than memory are converted once to shards, in a folder beside them.

Training reads rows in a random order, but to read one row of a Parquet file a whole row group must be unpacked.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastff.data.cells import arrow
from fastff.data.dataset import SPLITS
from fastff.data.names import chosen_targets
from fastff.data.readers import contents, reading
from fastff.errors import DataError
from fastff.system.files import file_stamps, locked, make_folder, replacing, write_text
from fastff.system.limits import check_unpacked, say

BLOCK = 1 << 22  # values converted at a time
_NOTES = "shards.json"  # written last: the stamps of the files that the shards were made from, and the class names


def has_parquet(folder: Path) -> bool:
    return bool(_files(folder, "train"))


def parquet_shards(folder: Path, target: str | None) -> tuple[Path, list[str] | None]:
    """Convert train-*.parquet or train.parquet, and the same of val and test, to shards: (their folder, class names).

    The column `target` holds the classes, the others are features, float32. The names are None if the classes are
    numbers. Shards that exist are not made again unless the Parquet files have changed. Raises DataError if the files
    cannot be converted, MissingExtra without pyarrow.
    """
    out = folder / f"shards-{hashlib.sha256(str(target).encode()).hexdigest()[:8]}"
    stamp = [target, *file_stamps(path for split in SPLITS for path in _files(folder, split))]
    found = _notes(out)
    if found.get("of") != stamp:
        make_folder(out)
        with locked(out):
            for path in (*out.glob("*.npy"), *out.glob(".*.tmp"), out / _NOTES):
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
            found = {"of": stamp, "class_names": _convert(folder, target, out)}
            write_text(out / _NOTES, json.dumps(found))
    return out, found["class_names"]


def _files(folder: Path, split: str) -> list[Path]:
    names = contents(folder)
    pieces = [n for n in names if n == f"{split}.parquet" or (n.startswith(f"{split}-") and n.endswith(".parquet"))]
    return [folder / name for name in sorted(pieces)]


def _notes(out: Path) -> dict[str, Any]:
    try:
        notes = json.loads((out / _NOTES).read_text("utf-8"))
        names = notes["class_names"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    strings = names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))
    return notes if strings else {}


def _check_disk(path: Path, size: int, out: Path) -> None:
    check_unpacked(path, size, path.stat().st_size, in_memory=False)
    free = shutil.disk_usage(out).free
    if size > free:
        raise DataError(f"{path}: needs {say(size)} as shards in {out}, {say(free)} are free")


def _convert(folder: Path, target: str | None, out: Path) -> list[str] | None:
    """Write x_SPLIT-NUMBER.npy for each file and y_SPLIT.npy for each split; the class names, None if numbers."""
    codes: dict[str, int] = {}  # of each class, in the order in which they are found
    labels: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    features: list[str] | None = None
    for split in SPLITS:
        for number, path in enumerate(_files(folder, split)):
            with open_parquet(path, target) as table:
                if features is not None and table.features != features:
                    raise DataError(
                        f"{path}: columns that differ from those of {_files(folder, 'train')[0].name}, want the same"
                    )
                features = table.features
                _check_disk(path, 4 * table.rows * len(features), out)
                header = {"descr": "<f4", "fortran_order": False, "shape": (table.rows, len(features))}
                with replacing(out / f"x_{split}-{number:05}.npy") as temporary, temporary.open("wb") as file:
                    np.lib.format.write_array_header_1_0(file, header)
                    for x, texts in table.blocks(max(1, BLOCK // (len(features) + 1))):
                        file.write(x.astype("<f4", copy=False).data)
                        labels[split].append(np.array([codes.setdefault(text, len(codes)) for text in texts], np.int32))
    numbers, names = number_classes(codes)
    as_numbers = np.array([numbers[text] for text in codes])
    for split, parts in labels.items():
        if parts:
            with replacing(out / f"y_{split}.npy") as temporary, temporary.open("wb") as file:
                np.save(file, as_numbers[np.concatenate(parts)])
    return names


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
    pa = arrow()
    pq = pa.parquet
    with reading(path, "Parquet file"), path.open("rb") as stream:
        file = pq.ParquetFile(stream, pre_buffer=False)
        schema, rows = file.schema_arrow, file.metadata.num_rows
        at = schema.names.index(chosen_targets(target, schema.names, path)[0])
        if len(schema) < 2:
            raise DataError(f"{path}: {target!r} is the only column, want at least one feature beside it")
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


def number_classes(classes: Iterable[str]) -> tuple[dict[str, float], list[str] | None]:
    """The number of each class, and the class names in the order of their numbers, which is sorted; None if numbers."""
    # Not np.unique: each text in an array takes as much memory as the longest.
    found = set(classes)
    try:
        return {label: float(label) for label in found}, None
    except ValueError:
        names = sorted(found)
        return {name: float(i) for i, name in enumerate(names)}, names
