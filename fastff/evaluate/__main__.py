"""python -m fastff.evaluate RUN_DIR DATASET: prints the loss and accuracy of a trained network as JSON."""

import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fastff import command
from fastff.data import load_dataset
from fastff.data.columns import Schema
from fastff.data.load import NAMES
from fastff.data.rows import Shards, check_finite, check_labels, check_rows, target_array
from fastff.data.splits import TableSplit
from fastff.data.tables import ENDINGS, is_table, read_table
from fastff.errors import ArgumentError, DataError
from fastff.nn.views import Views
from fastff.runs.config import DataSet, Folder, Name
from fastff.runs.model import TrainedModel, load_model
from fastff.runs.regression import all_figures
from fastff.system import elementary
from fastff.system.options import Flag
from fastff.system.paths import HasPaths
from fastff.training.figures import class_figures


@dataclass(frozen=True)
class Options(HasPaths):
    """Print how good a run's best network is on a data set, as JSON: mean cross-entropy (loss), accuracy,
    balanced accuracy, area under the ROC curve (auc; the mean over the classes, null where one of them has no row), and
    the number of rows (n).

    Of numbers to predict: the mean loss, as in training; rmse, mae and r2 in the targets' units; number of rows.

    Example: fastff evaluate runs/digits digits --split val
    """

    run_dir: command.RunDir
    dataset: DataSet
    """The name of a known data set, or a path, as for fastff train."""
    data_dir: Folder = None
    """The folder with the files of a named data set; without it they are downloaded, once."""
    target: Name = None
    """The column of a table that holds the class or number, where it is called otherwise than in training."""
    split: Literal["train", "val", "test"] | None = None
    """The rows to use. Of the table of the training those that were held out to test or to validate, or the others;
    without --split all rows of a table, and of other data sets the test rows. Rows are not weighted."""
    tta: Flag = False
    """Average the probabilities of 2, 9 or 18 versions of each picture, which takes as many times as long: mirrored or
    not, and moved by up to 2 pixels in eight directions, as far as the network was trained on such pictures. The JSON
    says of which."""


@command.takes(Options, "evaluate")
def main(options: Options) -> None:
    model = load_model(options.run_dir)
    rows, labels = _table(options, model, model.columns) if model.columns is not None else _arrays(options, model)
    if model.task == "regress":
        if options.tta:
            raise DataError(f"{options.run_dir}: --tta changes pictures, want it left out for numbers to predict")
        found = all_figures(model.network, model.loss, labels, model.network.predict(rows))
        print(json.dumps({**found, "n": len(labels)}))
        return
    said: dict[str, Any] = {}
    if options.tta:
        views = Views.of(model.network, model.image_shape)
        if views is None:
            raise DataError(f"{options.run_dir}: --tta changes pictures, want a network that was trained on pictures")
        probabilities, said = views.predict_proba(model.network, rows), {"tta": str(views)}
    else:
        probabilities = model.network.predict_proba(rows).astype(np.float64)
    chosen = probabilities[np.arange(len(labels)), labels]
    figures = {
        "loss": math.fsum(-elementary.log(np.maximum(chosen, np.finfo(np.float64).tiny))) / len(labels),
        "accuracy": float((probabilities.argmax(1) == labels).mean()),
        **class_figures(labels, probabilities),
        "n": len(labels),
        **said,
    }
    print(json.dumps(figures))


def _table(options: Options, model: TrainedModel, columns: Schema) -> tuple[Any, np.ndarray]:
    """The rows and labels of a table, for a model that was trained on one."""
    path = Path(options.dataset)
    if options.dataset in NAMES or not is_table(path):
        raise DataError(f"{options.dataset}: want a table, {', '.join(ENDINGS)}, as the model was trained on one")
    if options.data_dir is not None:
        raise ArgumentError(f"--data-dir: {options.data_dir} beside a table, want it left out")
    own = () if options.target is None else (options.target,)
    table = read_table(path, (*columns.texts, *own), columns.decimal)
    table, left_out = columns.labelled(table, path, options.target)
    if left_out:
        of = table.num_rows + left_out
        warnings.warn(f"{path}: {left_out:,} of {of:,} rows have no label and are left out", stacklevel=1)
    rows, labels = columns.rows(table, path), columns.labels(table, path, options.target)
    if options.split is None:
        return rows, labels
    chosen = _held_out(options, model.split, rows, labels, columns.task)
    return rows[chosen], labels[chosen]


def _held_out(
    options: Options, split: TableSplit | None, rows: np.ndarray, labels: np.ndarray, task: str
) -> np.ndarray:
    """The numbers of the rows of the table of the training that were in the chosen split."""
    if split is None:
        raise DataError(f"{options.run_dir}: has no record of what was held out of its table, want --split left out")
    if options.split == "test" and not split.test_share:
        cure = f"want {split.test} without --split" if split.test else "want another --split"
        raise DataError(f"{options.run_dir}: no test rows were held out of its table, {cure}")
    return split.of(rows, labels, task, options.dataset)[options.split or "test"]


def _arrays(options: Options, model: TrainedModel) -> tuple[Any, np.ndarray]:
    """The rows and labels of the chosen split of a data set."""
    if is_table(Path(options.dataset)):
        raise DataError(f"{options.dataset}: a table, but the model was trained without names of columns, want arrays")
    task = "regress" if model.task == "regress" else "auto"
    data = load_dataset(options.dataset, data_dir=options.data_dir, target=options.target, task=task)
    split = options.split or "test"
    rows, labels = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
    if rows is None:
        have = ", ".join(s for s in ("train", "val", "test") if getattr(data, f"x_{s}") is not None)
        raise DataError(f"{options.dataset}: has no {split} split, want --split with one of {have}")
    rows = check_rows(rows, options.dataset, features=model.network.input_dim)
    if split == "train" and isinstance(rows, Shards):  # loading does not check the values of training shards
        check_finite(rows, options.dataset)
    if model.task == "regress":
        return rows, target_array(labels, f"{options.dataset} labels", rows=len(rows), outputs=len(model.outputs))
    return rows, check_labels(labels, f"{options.dataset} labels", rows=len(rows), classes=len(model.class_names))


if __name__ == "__main__":
    command.run(main)
