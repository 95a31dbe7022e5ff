"""Layers one behind the other: whether they fit, which of them run as one program by hand, and a table of them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastff.errors import ArgumentError
from fastff.nn.layers import Layer, LinearLayer
from fastff.nn.preprocessing import Standardize
from fastff.system.arguments import check_list, check_size, shown
from fastff.system.limits import check_room

BY_HAND = ("forward", "backward", "step")  # what any layer has

COPIES = 3  # of each parameter in memory: its value and the optimizer's two moments


class Summary(str):
    """A text that notebooks and consoles show as it is."""

    def __repr__(self) -> str:
        return str(self)


def summary_of(layers: Sequence[Any]) -> Summary:
    """A line for each layer: its number, what it is, the shape of its output for N rows, and its parameters."""
    lines, width = [("", "layer", "output", "parameters")], None
    parameters, frozen = 0, 0
    for i, layer in enumerate(layers):
        own = 0
        if isinstance(layer, LinearLayer):
            own = (layer.input_dim + 1) * layer.output_dim
            frozen += 0 if layer.trainable else own
        parameters += own
        width = _width_behind(layer, width)
        lines.append((str(i), repr(layer), "(N, ?)" if width is None else f"(N, {width})", f"{own:,}" if own else ""))
    widest = [max(len(line[k]) for line in lines) for k in range(4)]
    rows = [
        f"{number:>{widest[0]}}  {what:<{widest[1]}}  {shape:<{widest[2]}}  {count:>{widest[3]}}"
        for number, what, shape, count in lines
    ]
    kept = f", {frozen:,} of them frozen" if frozen else ""
    memory = f"{4 * COPIES * parameters / 2**20:.1f} MB with the optimizer's two moments"
    return Summary("\n".join([*rows, "-" * len(rows[0]), f"{parameters:,} parameters{kept}; {memory}"]))


def check_layer_list(layers: Any) -> list[Any]:
    """The layers as a list, whatever they are. ArgumentError for what is no list."""
    return check_list("layers", layers, "a list of layers")


def check_layer(layer: Any, number: int, *needs: str) -> Any:
    """The layer at this place of a network. ArgumentError where it lacks one of these methods."""
    if isinstance(layer, type) or not all(callable(getattr(layer, name, None)) for name in needs):
        raise ArgumentError(f"layers: number {number} is {shown(layer)}, want an object with {', '.join(needs)}")
    return layer


def check_layers(layers: Iterable[Any]) -> list[Any]:
    """The layers as a list. ArgumentError where there is none, or one is no layer or does not fit the one before."""
    found, width = check_layer_list(layers), None
    if not found:
        raise ArgumentError("layers: none, want at least one")
    check_apart(found)
    for i, layer in enumerate(found):
        takes = getattr(check_layer(layer, i, *BY_HAND), "features_in", None)
        takes = takes if takes is None else check_size(f"layers: number {i}, features_in", takes)
        if None not in (width, takes) and takes != width:
            raise ArgumentError(f"layers: number {i}, {layer!r}, takes {takes} values, want {width} as before it")
        width = _width_behind(layer, width)
    return found


def check_apart(layers: Sequence[Any]) -> None:
    """ArgumentError where one of fastff's layers stands in two places: it remembers only its last forward."""
    places: dict[int, int] = {}
    for i, layer in enumerate(layers):
        first = places.setdefault(id(layer), i)
        if first != i and isinstance(layer, Layer):
            raise ArgumentError(
                f"layers: number {i} is the same object as number {first}, {layer!r}, want a layer for each place"
            )


def _width_behind(layer: Any, width: int | None) -> int | None:
    """How many values a row has behind a layer; width: in front of it, None where nobody says."""
    return layer.output_dim or layer.features_in or width if isinstance(layer, Layer) else None


def as_made(layer: Any) -> bool:
    """Whether forward, backward and step of a layer are fastff's own, of a class that consists of operations alone."""
    if not isinstance(layer, Layer) or not type(layer).saved_as or type(layer).forward is not Layer.forward:
        return False
    put = vars(layer)  # by somebody who wants to see the calls, say
    return not isinstance(layer, Standardize) and "forward" not in put and "backward" not in put and "step" not in put


def groups_by_hand(layers: list[Any], method: str, first: int = 0) -> list[tuple[bool, list[Any]]]:
    """The layers from `first` on: those that are as made together, as far as they stand side by side, and others alone.

    ArgumentError where one lacks the method.
    """
    check_apart(layers)
    groups: list[tuple[bool, list[Any]]] = []
    for i in range(first, len(layers)):
        layer = check_layer(layers[i], i, method)
        alike = as_made(layer)
        if alike and groups and groups[-1][0]:
            groups[-1][1].append(layer)
        else:
            groups.append((alike, [layer]))
    return groups


@contextmanager
def inference(network: Any) -> Iterator[None]:
    """A context in which the layers of a network change nothing at random, as in prediction."""
    layers = [layer for layer in getattr(network, "layers", []) if hasattr(layer, "training")]
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode


def hidden_widths(hidden_dim: int | Sequence[int], num_layers: int | None) -> list[int]:
    """The widths of the hidden layers, from the arguments of FeedForwardNeuralNetwork."""
    if isinstance(hidden_dim, int | np.integer):
        if num_layers is None:
            raise ArgumentError("num_layers: missing, want the number of linear layers, or a sequence as hidden_dim")
        layers = check_size("num_layers", num_layers)
        check_room(f"a network of {layers:,} layers", 4096 * layers)  # bytes, however narrow they are
        return [check_size("hidden_dim", hidden_dim)] * (layers - 1)
    if not isinstance(hidden_dim, list | tuple | np.ndarray):
        raise ArgumentError(f"hidden_dim: {shown(hidden_dim)}, want a whole number or a sequence of them")
    widths = [check_size("hidden_dim", width) for width in hidden_dim]
    if num_layers is not None and num_layers != len(widths) + 1:
        raise ArgumentError(
            f"num_layers: {num_layers}, want {len(widths) + 1} for the {len(widths)} widths of hidden_dim"
        )
    return widths
