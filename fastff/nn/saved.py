"""Layers as a file holds them, and layers from a file: named arrays, and a list that describes each layer.

A network is saved as arrays such as "0.weight" and "2.mean", named by the layer's place and by what its class calls
them, and as a list with one entry for each layer, {"layer": "dropout", "rate": 0.5}, which has the class's name in
files and the layer's settings. fastff.nn.layers.Layer says how a class takes part. Here all names of arrays are made.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastff.errors import ArgumentError, DataError
from fastff.nn.layers import LAYERS, Layer, LinearLayer
from fastff.system.blocks import Sliceable

BEST = "best."  # begins the names of the best epoch's parameters in a trainer's state
AVERAGE = "average."  # and of the parameters' moving averages


def array_name(place: int, name: str) -> str:
    """The name in files of an array of the layer at this place in the network: "0.weight"."""
    return f"{place}.{name}"


def moment_name(parameter: str, j: int) -> str:
    """The name in files of the first (j = 0) or second (j = 1) moment of a parameter: "0.weight.moment1"."""
    return f"{parameter}.moment{j + 1}"


def named_parameters(layers: Sequence[Any]) -> Iterator[tuple[LinearLayer, str, str]]:
    """Each linear layer of a network, with the names of its weights and of its bias: "0.weight", "0.bias"."""
    for i, layer in enumerate(layers):
        if isinstance(layer, LinearLayer):
            yield layer, array_name(i, "weight"), array_name(i, "bias")


def contents(layers: Sequence[Any]) -> tuple[dict[str, Sliceable], list[dict[str, Any]]]:
    """The arrays of these layers by name, to be read before they change, and the list that describes the layers.

    Raises ArgumentError for a layer whose class can't be saved.
    """
    arrays: dict[str, Sliceable] = {}
    description = []
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer) or not type(layer).saved_as:
            raise ArgumentError(f"layers[{i}]: {type(layer).__name__} is not one of fastff's layers and can't be saved")
        arrays |= {array_name(i, name): array for name, array in layer.arrays().items()}
        description.append({"layer": type(layer).saved_as, **layer.settings()})
    return arrays, description


def layers_from(arrays: Mapping[str, np.ndarray], description: Any, path: object) -> list[Layer]:
    """The layers with these contents(), which the file at path holds.

    Raises DataError, naming the file, where an array is missing, or anything does not fit.
    """
    if not isinstance(description, list) or not description:
        raise DataError(f"{path}: has no list of layers; is it a network that fastff saved?")
    layers: list[Layer] = []
    width: int | None = None
    for i, entry in enumerate(description):
        name = entry.get("layer") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name not in LAYERS:
            raise DataError(f"{path}: layer {i} is {name!r}, want one of {', '.join(LAYERS)}")
        missing = [own for own in LAYERS[name].array_names if array_name(i, own) not in arrays]
        if missing:
            raise DataError(f"{path}: has no array {array_name(i, missing[0])!r}")
        own = {own: arrays[array_name(i, own)] for own in LAYERS[name].array_names}
        try:
            layer = LAYERS[name].holding(**own, **{key: value for key, value in entry.items() if key != "layer"})
        except (ArgumentError, TypeError) as error:
            raise DataError(f"{path}: layer {i} ({name}): {error}") from None
        if width is not None and layer.features_in not in (None, width):
            raise DataError(f"{path}: layer {i} ({name}) takes {layer.features_in} values, want {width} as before it")
        layers.append(layer)
        width = layer.output_dim or layer.features_in or width
    if width is None:
        raise DataError(f"{path}: no layer says how wide it is; is it a network that fastff saved?")
    return layers


def task_in(notes: Mapping[str, Any], path: object) -> str:
    """The task in what the file at path holds beside layers; DataError, naming it, where there can be no such one."""
    task = notes.get("task", "classify")
    if task not in ("classify", "regress"):
        raise DataError(f"{path}: task {task!r}, want classify or regress")
    return str(task)


class LoadMethod:
    """`load` of the class returns a new network; `load` of a network replaces its layers, and returns that network."""

    def __get__(self, network: Any, kind: Any) -> Any:
        return (kind.__new__(kind) if network is None else network)._load
