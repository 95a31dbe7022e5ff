"""Reads a folder of shards: x_train-*.npy with y_train-*.npy, and the same of val and test if there are such."""

from pathlib import Path

import numpy as np

from fastff.data.arrays import npy_header, open_npy
from fastff.data.dataset import SPLITS
from fastff.data.readers import contents, reading
from fastff.data.rows import KEPT, Shard, Shards, check_labels
from fastff.errors import DataError


def has_shards(folder: Path) -> bool:
    return bool(_pieces(contents(folder), "x_train"))


def read_shard_folder(folder: Path) -> dict[str, tuple[Shards, np.ndarray]]:
    """The splits in a folder of x_train-00000.npy, x_train-00001.npy, ..., in the order of their names, with labels.

    The labels are in one file for each file of rows, y_train-00000.npy, ..., or all in y_train.npy. The rows of val and
    test may be in one file, x_val.npy and x_test.npy. Rows are uint8, float32 or float64 in C order, in all files of a
    split of the same width and type, and stay in their files; labels are read into memory.
    """
    present, splits = contents(folder), {}
    for split in SPLITS:
        rows, labels = (_names(present, f"{a}_{split}", folder) for a in "xy")
        if bool(rows) != bool(labels):
            raise DataError(f"{folder}: has {(rows or labels)[0]}, and no {'y' if rows else 'x'}_{split} files")
        if rows:
            x = _open(folder, rows, f"x_{split}")
            splits[split] = x, _labels(folder, labels, x)
    return splits


def _pieces(present: set[str], stem: str) -> list[str]:
    return sorted(name for name in present if name.startswith(f"{stem}-") and name.endswith(".npy"))


def _names(present: set[str], stem: str, folder: Path) -> list[str]:
    """The names of the shards of `stem`, for example x_train, or of its one file; an empty list if there is neither."""
    pieces, whole = _pieces(present, stem), f"{stem}.npy"
    if pieces and whole in present:
        raise DataError(f"{folder}: has {whole} beside {pieces[0]}, want one or the other")
    return pieces or [whole] * (whole in present)


def _open(folder: Path, names: list[str], stem: str) -> Shards:
    files: list[Shard] = []
    for path in (folder / name for name in names):
        with reading(path, ".npy file"):
            shape, dtype, order, offset = npy_header(path)
        if len(shape) != 2 or shape[1] == 0:
            raise DataError(f"{path}: shape {shape}, want two dimensions (rows, features)")
        if dtype not in KEPT:
            raise DataError(
                f"{path}: holds {dtype} values, want uint8, float32 or float64 in this machine's byte order"
            )
        if order == "F" and min(shape) > 1:
            raise DataError(f"{path}: in Fortran order, want rows one after the other: np.ascontiguousarray")
        if not files:
            like = shape[1], dtype
        elif (shape[1], dtype) != like:
            raise DataError(
                f"{path}: rows of {shape[1]} {dtype} values, want {like[0]} of {like[1]} as in {files[0].path.name}"
            )
        files.append(Shard(path, offset, shape[0]))
    if not any(file.rows for file in files):
        raise DataError(f"{files[0].path}: no rows, nor in the files after it")
    return Shards(files, *like, name=stem)


def _labels(folder: Path, names: list[str], x: Shards) -> np.ndarray:
    """The labels of x, int64 (N,), from one file, or from one for each file of x with as many labels as it has rows."""
    wanted = {f"y{shard.path.name[1:]}": shard.rows for shard in x.files}
    if len(names) == 1 and names[0] not in wanted:
        wanted = {names[0]: len(x)}
    if odd := sorted(set(names) ^ set(wanted)):
        have = "no such file" if odd[0] in wanted else "no rows for it"
        raise DataError(f"{folder / odd[0]}: {have}, want a file of labels for each of {x.name}-*.npy, or one for all")
    parts = [check_labels(open_npy(folder / name), str(folder / name), rows=wanted[name]) for name in names]
    return np.concatenate(parts)  # copies them out of the memory-mapped files
