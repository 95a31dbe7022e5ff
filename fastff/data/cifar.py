"""Reads CIFAR-10 (Krizhevsky 2009) in its official forms, and the course's subset of it: horses, ships and trucks.

A row is a picture of 3,072 bytes: the 32x32 red plane, then green, then blue. Archives are unpacked in memory.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fastff.data.dataset import Dataset, Split, hold_out, make_dataset
from fastff.data.pickles import load_pickle
from fastff.data.readers import contents, reading, unzipped
from fastff.data.rows import check_finite, check_labels, check_rows
from fastff.data.tar import files
from fastff.errors import DataError
from fastff.system.blocks import row_blocks
from fastff.system.limits import say

PIXELS = 3072
IMAGE_SHAPE = (3, 32, 32)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HST = (7, 8, 9)  # the class numbers of horses, ships and trucks
SEED = 10  # chooses the training rows that are held out for validation; it never changes

COURSE = {split: f"cifar10_hst_{split}" for split in ("train", "val", "test")}
COURSE_NPZ = "cifar10_hst.npz"
FORMS = {  # the names of the batches in the order of their rows, the test batch last
    "python": (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
    "binary": (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
}
BATCHES = frozenset(name for names in FORMS.values() for name in names)
FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
ARCHIVES = ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz", "cifar-10-python.tar", "cifar-10-binary.tar")
LARGEST_BATCH = 64 << 20  # bytes; the real ones are 31 MB, a forged archive can declare any size
LARGEST_ARCHIVE = 400 << 20  # bytes, unpacked; the real ones are 186 MB


def find_cifar(folder: Path) -> Path | None:
    """Where CIFAR-10 is: in this folder itself if it has batches, else in a folder of batches or an archive in it."""
    present = contents(folder)
    if BATCHES & present:
        return folder
    return next((folder / name for name in (*FOLDERS, *ARCHIVES) if name in present), None)


def load_cifar10(path: Path) -> Dataset:
    """All ten classes from an archive or folder: 45,000 rows to train, 5,000 to validate and 10,000 to test."""
    train, test = _official(path)
    rest, val = hold_out(*train, max(1, len(train[1]) // 10), SEED)
    splits = {"train": rest, "val": val, "test": test}
    return make_dataset("cifar10", splits, source=path, class_names=CLASSES, image_shape=IMAGE_SHAPE)


def load_hst(path: Path) -> Dataset:
    """Classes 7, 8, 9 as 0, 1, 2 from an archive or folder: 13,000 rows to train, 2,000 to validate, 3,000 to test."""
    train, test = (_only_hst(split, path) for split in _official(path))
    rest, val = hold_out(*train, max(1, len(train[1]) * 2 // 15), SEED)
    return make_hst({"train": rest, "val": val, "test": test}, path)


def make_hst(splits: dict[str, Split], source: Path) -> Dataset:
    """The Dataset of the course's three classes. Raises DataError for other rows or labels."""
    names = [CLASSES[i] for i in HST]
    splits = {s: (as_bytes(x, f"{source}: x_{s}"), y) for s, (x, y) in splits.items()}
    return make_dataset("cifar10-hst", splits, source=source, class_names=names, image_shape=IMAGE_SHAPE)


def read_course_folder(folder: Path) -> dict[str, Split]:
    """The splits in the course's three pickles of {"images": (N, 3072), "labels": (N,) or (N, 1)}."""
    splits = {}
    for split, name in COURSE.items():
        path = folder / name
        with reading(path, "pickle"), path.open("rb") as stream:
            splits[split] = _fields(load_pickle(stream, path), "images", "labels", path)
    return splits


def as_bytes(x: Any, name: str) -> np.ndarray:
    """Pictures (N, 3072) as uint8 if all their values are whole numbers from 0 to 255, otherwise as they are."""
    x = check_rows(x, name, features=PIXELS)
    check_finite(x, name)
    if x.dtype == np.uint8:
        return x
    # The conversion is exact, and bytes are a quarter of the memory to hold and to gather batches from.
    small = np.empty(x.shape, np.uint8)
    for block, converted in zip(row_blocks(x), row_blocks(small), strict=True):
        if block.min() < 0 or block.max() > 255:
            return x
        converted[...] = block
        if not np.array_equal(converted, block):
            return x
    return small


def _only_hst(split: Split, source: Path) -> Split:
    x, y = split
    chosen = y >= HST[0]
    if chosen.sum() < 2:
        raise DataError(f"{source}: {chosen.sum()} rows of class {HST[0]} or more, want horses, ships and trucks")
    return x[chosen], y[chosen] - HST[0]


def _official(path: Path) -> tuple[Split, Split]:
    """The training and test rows of a folder of batches or of a packed archive, all ten classes."""
    form, found = _batches_in_folder(path) if path.is_dir() else _batches_in_archive(path)
    missing = [name for name in FORMS[form] if name not in found]
    if missing:
        raise DataError(f"{path}: has no {missing[0]}, want the batches of CIFAR-10 ({form} version)")
    parts = [found[name] for name in FORMS[form]]
    train = np.concatenate([x for x, _ in parts[:-1]]), np.concatenate([y for _, y in parts[:-1]])
    return train, parts[-1]


def _batches_in_folder(folder: Path) -> tuple[str, dict[str, Split]]:
    present = contents(folder)
    form = next((f for f, names in FORMS.items() if present.intersection(names)), "python")
    found = {}
    for name in present.intersection(FORMS[form]):
        with reading(folder / name, "CIFAR-10 batch"):
            size = (folder / name).stat().st_size
            if size > LARGEST_BATCH:
                raise DataError(f"{folder / name}: {size:,} bytes, want a batch of at most {say(LARGEST_BATCH)}")
            found[name] = _batch(form, (folder / name).read_bytes(), folder / name)
    return form, found


def _batches_in_archive(path: Path) -> tuple[str, dict[str, Split]]:
    form, found = "python", {}
    with reading(path, "CIFAR-10 archive"), path.open("rb") as raw:
        for name, data in files(unzipped(raw), path, BATCHES, largest=LARGEST_BATCH, in_all=LARGEST_ARCHIVE):
            form = "binary" if name.endswith(".bin") else "python"
            found[name] = _batch(form, data, f"{path}: {name}")
    return form, found


def _batch(form: str, data: bytes, source: object) -> Split:
    """Rows (N, 3072) uint8 and labels (N,) of one batch file."""
    if form == "binary":
        if len(data) == 0 or len(data) % (1 + PIXELS):
            raise DataError(
                f"{source}: {len(data):,} bytes, want a multiple of {1 + PIXELS} (label, then {PIXELS} pixels)"
            )
        records = np.frombuffer(data, np.uint8).reshape(-1, 1 + PIXELS)
        x, y = records[:, 1:], records[:, 0]
    else:
        x, y = _fields(load_pickle(BytesIO(data), source), "data", "labels", source)
        x = check_rows(x, f"{source}: data", features=PIXELS)
        if x.dtype != np.uint8:
            raise DataError(f"{source}: data holds {x.dtype} values, want uint8")
    return x, check_labels(y, f"{source}: labels", rows=len(x), classes=len(CLASSES))


def _fields(content: dict, rows: str, labels: str, source: object) -> tuple[Any, Any]:
    for key in (rows, labels):
        if key not in content:
            found = ", ".join(sorted(content)[:10]) or "nothing"
            raise DataError(f"{source}: has no {key!r}; found {found}")
        value = content[key]
        # NumPy would make an array of texts, in which each takes as much memory as the longest.
        for item in value if isinstance(value, (list, tuple)) else ():
            if not all(isinstance(v, (int, float, np.number)) for v in (item if isinstance(item, list) else [item])):
                raise DataError(f"{source}: {key!r} holds {type(item).__name__} values, want numbers")
    return content[rows], content[labels]
