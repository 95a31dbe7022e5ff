"""Reads what NumPy writes: one .npz, or a folder of .npy files that stay on disk and are read as they are needed.

Imports NumPy and the data package's own modules only.
"""

from pathlib import Path

import numpy as np

from fastff.data.dataset import SPLITS, Split, contents, reading
from fastff.errors import DataError

NPY_NAMES = frozenset(f"{a}_{split}.npy" for split in SPLITS for a in "xy")


def read_npz(path: Path) -> dict[str, Split]:
    """The splits in an .npz with x_train, y_train and, where there are, x_val, y_val, x_test, y_test."""
    with reading(path, ".npz file"), path.open("rb") as stream:
        # A file that is a single array or a pickle would otherwise be loaded, or refused in words about pickles.
        if stream.read(2) != b"PK":
            raise ValueError("it is not a zip archive")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as archive:
            names = _pairs(set(archive.files), path, "")
            return {s: (archive[x], archive[y]) for s, (x, y) in names.items()}


def read_npy_folder(folder: Path) -> dict[str, Split]:
    """The splits in a folder of x_train.npy, y_train.npy and so on; the arrays are read-only memory maps."""

    def load(name: str) -> np.ndarray:
        with reading(folder / name, ".npy file"):
            # np.load would also open a zip archive or a pickle of that name.
            return np.lib.format.open_memmap(folder / name, mode="r")

    return {s: (load(x), load(y)) for s, (x, y) in _pairs(contents(folder), folder, ".npy").items()}


def _pairs(present: set[str], source: Path, suffix: str) -> dict[str, tuple[str, str]]:
    """{split: (name of the rows, name of the labels)} of those present; half a split is an error, and no "train" is."""
    pairs = {s: (f"x_{s}{suffix}", f"y_{s}{suffix}") for s in SPLITS}
    for split, names in pairs.items():
        missing = [n for n in names if n not in present]
        if missing and (split == "train" or len(missing) == 1):
            found = ", ".join(sorted(present)[:10]) or "nothing"
            raise DataError(f"{source}: has no {missing[0]}; found {found}")
    return {s: names for s, names in pairs.items() if present.issuperset(names)}
