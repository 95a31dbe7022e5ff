"""Loads a trained model for the commands: a network or an ensemble, with its class names and the shape of pictures."""

import dataclasses
import math
import os
from typing import Any

import numpy as np

from fastff.data.columns import Schema
from fastff.data.splits import TableSplit, split_from
from fastff.data.tables import is_table
from fastff.errors import ArgumentError, DataError
from fastff.nn.ensemble import Ensemble
from fastff.nn.loss import LOSSES
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.targets import TargetExp
from fastff.runs.folder import BEST, ENSEMBLE, no_run
from fastff.runs.regression import output_names
from fastff.system import checkpoint
from fastff.system.paths import expanded


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A trained network or ensemble, a name for each class, and (channels, height, width) if its rows are pictures.

    columns: of a model that was trained on a table, what the table's columns are; otherwise None. split: which of its
    rows were held out, if any. loss: by which it was trained.

    A model that predicts numbers has no classes.
    """

    network: FeedForwardNeuralNetwork | Ensemble
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    columns: Schema | None = None
    split: TableSplit | None = None
    loss: str = "cross_entropy"

    @property
    def task(self) -> str:
        """ "classify" or "regress"."""
        return self.network.task

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the numbers that are predicted: of a table its targets."""
        return output_names(None if self.columns is None else self.columns.target, self.network.output_dim or 0)

    def predict_proba(self, frame: Any) -> np.ndarray:
        """The probability of each class, float32 (N, classes), for the rows of a frame whose columns go by name."""
        return self.network.predict_proba(self._rows(frame, "predict_proba"))

    def predict(self, frame: Any) -> np.ndarray:
        """The name of the most likely class of each row of a frame whose columns go by name: an array of texts (N,).

        Of a model that predicts numbers, the numbers: float64 (N,), or (N, outputs) for several targets.
        """
        if self.task == "regress":
            return self.network.predict(self._rows(frame, "predict"))
        return np.array(self.class_names)[self.network.predict(self._rows(frame, "predict"))]

    def _rows(self, frame: Any, method: str) -> np.ndarray:
        if self.columns is None:
            raise ArgumentError(f"frame: the model was not trained on a table, want network.{method} of an array")
        return self.columns.rows(frame, "frame")


def load_model(place: str | os.PathLike[str]) -> TrainedModel:
    """The model in `place`: the best network in a run's folder, the ensemble in a folder of --seeds, or a saved file.

    Parameters
    ----------
    place : str or path-like
        The folder or the file.

    Returns
    -------
    TrainedModel
        The network, with the names of the classes and, of a model that was trained on a table, its columns. Its methods
        predict and predict_proba take frames, whose columns go by name.

    Raises
    ------
    DataError
        Where it is missing or damaged.
    """
    base = expanded(place)
    a_file = base.is_file()
    places = [base] if a_file else [base / name for name in (BEST, ENSEMBLE)]
    path = next((path for path in places if path.exists()), None)
    if path is None or (a_file and (is_table(base) or base.suffix.lower() in (".npy", ".npz"))):
        raise no_run(place, BEST)
    arrays, metadata = checkpoint.load(path)
    network: FeedForwardNeuralNetwork | Ensemble
    if "networks" in metadata:
        network = Ensemble.holding(arrays, metadata, path)
    else:
        network = FeedForwardNeuralNetwork.holding(arrays, metadata.get("layers"), path, metadata)
    count = network.output_dim or 0 if network.task == "classify" else 0
    if a_file:  # save() of a network or an ensemble need not name the classes
        metadata.setdefault("class_names", [str(i) for i in range(count)])
    names, shape = metadata.get("class_names"), metadata.get("image_shape")
    if not isinstance(names, list) or len(names) != count:
        raise DataError(f"{path}: class_names {names!r}, want {count} names")
    if shape is not None and not _is_shape(shape, network.input_dim):
        raise DataError(f"{path}: image_shape {shape!r}, want (channels, height, width) of {network.input_dim} values")
    columns = metadata.get("columns")
    schema = None if columns is None else Schema.from_description(columns, path)
    if schema is not None and (list(schema.class_names), len(schema.feature_names)) != (names, network.input_dim):
        raise DataError(
            f"{path}: a table's columns with {len(schema.feature_names)} features, which the network has not"
        )
    if schema is not None and (schema.task, count or network.output_dim) != (network.task, count or len(schema.target)):
        raise DataError(f"{path}: a table with other targets than the network, {len(schema.target)} to {schema.task}")
    usual = {"classify": "cross_entropy", "regress": "squared_error"}[network.task]
    if isinstance(network, FeedForwardNeuralNetwork) and isinstance(network.layers[-1], TargetExp):
        usual = "poisson"
    loss = metadata.get("loss", usual)
    if loss not in LOSSES or (LOSSES[loss].task != network.task):
        raise DataError(f"{path}: loss {loss!r}, want one to {network.task}")
    split = None if metadata.get("split") is None else split_from(metadata["split"], path)
    image_shape = None if shape is None else (shape[0], shape[1], shape[2])
    return TrainedModel(network, tuple(names), image_shape, schema, split, loss)


def _is_shape(shape: Any, values: int | None) -> bool:
    whole = isinstance(shape, list) and len(shape) == 3 and all(isinstance(side, int) for side in shape)
    return whole and math.prod(shape) == values
