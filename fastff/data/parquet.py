"""Parquet files that may be larger than memory: turned into shards beside them, once.

For any row of it a row group must be unpacked whole, and training wants rows in every order. Imports NumPy,
fastff.system.files, fastff.system.limits and the data package's own modules only.
"""

import contextlib
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from fastff.data.dataset import SPLITS
from fastff.data.readers import contents
from fastff.data.tables import number_classes, open_parquet
from fastff.errors import DataError
from fastff.system.files import file_stamps, locked, make_folder, replacing, write_text
from fastff.system.limits import check_unpacked, say

BLOCK = 1 << 22  # values that are converted at a time
_NOTES = "shards.json"  # written last: what the shards were made from, and what their classes are called


def has_parquet(folder: Path) -> bool:
    return bool(_files(folder, "train"))


def parquet_shards(folder: Path, target: str | None) -> tuple[Path, list[str] | None]:
    """The folder of shards of train-*.parquet, val-*.parquet and test-*.parquet, or train.parquet and so on; and the
    classes' names, if they have names.

    The column `target` is the class, the others are features, float32. The shards are made in a folder beside the files
    unless it has those of the same files. Raises DataError where that cannot be, MissingExtra without pyarrow.
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
        notes = json.loads((out / _NOTES).read_text())
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
    """Write x_SPLIT-NUMBER.npy for each file and y_SPLIT.npy for each split; returns the classes' names, if names."""
    codes: dict[str, int] = {}  # of the classes, as they come
    labels: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    features: list[str] | None = None
    for split in SPLITS:
        for number, path in enumerate(_files(folder, split)):
            with open_parquet(path, target) as table:
                if features is not None and table.features != features:
                    raise DataError(f"{path}: columns that differ from those of {_files(folder, 'train')[0].name}")
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
