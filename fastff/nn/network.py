"""A stack of layers: called by hand it runs them one by one, and it lowers them into one program where it can."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastff.data.rows import Rows, check_rows
from fastff.engine.context import ALONE, RunContext
from fastff.engine.program import Lanes, Program
from fastff.errors import ArgumentError, DataError
from fastff.nn import predictor
from fastff.nn.layers import Layer, LinearLayer, ReLU, Sigmoid, Standardize, Tanh
from fastff.nn.optim import Adam, Optimizer, check_optimizer
from fastff.nn.predictor import Predictor
from fastff.nn.random_layers import Augment, Dropout
from fastff.nn.whiten import Whiten
from fastff.system import checkpoint
from fastff.system.arguments import check_seed, check_size
from fastff.system.blocks import Sliceable
from fastff.system.limits import check_room

PREDICT_ROWS = 1024  # rows that predict takes through the network at a time


class _LoadMethod:
    """`load` on the class makes a network; on a network it replaces that network's layers, and returns it."""

    def __get__(self, network: "FeedForwardNeuralNetwork | None", kind: type["FeedForwardNeuralNetwork"]) -> Any:
        return (kind.__new__(kind) if network is None else network)._load


class FeedForwardNeuralNetwork:
    """num_layers linear layers with a ReLU between each two: input_dim -> hidden_dim -> ... -> output_dim logits.

    hidden_dim is one width for all hidden layers, or a sequence of num_layers - 1 widths (then num_layers may be left
    out). `layers` is an ordinary list: put a Standardize first or a Dropout between as you like. optimizer: Adam() if
    None. A seed makes the initial weights reproducible.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        hidden_dim: int | Sequence[int],
        num_layers: int | None = None,
        *,
        optimizer: Optimizer | None = None,
        seed: int | None = None,
    ) -> None:
        check_seed(seed)
        hidden = _hidden_widths(hidden_dim, num_layers)
        widths = [check_size("input_dim", input_dim), *hidden, check_size("output_dim", output_dim)]
        sizes = itertools.pairwise(widths)
        count = sum((n_in + 1) * n_out for n_in, n_out in sizes)
        check_room(f"a network of {count:,} parameters", 3 * 4 * count)  # and their two moments
        seeds = np.random.SeedSequence(seed).spawn(len(widths) - 1)
        self.layers: list[Any] = []
        for i, own_seed in enumerate(seeds):
            self.layers += [LinearLayer(widths[i], widths[i + 1], seed=own_seed), ReLU()]
        self.layers.pop()
        self.optimizer: Optimizer = Adam() if optimizer is None else check_optimizer(optimizer)

    @property
    def input_dim(self) -> int | None:
        """The width of the rows that forward takes; None where the layers don't say."""
        known = itertools.takewhile(lambda layer: isinstance(layer, Layer), self.layers)
        return next((layer.features_in for layer in known if layer.features_in is not None), None)

    @property
    def output_dim(self) -> int | None:
        """The number of logits; None where the layers don't say."""
        known = itertools.takewhile(lambda layer: isinstance(layer, Layer), reversed(self.layers))
        return next((layer.output_dim for layer in known if isinstance(layer, LinearLayer | Whiten)), None)

    @property
    def linear_layers(self) -> list[LinearLayer]:
        return [layer for layer in self.layers if isinstance(layer, LinearLayer)]

    @property
    def parameter_count(self) -> int:
        """Weights and biases, together."""
        return sum((layer.input_dim + 1) * layer.output_dim for layer in self.linear_layers)

    # --- by hand ---

    def forward(self, X: np.ndarray) -> np.ndarray:
        """The logits (B, output_dim) of the rows X (B, input_dim)."""
        for layer in self.layers:
            X = layer.forward(X)
        return X

    def backward(self, grad: np.ndarray) -> None:
        """Take dL/dlogits (B, output_dim) of the last forward back through all layers."""
        first = next(
            (i for i, layer in enumerate(self.layers) if not isinstance(layer, Augment | Standardize | Whiten)), 0
        )
        for i in range(len(self.layers) - 1, first - 1, -1):
            layer = self.layers[i]
            if i == first and isinstance(layer, LinearLayer):  # nobody needs the gradient of the data
                layer.backward(grad, input_gradient=False)
            else:
                grad = layer.backward(grad)

    def step(self, step_size: float = 0.001) -> None:
        """Move every layer's parameters against the gradient of the last backward."""
        for layer in self.layers:
            if isinstance(layer, LinearLayer):
                layer.optimizer = self.optimizer
            layer.step(step_size)

    # --- as one program ---

    def lowers(self) -> bool:
        """Whether the whole network can be one program: built-in layers, those on raw rows only in front."""
        raw = self._raw_layers()
        return all(type(layer) in _NAMES.values() for layer in self.layers) and not any(
            isinstance(layer, Augment | Standardize) for layer in self.layers[len(raw) :]
        )

    def lower_forward(self, program: Program, X: Rows, *, training: bool) -> tuple[Lanes, list[Any]]:
        """Add the way from rows X to logits to the program; returns the logits, and what lower_backward needs."""
        raw = self._raw_layers()
        in_batch = training and any(isinstance(layer, Augment) for layer in raw)
        for layer in raw:
            if in_batch and isinstance(layer, Augment):
                X = layer.lower_rows(program, X)
        last = raw[-1] if raw else None
        if isinstance(last, Standardize):
            x = last.gather(program, X, in_batch=in_batch)
        else:
            x = program.gather(X, in_batch=in_batch)
        saved: list[Any] = [None] * len(raw)
        for layer in self.layers[len(raw) :]:
            x, kept = layer.lower_forward(program, x, training=training)
            saved.append(kept)
        return x, saved

    def _raw_layers(self) -> list[Any]:
        """The layers in front that work on raw rows: an Augment, a Standardize, or both in this order."""
        front = [type(layer) for layer in self.layers[:2]]
        for kinds in ([Augment, Standardize], [Augment], [Standardize]):
            if front[: len(kinds)] == kinds:
                return self.layers[: len(kinds)]
        return []

    def lower_backward(self, program: Program, g: Lanes, saved: list[Any]) -> None:
        """Add the way back from the logits' gradient, with every layer's update."""
        trained = [i for i, layer in enumerate(self.layers) if isinstance(layer, LinearLayer)]
        for i in range(len(self.layers) - 1, (trained[0] if trained else len(self.layers)) - 1, -1):
            layer = self.layers[i]
            if i == trained[0]:  # nobody needs the gradient of the data
                layer.lower_update(program, saved[i], program.transpose(g))
            else:
                g = layer.lower_backward(program, g, saved[i])

    # --- prediction ---

    def logits(self, X: Rows, *, context: RunContext = ALONE) -> np.ndarray:
        """The logits (N, output_dim) of raw rows X (N, input_dim), without dropout."""
        few = self.__dict__.pop("_few", None)  # taken out while it is used, so that another thread makes its own
        if few is not None and isinstance(X, np.ndarray) and few.fits(self, X):
            return self._through(few, X)
        X = check_rows(X, "X", features=self.input_dim)
        if not self.lowers():
            with inference(self):
                return np.concatenate([self.forward(X[i : i + PREDICT_ROWS]) for i in range(0, len(X), PREDICT_ROWS)])
        if len(X) <= predictor.ROWS:
            rows = X[:]  # of Shards an array
            return self._through(Predictor(self, rows), rows)
        program = Program(min(len(X), PREDICT_ROWS))
        z, _ = self.lower_forward(program, X, training=False)
        out = program.scatter(z, len(X))
        program.run(np.arange(len(X)), context=context)
        return out

    def _through(self, few: Predictor, X: np.ndarray) -> np.ndarray:
        z = few(X)
        self._few = few  # back in its place only now that it is free
        return z

    def predict(self, X: Rows) -> np.ndarray:
        """The most likely class of each row: int64 (N,)."""
        return self.logits(X).argmax(1)

    def predict_proba(self, X: Rows, *, context: RunContext = ALONE) -> np.ndarray:
        """The probability of each class: float32 (N, output_dim), rows summing to 1."""
        z = self.logits(X, context=context)
        z -= z.max(1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(1, keepdims=True)
        return z

    def __getstate__(self) -> dict[str, Any]:
        # a copy must not keep the addresses of the original's memory
        return {name: value for name, value in self.__dict__.items() if name != "_few"}

    # --- on disk ---

    def parameters(self, out: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Copies of all weights "0.weight" (in, out) and biases "0.bias" (out,), by the layer's place in `layers`.

        out: an earlier result, whose arrays are written over instead of making new ones.
        """
        pairs = {}
        for i, layer in enumerate(self.layers):
            if isinstance(layer, LinearLayer):
                pairs[i] = layer.parameters(None if out is None else (out[f"{i}.weight"], out[f"{i}.bias"]))
        return _named(pairs)

    def set_parameters(self, parameters: Mapping[str, Sliceable]) -> None:
        """Give the linear layers copies of the weights and biases named as in parameters()."""
        for i, layer in enumerate(self.layers):
            if isinstance(layer, LinearLayer):
                layer.weights, layer.bias = parameters[f"{i}.weight"], parameters[f"{i}.bias"]

    def state(self) -> tuple[dict[str, Sliceable], list[dict[str, Any]]]:
        """All arrays that the network is made of, by name, to be read before they change; its layers' description."""
        pairs = {i: layer.state() for i, layer in enumerate(self.layers) if isinstance(layer, LinearLayer)}
        arrays: dict[str, Sliceable] = _named(pairs)
        description = []
        for i, layer in enumerate(self.layers):
            name = next((name for name, kind in _NAMES.items() if type(layer) is kind), None)
            if name is None:
                raise ArgumentError(
                    f"layers[{i}]: {type(layer).__name__} is not one of fastff's layers and can't be saved"
                )
            entry: dict[str, Any] = {"layer": name}
            if isinstance(layer, Standardize):
                arrays[f"{i}.mean"], arrays[f"{i}.std"] = layer.mean, layer.std
            elif isinstance(layer, Whiten):
                arrays[f"{i}.projection"], arrays[f"{i}.shift"] = layer.projection, layer.shift
            elif isinstance(layer, Dropout):
                entry["rate"] = layer.rate
            elif isinstance(layer, Augment):
                entry |= {"image_shape": list(layer.image_shape), "mirror": layer.mirror, "shift": layer.shift}
            description.append(entry)
        return arrays, description

    def save(self, path: str) -> None:
        """Write layers and parameters to a safetensors file, whole or not at all."""
        arrays, description = self.state()
        checkpoint.save(path, arrays, {"layers": description})

    load = _LoadMethod()

    def _load(self, path: str) -> "FeedForwardNeuralNetwork":
        """The network that `save` wrote to path. Raises DataError if the file is not such a one."""
        arrays, metadata = checkpoint.load(path)
        self.layers = layers_from(arrays, metadata.get("layers"), path)
        self.optimizer = getattr(self, "optimizer", Adam())
        return self


class inference:
    """A context in which the network's layers don't drop anything."""

    def __init__(self, network: Any) -> None:
        self.layers = [layer for layer in getattr(network, "layers", []) if hasattr(layer, "training")]

    def __enter__(self) -> None:
        self.modes = [layer.training for layer in self.layers]
        for layer in self.layers:
            layer.training = False

    def __exit__(self, *_: object) -> None:
        for layer, mode in zip(self.layers, self.modes, strict=True):
            layer.training = mode


_NAMES: dict[str, type[Layer]] = {
    "augment": Augment,
    "standardize": Standardize,
    "whiten": Whiten,
    "linear": LinearLayer,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "dropout": Dropout,
}


def _named(pairs: Mapping[int, tuple[Any, Any]]) -> dict[str, Any]:
    """Weights and biases by their names in files, given those of each linear layer by its place: weights first."""
    return {f"{i}.{kind}": pair[j] for j, kind in enumerate(("weight", "bias")) for i, pair in pairs.items()}


def network_from(arrays: dict[str, np.ndarray], description: Any, path: object) -> FeedForwardNeuralNetwork:
    """The network of layers_from."""
    network = FeedForwardNeuralNetwork.__new__(FeedForwardNeuralNetwork)
    network.layers, network.optimizer = layers_from(arrays, description, path), Adam()
    return network


def layers_from(arrays: dict[str, np.ndarray], description: Any, path: object) -> list[Layer]:
    """The layers that a file's arrays and description stand for; DataError naming the file where they don't fit."""

    def array(name: str) -> np.ndarray:
        if name not in arrays:
            raise DataError(f"{path}: has no array {name!r}")
        return arrays[name]

    if not isinstance(description, list) or not description:
        raise DataError(f"{path}: has no list of layers; is it a network that fastff saved?")
    layers: list[Layer] = []
    width: int | None = None
    for i, entry in enumerate(description):
        name = entry.get("layer") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name not in _NAMES:
            raise DataError(f"{path}: layer {i} is {name!r}, want one of {', '.join(_NAMES)}")
        try:
            if name == "linear":
                layer: Layer = LinearLayer.holding(array(f"{i}.weight"), array(f"{i}.bias"))
            elif name == "standardize":
                layer = Standardize(array(f"{i}.mean"), array(f"{i}.std"))
            elif name == "whiten":
                layer = Whiten(array(f"{i}.projection"), array(f"{i}.shift"))
            else:
                layer = _NAMES[name](**{key: value for key, value in entry.items() if key != "layer"})
        except (ArgumentError, TypeError) as error:
            raise DataError(f"{path}: layer {i} ({name}): {error}") from None
        if width is not None and layer.features_in not in (None, width):
            raise DataError(f"{path}: layer {i} ({name}) takes {layer.features_in} values, want {width} as before it")
        layers.append(layer)
        width = getattr(layer, "output_dim", None) or layer.features_in or width
    if width is None:
        raise DataError(f"{path}: no layer says how wide it is; is it a network that fastff saved?")
    return layers


def _hidden_widths(hidden_dim: int | Sequence[int], num_layers: int | None) -> list[int]:
    if isinstance(hidden_dim, int | np.integer):
        if num_layers is None:
            raise ArgumentError("num_layers: missing, want the number of linear layers, or a sequence as hidden_dim")
        layers = check_size("num_layers", num_layers)
        check_room(f"a network of {layers:,} layers", 4096 * layers)  # however narrow they are
        return [check_size("hidden_dim", hidden_dim)] * (layers - 1)
    if not isinstance(hidden_dim, list | tuple | np.ndarray):
        raise ArgumentError(f"hidden_dim: {hidden_dim!r}, want a whole number or a sequence of them")
    widths = [check_size("hidden_dim", width) for width in hidden_dim]
    if num_layers is not None and num_layers != len(widths) + 1:
        raise ArgumentError(
            f"num_layers: {num_layers}, want {len(widths) + 1} for the {len(widths)} widths of hidden_dim"
        )
    return widths
