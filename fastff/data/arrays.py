"""Reads what NumPy writes: data sets in one .npz or a folder of .npy files, and single arrays. .npy files stay on disk.

Imports NumPy and the data package's own modules only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from fastff.data.dataset import SPLITS, Split, contents, reading
from fastff.errors import DataError

NPY_NAMES = frozenset(f"{a}_{split}.npy" for split in SPLITS for a in "xy")


def read_npz(path: Path) -> dict[str, Split]:
    """The splits in an .npz with x_train, y_train and, where there are, x_val, y_val, x_test, y_test."""
    with _open_npz(path) as archive:
        names = _pairs(set(archive.files), path, "")
        return {s: (archive[x], archive[y]) for s, (x, y) in names.items()}


def read_npy_folder(folder: Path) -> dict[str, Split]:
    """The splits in a folder of x_train.npy, y_train.npy and so on; the arrays are read-only memory maps."""
    names = _pairs(contents(folder), folder, ".npy")
    return {s: (_open_npy(folder / x), _open_npy(folder / y)) for s, (x, y) in names.items()}


def read_array(path: Path) -> np.ndarray:
    """The array in an .npy file, as a read-only memory map, or in an .npz: its only one, or the one called x.

    Shape, type and values are as they were written. Raises DataError for any other file.
    """
    if path.suffix.lower() != ".npz":
        return _open_npy(path)
    with _open_npz(path) as archive:
        name = archive.files[0] if len(archive.files) == 1 else "x"
        if name not in archive.files:
            found = ", ".join(archive.files[:10]) or "nothing"
            raise DataError(f"{path}: found {found}; want one array, or one called x")
        return archive[name]


def _open_npy(path: Path) -> np.ndarray:
    with reading(path, ".npy file"):
        # np.load would also open a zip archive or a pickle of that name.
        return np.lib.format.open_memmap(path, mode="r")


@contextmanager
def _open_npz(path: Path) -> Iterator[NpzFile]:
    with reading(path, ".npz file"), path.open("rb") as stream:
        # A file that is a single array or a pickle would otherwise be loaded, or refused in words about pickles.
        if stream.read(2) != b"PK":
            raise ValueError("it is not a zip archive")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as archive:
            yield archive


def _pairs(present: set[str], source: Path, suffix: str) -> dict[str, tuple[str, str]]:
    """{split: (name of the rows, name of the labels)} of those present; half a split is an error, and no "train" is."""
    pairs = {s: (f"x_{s}{suffix}", f"y_{s}{suffix}") for s in SPLITS}
    for split, names in pairs.items():
        missing = [n for n in names if n not in present]
        if missing and (split == "train" or len(missing) == 1):
            found = ", ".join(sorted(present)[:10]) or "nothing"
            raise DataError(f"{source}: has no {missing[0]}; found {found}")
    return {s: names for s, names in pairs.items() if present.issuperset(names)}
