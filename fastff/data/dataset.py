"""Dataset: the splits of rows and labels that a network is trained, validated and tested on.

Every reader passes its arrays to make_dataset, which checks them: the same fault is the same error in every format.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastff.data.cells import CellError, numbers, plain
from fastff.data.columns import Schema
from fastff.data.rows import Rows, Shards, check_finite, check_labels, check_rows, target_array
from fastff.data.splits import TableSplit, digest_of, stratified
from fastff.data.tables import naming
from fastff.errors import DataError
from fastff.system.arguments import check_list, check_number, check_seed
from fastff.system.limits import check_room

Split = tuple[Rows, np.ndarray]
SPLITS = ("train", "val", "test")
FEW_CLASSES = 1000  # more classes than rows are accepted up to this number


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Rows and labels in up to three splits; x and y of a missing validation or test split are None.

    Rows x are (N, D), C-contiguous, uint8, float32 or float64 as in the file; they may be read-only or memory-mapped.
    The rows of a folder of shards are fastff.data.rows.Shards, which stay on disk. Labels y are (N,) int64, class
    numbers from 0 to n_classes - 1; where task is "regress", float64 (N,) or (N, outputs).

    Parameters
    ----------
    name : str
        What the data set is called.
    x_train, y_train : ndarray
        The rows and labels to train on.
    x_val, y_val : ndarray or None
        Those to validate on.
    x_test, y_test : ndarray or None
        Those to test on.
    class_names : tuple of str
        A name for each class.
    image_shape : tuple of int or None
        (channels, height, width) if each row is a picture: the planes of its channels one after the other, each plane
        line by line.
    task : {"classify", "regress"}
        The latter has no classes.
    columns : Schema or None
        What the columns of a table are.
    weights : ndarray of shape (N,), float64, or None
        How much each training row counts, if a column of the table says so.
    split : TableSplit or None
        Of a table, which of its rows were held out.
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
    weights: np.ndarray | None = None
    split: TableSplit | None = None

    def __post_init__(self) -> None:
        for split in SPLITS:
            rows = getattr(self, f"x_{split}")
            if rows is not None or split == "train":
                object.__setattr__(self, f"x_{split}", check_rows(rows, f"x_{split}"))
        names = check_list("class_names", self.class_names, "a tuple of names, one for each class")
        object.__setattr__(self, "class_names", tuple(names))

    @property
    def description(self) -> dict[str, Any]:
        """What is saved with a network that was trained on this data, as values of JSON."""
        saved: dict[str, Any] = {
            "dataset": self.name, "class_names": self.class_names, "image_shape": self.image_shape
        }  # fmt: skip
        if self.columns is not None:
            saved["columns"] = self.columns.description()
        if self.split is not None:
            saved["split"] = self.split.description
        return saved

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def n_features(self) -> int:
        """How many values a row has."""
        return self.x_train.shape[1]

    def __repr__(self) -> str:
        sizes = (f"{s}={len(y)}" for s in SPLITS if (y := getattr(self, f"y_{s}")) is not None)
        what = f"n_classes={self.n_classes}" if self.task == "classify" else "task='regress'"
        return f"Dataset({self.name!r}, {', '.join(sizes)}, n_features={self.n_features}, {what})"

    def with_validation(self, fraction: float = 0.1, seed: int = 0) -> "Dataset":
        """This data set if it has a validation split, else one that holds out `fraction` of the training rows.

        Of a table it is the same share of every class, or of every size of the numbers to predict.
        The same seed chooses the same rows in every version of NumPy. Both splits are copies in memory, also of
        memory-mapped rows; rows of shards stay in their files.

        Parameters
        ----------
        fraction : float, default: 0.1
            The share of the training rows to hold out.
        seed : int, default: 0
            Chooses the rows.

        Returns
        -------
        Dataset
            One with a validation split.

        Raises
        ------
        ArgumentError
            For a fraction outside (0, 1).
        DataError
            When there is only one training row.
        """
        check_number("fraction", fraction, 0.0, 1.0, above=True)
        check_seed(seed, required=True)
        if self.x_val is not None:
            return self
        rows = len(self.x_train)
        if rows < 2:
            raise DataError(f"{self.name}: one training row cannot be split into training and validation")
        if self.columns is not None:
            val = stratified(self.y_train, self.task, fraction, seed)
            return self._parted({"train": np.delete(np.arange(rows, dtype=np.int64), val), "val": val})
        held_out = min(max(round(rows * fraction), 1), rows - 1)
        train, held = hold_out(self.x_train, self.y_train, held_out, seed)
        return replace(self, x_train=train[0], y_train=train[1], x_val=held[0], y_val=held[1])

    def _parted(self, parts: Mapping[str, np.ndarray]) -> "Dataset":
        """This data set with its training rows parted into splits: the numbers of the rows of each."""
        check_room(f"a copy of {len(self.x_train):,} rows", self.x_train.nbytes)
        new: dict[str, Any] = {f"x_{split}": self.x_train[rows] for split, rows in parts.items()}
        new |= {f"y_{split}": self.y_train[rows] for split, rows in parts.items()}
        return replace(self, **new, weights=None if self.weights is None else self.weights[parts["train"]])


def make_dataset(
    name: str,
    splits: Mapping[str, Split],
    *,
    source: object,
    class_names: Sequence[str] | None = None,
    image_shape: tuple[int, int, int] | None = None,
    task: str = "auto",
) -> Dataset:
    """Check the splits ("train", and "val" and "test" if there are such) and make a Dataset of them.

    source: the file or folder with which error messages start. Without class_names there are as many classes as the
    largest training label says, named by their numbers. task: "regress" for numbers to predict. Raises DataError for
    arrays that no network can be trained on.
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
        y, what = splits[split][1], f"{source}: y_{split}"
        if task == "regress":
            y = _numbers(y, what, rows=len(x), like=arrays["y_train"])
        else:
            otherwise = "task regress" if task == "auto" and class_names is None else ""
            y = check_labels(y, what, rows=len(x), classes=classes, otherwise=otherwise)
        if classes is None and task != "regress":
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
    kind = "regress" if task == "regress" else "classify"
    return Dataset(name=name, **arrays, class_names=tuple(class_names), image_shape=image_shape, task=kind)  # type: ignore[arg-type]


def _numbers(y: Any, name: str, *, rows: int, like: Any) -> np.ndarray:
    """Numbers to predict, float64, with as many columns as the training's; DataError, starting with name, if none."""
    outputs = None if like is None else like[:1].size
    values = target_array(y, name, rows=rows, outputs=outputs).astype(np.float64)
    return values[:, 0] if values.shape[1] == 1 else values


def make_table_dataset(
    name: str, table: Any, labels: np.ndarray, schema: Schema, source: object, weight_column: str | None = None
) -> Dataset:
    """A Dataset of one split, the rows and labels of a table that the schema was fitted to."""
    x = schema.rows(table, source)
    weights = None if weight_column is None else _weights(table, weight_column, source)
    classes, task = schema.class_names, schema.task
    return Dataset(
        name, x, labels, None, None, None, None, class_names=classes, task=task, columns=schema, weights=weights
    )


def part_table(data: Dataset, parts: Mapping[str, np.ndarray], test_share: float, seed: int) -> Dataset:
    """A table's Dataset parted into splits: the numbers of the rows of each, as split_rows says for share and seed."""
    assert isinstance(data.x_train, np.ndarray)
    split = TableSplit(test_share, seed, len(data.y_train), digest_of(data.x_train, data.y_train))
    return replace(data._parted(parts), split=split)


def _weights(table: Any, column: str, source: object) -> np.ndarray:
    """The weights of the rows in a column of a table. Raises DataError unless each is a number of at least 0."""
    with naming(f"weight_column: {source}", table):
        weights = numbers(plain(table.column(column), column), column)
        bad = ~(weights >= 0)
        if bad.any():
            row = int(np.argmax(bad))
            raise CellError(f"column {column!r}: the weight {weights[row]}", row, "a number of at least 0")
        if not weights.any():
            raise DataError(f"column {column!r}: all weights are 0, want some above")
    return weights


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
