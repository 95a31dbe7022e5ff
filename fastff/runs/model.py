"""Loads a trained model for the commands: a network or an ensemble, with its class names and the shape of pictures."""

import dataclasses
import math
import os
from typing import Any

import numpy as np

from fastff.data.columns import Schema
from fastff.data.splits import TableSplit, split_from
from fastff.errors import ArgumentError, DataError
from fastff.nn.ensemble import Ensemble
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.runs.folder import BEST, ENSEMBLE
from fastff.system import checkpoint
from fastff.system.paths import expanded


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A trained network or ensemble, a name for each class, and (channels, height, width) if its rows are pictures.

    columns: of a model that was trained on a table, what the table's columns are; otherwise None. split: which of its
    rows were held out, if any.
    """

    network: FeedForwardNeuralNetwork | Ensemble
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    columns: Schema | None = None
    split: TableSplit | None = None

    def predict_proba(self, frame: Any) -> np.ndarray:
        """The probability of each class, float32 (N, classes), for the rows of a frame whose columns go by name."""
        if self.columns is None:
            raise ArgumentError("frame: the model was not trained on a table, want network.predict_proba of an array")
        return self.network.predict_proba(self.columns.rows(frame, "frame"))

    def predict(self, frame: Any) -> np.ndarray:
        """The name of the most likely class of each row of a frame whose columns go by name: an array of texts (N,)."""
        return np.array(self.class_names)[self.predict_proba(frame).argmax(1)]


def load_model(place: str | os.PathLike[str]) -> TrainedModel:
    """The model in `place`: the best network in a run's folder, the ensemble in a folder of --seeds, or a saved file.

    Raises DataError where it is missing or damaged.
    """
    base = expanded(place)
    a_file = base.is_file()
    places = [base] if a_file else [base / name for name in (BEST, ENSEMBLE)]
    path = next((path for path in places if path.exists()), None)
    if path is None:
        raise DataError(f"{place}: has no {BEST}, want the folder of a run")
    arrays, metadata = checkpoint.load(path)
    network: FeedForwardNeuralNetwork | Ensemble
    if "networks" in metadata:
        network = Ensemble.holding(arrays, metadata, path)
    else:
        network = FeedForwardNeuralNetwork.holding(arrays, metadata.get("layers"), path)
    if a_file:  # save() of a network or an ensemble need not name the classes
        metadata.setdefault("class_names", [str(i) for i in range(network.output_dim or 0)])
    names, shape = metadata.get("class_names"), metadata.get("image_shape")
    if not isinstance(names, list) or len(names) != network.output_dim:
        raise DataError(f"{path}: class_names {names!r}, want {network.output_dim} names")
    if shape is not None and not _is_shape(shape, network.input_dim):
        raise DataError(f"{path}: image_shape {shape!r}, want (channels, height, width) of {network.input_dim} values")
    columns = metadata.get("columns")
    schema = None if columns is None else Schema.from_description(columns, path)
    if schema is not None and (list(schema.class_names), len(schema.feature_names)) != (names, network.input_dim):
        raise DataError(
            f"{path}: a table's columns with {len(schema.feature_names)} features, which the network has not"
        )
    split = None if metadata.get("split") is None else split_from(metadata["split"], path)
    image_shape = None if shape is None else (shape[0], shape[1], shape[2])
    return TrainedModel(network, tuple(names), image_shape, schema, split)


def _is_shape(shape: Any, values: int | None) -> bool:
    whole = isinstance(shape, list) and len(shape) == 3 and all(isinstance(side, int) for side in shape)
    return whole and math.prod(shape) == values
