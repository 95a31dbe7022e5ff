"""Dataset: the splits of rows and labels that a network is trained, validated and tested on.

Every reader passes its arrays to make_dataset, which checks them: the same fault is the same error in every format.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastff.data.columns import Schema
from fastff.data.rows import Rows, Shards, check_finite, check_labels, check_rows
from fastff.errors import DataError
from fastff.system.arguments import check_number, check_seed
from fastff.system.limits import check_room

Split = tuple[Rows, np.ndarray]
SPLITS = ("train", "val", "test")
FEW_CLASSES = 1000  # more classes than rows are accepted up to this number


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Rows and labels in up to three splits; x and y of a missing validation or test split are None.

    x_*: (N, D), C-contiguous, uint8, float32 or float64 as in the file; may be read-only or memory-mapped. The rows of
    a folder of shards are fastff.data.rows.Shards, which stay on disk.
    y_*: (N,) int64, class numbers from 0 to n_classes - 1; where task is "regress", float64 (N,) or (N, outputs).
    class_names: a name for each class. image_shape: (channels, height, width) if each row is a picture: the planes of
    its channels one after the other, each plane line by line; otherwise None.
    task: "classify" or "regress", which has no classes. columns: what the columns of a table are; otherwise None.
    """

    name: str
    x_train: Rows
    y_train: np.ndarray
    x_val: Rows | None
    y_val: np.ndarray | None
    x_test: Rows | None
    y_test: np.ndarray | None
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None = None
    task: str = "classify"
    columns: Schema | None = None

    @property
    def description(self) -> dict[str, Any]:
        """What is saved with a network that was trained on this data, as values of JSON."""
        saved: dict[str, Any] = {
            "dataset": self.name, "class_names": self.class_names, "image_shape": self.image_shape
        }  # fmt: skip
        return saved if self.columns is None else {**saved, "columns": self.columns.description()}

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def n_features(self) -> int:
        return self.x_train.shape[1]

    def __repr__(self) -> str:
        sizes = (f"{s}={len(y)}" for s in SPLITS if (y := getattr(self, f"y_{s}")) is not None)
        what = f"n_classes={self.n_classes}" if self.task == "classify" else "task='regress'"
        return f"Dataset({self.name!r}, {', '.join(sizes)}, n_features={self.n_features}, {what})"

    def with_validation(self, fraction: float = 0.1, seed: int = 0) -> "Dataset":
        """This data set if it has a validation split, else one that holds out `fraction` of the training rows.

        The same seed chooses the same rows in every version of NumPy. Both splits are copies in memory, also of
        memory-mapped rows; rows of shards stay in their files.
        Raises ArgumentError for a fraction outside (0, 1), DataError when there is only one training row.
        """
        check_number("fraction", fraction, 0.0, 1.0, above=True)
        check_seed(seed, required=True)
        if self.x_val is not None:
            return self
        rows = len(self.x_train)
        if rows < 2:
            raise DataError(f"{self.name}: one training row cannot be split into training and validation")
        held_out = min(max(round(rows * fraction), 1), rows - 1)
        train, val = hold_out(self.x_train, self.y_train, held_out, seed)
        return replace(self, x_train=train[0], y_train=train[1], x_val=val[0], y_val=val[1])


def make_dataset(
    name: str,
    splits: Mapping[str, Split],
    *,
    source: object,
    class_names: Sequence[str] | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> Dataset:
    """Check the splits ("train", and "val" and "test" if there are such) and make a Dataset of them.

    source: the file or folder with which error messages start. Without class_names there are as many classes as the
    largest training label says, named by their numbers. Raises DataError for arrays that no network can be trained on.
    """
    features = None if image_shape is None else math.prod(image_shape)
    classes = None if class_names is None else len(class_names)
    arrays: dict[str, Rows | None] = {f"{a}_{s}": None for s in SPLITS for a in "xy"}
    for split in SPLITS:
        if split not in splits:
            continue
        x = check_rows(splits[split][0], f"{source}: x_{split}", features=features)
        # NaN and infinity in the training rows of shards are found by training, so that these are not read twice.
        if split != "train" or not isinstance(x, Shards):
            check_finite(x, f"{source}: x_{split}")
        y = check_labels(splits[split][1], f"{source}: y_{split}", rows=len(x), classes=classes)
        if classes is None:
            classes = int(y.max()) + 1
            if classes > max(FEW_CLASSES, len(x)):
                raise DataError(
                    f"{source}: y_train: label {classes - 1} in {len(x)} rows, want classes numbered from 0"
                )
        features = x.shape[1]
        # np.ascontiguousarray turns a memory map into a plain array, so it is called only if it is needed.
        arrays[f"x_{split}"] = x if isinstance(x, Shards) or x.flags.c_contiguous else np.ascontiguousarray(x)
        arrays[f"y_{split}"] = np.ascontiguousarray(y)
    if class_names is None:
        class_names = [str(i) for i in range(classes or 0)]
    return Dataset(name=name, **arrays, class_names=tuple(class_names), image_shape=image_shape)  # type: ignore[arg-type]


def make_table_dataset(name: str, table: Any, schema: Schema, source: object) -> Dataset:
    """A Dataset of one split, the rows and labels of a table that the schema was fitted to."""
    x, y = schema.rows(table, source), schema.labels(table, source)
    classes = schema.class_names
    return Dataset(name, x, y, None, None, None, None, class_names=classes, task=schema.task, columns=schema)


def hold_out(x: Rows, y: np.ndarray, rows: int, seed: int) -> tuple[Split, Split]:
    """Split rows (N, D) and labels (N,) into the rest and `rows` that the seed chooses; both keep their order."""
    if not isinstance(x, Shards):
        check_room(f"a copy of {len(x):,} rows", x.nbytes)
    # NumPy guarantees the raw numbers of a bit generator in all its versions, but not the shuffles made from them.
    order = np.argsort(np.random.PCG64(seed).random_raw(len(x)), kind="stable")
    val, train = np.sort(order[:rows]), np.sort(order[rows:])
    if isinstance(x, Shards):
        return (x.select(train), y[train]), (x.select(val), y[val])
    return (x[train], y[train]), (x[val], y[val])
