"""load_dataset: chooses the reader for a name or a path, and says what could be read if no reader fits."""

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fastff.data import cifar
from fastff.data.arrays import NPY_NAMES, read_npy_folder, read_npz
from fastff.data.columns import TASKS, Schema
from fastff.data.dataset import Dataset, hold_out, make_dataset, make_table_dataset, part_table
from fastff.data.download import SOURCES, cache_folder, fetch
from fastff.data.idx import has_idx, read_idx_folder
from fastff.data.names import as_names, check_named, chosen_targets
from fastff.data.parquet import has_parquet, parquet_shards
from fastff.data.readers import contents
from fastff.data.shards import has_shards, read_shard_folder
from fastff.data.splits import split_rows
from fastff.data.tables import ENDINGS, as_table, is_frame, is_table, read_table, table_name
from fastff.errors import ArgumentError, DataError
from fastff.system.arguments import check_choice, check_count, check_number, shown
from fastff.system.paths import expanded

NAMES = ("digits", "cifar10-hst", "cifar10", "mnist", "fashion-mnist")
DIGITS = tuple("0123456789")
FASHION = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SEED = 10  # chooses the rows of MNIST that are held out for validation; it never changes


def load_dataset(
    name_or_path: Any,
    *,
    data_dir: str | PathLike[str] | None = None,
    target: str | Sequence[str] | None = None,
    task: str = "auto",
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    weight_column: str | None = None,
    test_share: float | None = None,
    test: str | PathLike[str] | None = None,
    split_seed: int | None = None,
) -> Dataset:
    """The Dataset of a known name, a file, a folder or a frame.

    Names: digits (inside the package), cifar10-hst, cifar10, mnist, fashion-mnist. A name goes before a path: write
    ./mnist for a folder called mnist.

    Paths: an .npz file with x_train and y_train, and x_val, y_val, x_test and y_test if there are such; a folder of
    .npy files of those names (memory-mapped); a folder of shards x_train-00000.npy, y_train-00000.npy, ..., whose rows
    stay on disk (docs/scaling.md), or of ``train-*.parquet``, which are converted to shards once; a folder with the
    course's pickles cifar10_hst_train, _val, _test; CIFAR-10's archive, packed or unpacked; a folder of IDX files; a
    table, .csv, .tsv, .csv.gz, .tsv.gz or .parquet.

    Frames: of pandas or polars, or a table of pyarrow.

    A table or a frame is one split, unless `test_share` or `test` is given.

    Parameters
    ----------
    name_or_path : str, path-like or frame
        The data.
    data_dir : str or path-like, optional
        Where the files of a name are looked for, in data_dir/NAME and in data_dir; without it they are downloaded once,
        checked by SHA-256, into the user's cache.
    target : str or sequence of str, optional
        Of a table: the column with the classes, or with the numbers to predict, of which there may be several.
    task : {"auto", "classify", "regress"}
        Of a table: what the target holds. fastff.data.columns.Schema.fit says more; the Dataset's `columns` is that
        Schema.
    drop : sequence of str, default: ()
        Of a table: columns to leave out.
    categorical : sequence of str, default: ()
        Of a table: columns whose numbers are names.
    weight_column : str, optional
        Of a table: the column that says how much each training row counts, which is no feature.
    test_share : float, optional
        Of a table: this share of its rows is the test split and a tenth of the others the validation split, the same
        share of every class; medians and texts are found in the training rows only.
    test : str or path-like, optional
        The file of another table with the test rows.
    split_seed : int, optional
        Chooses the rows of the splits; 0 if it is left out.

    Returns
    -------
    Dataset
        Its splits, checked.

    Raises
    ------
    DataError
        For data that is missing or cannot be used.
    ArgumentError
        For arguments that contradict each other.
    MissingExtra
        For tables without pyarrow.

    Examples
    --------
    >>> from fastff import load_dataset
    >>> load_dataset("digits")
    Dataset('digits', train=1257, val=180, test=360, n_features=64, n_classes=10)
    """
    check_choice("task", task, TASKS)
    options: dict[str, Any] = {"target": target, "task": task, "drop": drop, "categorical": categorical}
    held_out: dict[str, Any] = {
        "weight_column": weight_column,
        "test_share": test_share,
        "test": test,
        "split_seed": split_seed,
    }
    targets = as_names("target", [target] if isinstance(target, str) else target)
    columns = {"target": targets, "drop": as_names("drop", drop), "categorical": as_names("categorical", categorical)}
    if is_frame(name_or_path):
        if data_dir is not None:
            raise ArgumentError(f"data_dir: {data_dir} beside a frame, want it only for {', '.join(NAMES)}")
        table = as_table(name_or_path, wanted=lambda name: name not in columns["drop"])
        return _load_table("table", table, "table", options, **held_out)
    path = expanded(name_or_path, "name_or_path")
    known = name_or_path if name_or_path in NAMES else None
    shards = path.is_dir() and has_parquet(path)
    for name, value in {**options, **held_out}.items():
        said = task != "auto" if name == "task" else columns.get(name, value is not None)
        arrays = name == "task" and known is None and _has_arrays(path)
        if said and not arrays and (known or not (is_table(path) or shards)):
            raise ArgumentError(f"{name}: {shown(value)} for {name_or_path}, want it left out: it is only for tables")
        if said and shards and (name != "target" or not isinstance(value, str)):
            raise ArgumentError(
                f"{name}: {shown(value)} for the folder {path}, want one target alone, or a single table"
            )
    if data_dir is not None and known in (None, "digits"):
        beside = f"the path {name_or_path}" if known is None else f"{known}, which fastff has inside"
        files = ", ".join(name for name in NAMES if name != "digits")
        raise ArgumentError(f"data_dir: {data_dir} beside {beside}, want it only for {files}")
    if known is not None:
        return _load_known(str(known), None if data_dir is None else expanded(data_dir, "data_dir"))
    if path.is_dir():
        return _load_folder(path, target if target is None else str(target), task)
    if not path.exists():
        near = difflib.get_close_matches(str(name_or_path), NAMES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise DataError(f"{path}: no such file or folder, and not one of the names {', '.join(NAMES)}{hint}")
    if is_table(path):
        table = read_table(path, (*columns["categorical"], *targets))  # are kept as they are written
        return _load_table(table_name(path), table, path, options, **held_out)
    return _load_file(path, task)


def _load_table(
    name: str,
    table: Any,
    source: object,
    options: dict[str, Any],
    *,
    weight_column: str | None,
    test_share: float | None,
    test: str | PathLike[str] | None,
    split_seed: int | None,
) -> Dataset:
    """The Dataset of a table; the arguments are those of load_dataset."""
    share = 0.0 if test_share is None else check_number("test_share", test_share, 0.0, 1.0)
    split = test_share is not None or test is not None
    if split_seed is not None and not split:
        raise ArgumentError(f"split_seed: {split_seed}, but no rows are held out; want test_share or test beside it")
    seed = 0 if split_seed is None else check_count("split_seed", split_seed)
    if share and test is not None:
        raise ArgumentError(f"test_share: {share} beside the test rows in {test}, want one of the two")
    if weight_column is not None:
        drop = as_names("drop", options["drop"])
        targets = chosen_targets(options["target"], table.column_names, source)
        check_named("weight_column", [weight_column], table.column_names, (*targets, *drop))
        options = {**options, "drop": (*drop, weight_column)}

    parts: dict[str, np.ndarray] = {}

    def training(labels: np.ndarray, task: str) -> np.ndarray:
        if split:
            parts.update(split_rows(labels, task, share, seed, source))
        return parts["train"] if split else np.arange(len(labels))

    schema, table, labels = Schema.fit_to_part(table, options, source, training)
    data = make_table_dataset(name, table, labels, schema, source, weight_column)
    del table
    if split:
        data = part_table(data, parts, share, seed)
    return data if test is None else _with_test(data, expanded(test, "test"))


def _with_test(data: Dataset, path: Path) -> Dataset:
    """The data set of a table with the rows of another one as its test split."""
    if not is_table(path) or not path.is_file():
        raise DataError(f"test: {path} is no table, want the file of one, {', '.join(ENDINGS)}, with the test rows")
    assert data.columns is not None
    assert data.split is not None
    table, left_out = data.columns.labelled(read_table(path, data.columns.texts, data.columns.decimal), path)
    if left_out:
        warnings.warn(f"{path}: {left_out:,} rows have no target and are left out", stacklevel=4)
    x, y = data.columns.rows(table, path), data.columns.labels(table, path)
    return replace(data, x_test=x, y_test=y, split=replace(data.split, test=str(path)))


def _load_known(name: str, data_dir: Path | None) -> Dataset:
    if name == "digits":
        path = Path(__file__).with_name("digits.npz")
        return make_dataset("digits", read_npz(path), source=path, class_names=DIGITS, image_shape=(1, 8, 8))
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"data_dir: {data_dir} is not a folder, want the one with the files of {name}: {_wanted(name)}")
    if name in ("mnist", "fashion-mnist"):
        return _load_mnist(name, _mnist_folder(name, data_dir), FASHION if name == "fashion-mnist" else DIGITS)
    folders = [cache_folder("cifar10")] if data_dir is None else _candidates(data_dir, name, "cifar10")
    (packed,) = SOURCES["cifar10"][1]
    if name == "cifar10-hst":
        for folder in folders:
            if (course := _load_course(folder)) is not None:
                return course
    found = next((place for folder in folders if (place := cifar.find_cifar(folder))), None)
    # What is in the cache is checked each time, so that a damaged file is downloaded again.
    if data_dir is None and (found is None or found.name == packed):
        found = fetch("cifar10", name, _wanted(name)) / packed
    if found is None:
        raise _none_found(name, folders)
    return cifar.load_hst(found) if name == "cifar10-hst" else cifar.load_cifar10(found)


def _wanted(name: str) -> str:
    """The files of a named data set, for a person."""
    files = ", ".join(SOURCES["cifar10" if name == "cifar10-hst" else name][1])
    if not name.startswith("cifar10"):
        return files
    course = f", or {', '.join(cifar.COURSE.values())}, or {cifar.COURSE_NPZ}" if name == "cifar10-hst" else ""
    return f"{files} (unpacked too, or the binary version){course}"


def _none_found(name: str, folders: Sequence[Path]) -> DataError:
    looked = ", ".join(map(str, folders))
    return DataError(f"data_dir: {folders[-1]} has no files of {name}, want {_wanted(name)}; looked in {looked}")


def _has_arrays(path: Path) -> bool:
    """Whether a path is an .npz file or a folder of .npy files, of anybody's."""
    if path.suffix.lower() == ".npz" and path.is_file():
        return path.name != cifar.COURSE_NPZ
    return path.is_dir() and not has_shards(path) and bool(NPY_NAMES & contents(path))


def _load_folder(folder: Path, target: str | None, task: str) -> Dataset:
    if has_shards(folder):
        return make_dataset(folder.resolve().name, read_shard_folder(folder), source=folder)
    if has_parquet(folder):
        shards, names = parquet_shards(folder, target)
        return make_dataset(folder.resolve().name, read_shard_folder(shards), source=folder, class_names=names)
    if NPY_NAMES & contents(folder):
        return make_dataset(folder.resolve().name, read_npy_folder(folder), source=folder, task=task)
    if (course := _load_course(folder)) is not None:
        return course
    found = cifar.find_cifar(folder)
    if found is not None:
        return cifar.load_cifar10(found)
    if has_idx(folder):
        return _load_mnist(folder.resolve().name, folder, None)
    raise DataError(
        f"{folder}: no data found, want x_train.npy and y_train.npy, {', '.join(cifar.COURSE.values())}, "
        "CIFAR-10's batches or archive, or IDX files such as train-images-idx3-ubyte.gz"
    )


def _load_file(path: Path, task: str = "auto") -> Dataset:
    suffix = path.suffix.lower()
    if path.name == cifar.COURSE_NPZ:
        return cifar.make_hst(read_npz(path), path)
    if suffix == ".npz":
        return make_dataset(path.stem, read_npz(path), source=path, task=task)
    if path.name.lower().endswith((".tar", ".tar.gz", ".tgz")):
        return cifar.load_cifar10(path)
    raise DataError(
        f"{path}: a file of an unknown kind, want .npz, {', '.join(ENDINGS)}, CIFAR-10's .tar.gz, or a folder of .npy "
        "files, IDX files or the course's pickles"
    )


def _load_course(folder: Path) -> Dataset | None:
    """The course's data set in a folder, from its .npz file or else its pickles; None if it has neither."""
    present = contents(folder)
    if cifar.COURSE_NPZ in present:
        return _load_file(folder / cifar.COURSE_NPZ)
    if present.intersection(cifar.COURSE.values()):
        return cifar.make_hst(cifar.read_course_folder(folder), folder)
    return None


def _mnist_folder(name: str, data_dir: Path | None) -> Path:
    if data_dir is None:
        return fetch(name, name, _wanted(name))
    folders = _candidates(data_dir, name)
    found = next((folder for folder in folders if has_idx(folder)), None)
    if found is None:
        raise _none_found(name, folders)
    return found


def _load_mnist(name: str, folder: Path, class_names: Sequence[str] | None) -> Dataset:
    """55,000 of 60,000 rows to train and 5,000 to validate, other numbers in proportion; the test rows to test."""
    splits, image_shape = read_idx_folder(folder)
    rows = len(splits["train"][1])
    if rows != len(splits["train"][0]):
        raise DataError(f"{folder}: {rows} training labels for {len(splits['train'][0])} pictures, want one a picture")
    splits["train"], splits["val"] = hold_out(*splits["train"], max(1, rows // 12), SEED)
    return make_dataset(name, splits, source=folder, class_names=class_names, image_shape=image_shape)


def _candidates(data_dir: Path, *names: str) -> list[Path]:
    # data_dir/NAME comes first: data_dir may hold MNIST, and data_dir/fashion-mnist files of the same names.
    return [*(data_dir / name for name in dict.fromkeys(names)), data_dir]
