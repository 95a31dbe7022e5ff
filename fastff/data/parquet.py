"""Parquet files that may be larger than memory are converted once to shards, in a folder beside them.

Training reads rows in a random order, but to read one row of a Parquet file a whole row group must be unpacked.
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
