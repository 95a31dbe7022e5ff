"""The network: a list of layers, called one by one by hand, or run together as one program of the kernels."""

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastff.data.rows import Rows, check_rows
from fastff.engine.context import ALONE, RunContext
from fastff.engine.panels import Panels
from fastff.engine.program import Program
from fastff.errors import ArgumentError
from fastff.nn.activations import ReLU
from fastff.nn.by_hand import backward_all, clip_all, forward_all, step_all
from fastff.nn.encoding import PiecewiseLinear
from fastff.nn.gradient import check_only_step_size
from fastff.nn.layers import Layer, LinearLayer, check_parameter
from fastff.nn.optim import Adam, Optimizer, check_optimizer
from fastff.nn.predictor import FEW_ROWS, PREDICT_ROWS, Predictor, many_rows, most_likely
from fastff.nn.preprocessing import Augment, Standardize, Whiten
from fastff.nn.saved import LoadMethod, contents, layers_from, named_parameters, task_in
from fastff.nn.stack import (
    BY_HAND,
    Summary,
    as_made,
    check_apart,
    check_layer,
    check_layer_list,
    check_layers,
    groups_by_hand,
    hidden_widths,
    inference,
    summary_of,
)
from fastff.nn.targets import TARGET_LAYERS
from fastff.system import checkpoint, elementary
from fastff.system.arguments import check_choice, check_number, check_seed, check_size
from fastff.system.attributes import Checked, Closed
from fastff.system.blocks import Sliceable, copied
from fastff.system.limits import check_room
from fastff.system.names import KnownElsewhere, called_here

FRONT = (Augment, Standardize, Whiten, PiecewiseLinear)  # layers that prepare raw rows


class FeedForwardNeuralNetwork(Closed, KnownElsewhere):
    """num_layers linear layers with a ReLU after each but the last: rows (N, input_dim) to logits (N, output_dim).

    The attribute `layers` is an ordinary list, which may be changed: put a Standardize first, say, or a Dropout between
    two layers.

    Parameters
    ----------
    input_dim : int
        How many values a row has.
    output_dim : int
        How many classes there are, or numbers to predict.
    hidden_dim : int or sequence of int
        The width of every hidden layer, or a sequence of num_layers - 1 widths; num_layers may then be left out.
    num_layers : int, optional
        How many linear layers there are.
    optimizer : Adam, SGD or object, optional
        None means Adam().
    seed : int, optional
        Makes the initial weights reproducible.

    Examples
    --------
    >>> import numpy as np
    >>> from fastff import FeedForwardNeuralNetwork
    >>> network = FeedForwardNeuralNetwork(64, 10, hidden_dim=[32], seed=0)
    >>> network
    FeedForwardNeuralNetwork([LinearLayer(64, 32), ReLU(), LinearLayer(32, 10)], 2,410 parameters)
    >>> network.predict_proba(np.zeros((5, 64))).shape
    (5, 10)
    """

    layers = Checked(check_layer_list)
    optimizer = Checked(check_optimizer)
    _task = "classify"  # of the loss that has trained it last

    @called_here
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
        hidden = hidden_widths(hidden_dim, num_layers)
        widths = [check_size("input_dim", input_dim), *hidden, check_size("output_dim", output_dim)]
        sizes = itertools.pairwise(widths)
        count = sum((n_in + 1) * n_out for n_in, n_out in sizes)
        check_room(f"a network of {count:,} parameters", 3 * 4 * count)  # bytes, with two moments
        seeds = np.random.SeedSequence(seed).spawn(len(widths) - 1)
        self.layers = []
        for i, own_seed in enumerate(seeds):
            self.layers += [LinearLayer(widths[i], widths[i + 1], seed=own_seed), ReLU()]
        self.layers.pop()
        self.optimizer = Adam() if optimizer is None else optimizer

    @classmethod
    def holding(
        cls, arrays: Mapping[str, np.ndarray], description: Any, path: object, notes: Mapping[str, Any] | None = None
    ) -> "FeedForwardNeuralNetwork":
        """The network with contents() and notes() of the file at path; DataError, naming it, where they don't fit."""
        network = cls.__new__(cls)
        network.layers, network.optimizer = layers_from(arrays, description, path), Adam()
        network._task = task_in(notes or {}, path)
        return network

    @classmethod
    def from_layers(cls, layers: Iterable[Any], *, optimizer: Optimizer | None = None) -> "FeedForwardNeuralNetwork":
        """The network of these layers, from the first to the last.

        Parameters
        ----------
        layers : iterable of layers
            A layer of another class has forward, backward and step as LinearLayer has them.
        optimizer : Adam, SGD or object, optional
            None means Adam().

        Returns
        -------
        FeedForwardNeuralNetwork
            A network of the same objects.

        Raises
        ------
        ArgumentError
            Where a layer does not fit the one before.
        """
        network = cls.__new__(cls)
        network.layers, network.optimizer = check_layers(layers), Adam() if optimizer is None else optimizer
        return network

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> Any:
        return self.layers[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __bool__(self) -> bool:
        return True  # also without layers

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        return f"{type(self).__name__}([{inside}], {self.parameter_count:,} parameters)"

    def summary(self) -> Summary:
        """A table of the layers, what comes out of each for N rows, and their parameters.

        Returns
        -------
        Summary
            Shows itself as the table.
        """
        return summary_of(self.layers)

    @property
    def input_dim(self) -> int | None:
        """How many values a row has that forward takes; None if the layers don't say."""
        known = itertools.takewhile(lambda layer: isinstance(layer, Layer), self.layers)
        return next((layer.features_in for layer in known if layer.features_in is not None), None)

    @property
    def output_dim(self) -> int | None:
        """How many logits a row has that forward gives; None if the layers don't say."""
        known = itertools.takewhile(lambda layer: isinstance(layer, Layer), reversed(self.layers))
        return next((layer.output_dim for layer in known if layer.output_dim is not None), None)

    @property
    def task(self) -> str:
        """ "classify", or "regress": predict gives numbers, after training with such a loss or by the last layer."""
        return "regress" if self.layers and isinstance(self.layers[-1], TARGET_LAYERS) else self._task

    @task.setter
    def task(self, value: str) -> None:
        value = check_choice("task", value, ("classify", "regress"))
        if value == "classify" and self.layers and isinstance(self.layers[-1], TARGET_LAYERS):
            raise ArgumentError(f"loss: of labels, but {self.layers[-1]!r} is last, want a loss of numbers to predict")
        self._task = value

    def without_last(self) -> "FeedForwardNeuralNetwork":
        """The same network without its last layer; the others are the same objects."""
        other = copy.copy(self)
        other.layers = self.layers[:-1]
        return other

    @property
    def linear_layers(self) -> list[LinearLayer]:
        """The layers with weights and biases, from the first to the last."""
        return [layer for layer in self.layers if isinstance(layer, LinearLayer)]

    @property
    def parameter_count(self) -> int:
        """How many weights and biases there are, together."""
        return sum((layer.input_dim + 1) * layer.output_dim for layer in self.linear_layers)

    # --- by hand ---

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """forward(X)."""
        return self.forward(X)

    def forward(self, X: np.ndarray) -> np.ndarray:
        """The logits of the rows.

        Parameters
        ----------
        X : ndarray of shape (B, input_dim)
            The rows of a batch.

        Returns
        -------
        ndarray of shape (B, output_dim), float32
            The logits.
        """
        for alike, layers in groups_by_hand(self.layers, "forward"):
            X = forward_all(layers, X) if alike else layers[0].forward(X)
        return X

    def backward(self, grad: np.ndarray) -> None:
        """Go back through the layers.

        Parameters
        ----------
        grad : ndarray of shape (B, output_dim)
            The gradient dL/dlogits for the logits of the last forward.
        """
        first = next((i for i, layer in enumerate(self.layers) if not isinstance(layer, FRONT)), 0)
        groups = groups_by_hand(self.layers, "backward", first)
        for i in range(len(groups) - 1, -1, -1):
            alike, layers = groups[i]
            if alike:  # of the first linear layer nobody needs the gradient of the data
                grad = backward_all(layers, grad, input_gradient=i > 0 or not isinstance(layers[0], LinearLayer))
            else:
                grad = layers[0].backward(grad)

    def clip_gradients(self, clip_norm: float) -> float:
        """Scale the gradients of the last backward so that their norm, of all layers together, is at most clip_norm.

        Call it between backward and step. It is what ``torch.nn.utils.clip_grad_norm_`` does.

        Parameters
        ----------
        clip_norm : float
            The largest norm, above 0.

        Returns
        -------
        float
            The norm before.
        """
        return clip_all(self.linear_layers, check_number("clip_norm", clip_norm, 0.0, np.inf, above=True))

    @called_here
    def step(self, step_size: float = 0.001, *others: Any, **named: Any) -> None:
        """Have the optimizer move the parameters of every layer, by the gradients of the last backward.

        Parameters
        ----------
        step_size : float, default: 0.001
            The learning rate, above 0.
        *others, **named
            Refused with what to do instead.
        """
        check_only_step_size(type(self), others, named)
        for i, layer in enumerate(self.layers):
            check_layer(layer, i, "step")
        linear, optimizer = self.linear_layers, self.optimizer
        for layer in linear:
            layer.optimizer = optimizer
        step_all([layer for layer in linear if as_made(layer)], step_size)
        for each in self.layers:
            if not (isinstance(each, LinearLayer) and as_made(each)):
                each.step(step_size)

    # --- as one program ---

    def lowers(self) -> bool:
        """Whether the network can be one program: each layer's class says so, and those on raw rows stand in front.

        A subclass whose forward, backward or step are its own can't.
        """
        if any(getattr(type(self), name) is not getattr(FeedForwardNeuralNetwork, name) for name in BY_HAND):
            return False
        behind = self.layers[len(self._raw_layers()) :]
        return all(isinstance(layer, Layer) and type(layer).saved_as for layer in self.layers) and not any(
            isinstance(layer, Augment | Standardize) for layer in behind
        )

    def lower_forward(self, program: Program, X: Rows, *, training: bool) -> tuple[Panels, list[Any]]:
        """Add forward to the program, for batches of the rows X (N, input_dim).

        Returns the logits, and what lower_backward needs of each layer. With training=False nothing is random.
        """
        check_apart(self.layers)
        raw, in_batch = self._raw_layers(), False
        if training and raw and isinstance(raw[0], Augment) and raw[0].training:
            X, in_batch = raw[0].lower_rows(program, X), True
        if raw and isinstance(raw[-1], Standardize):
            x = raw[-1].gather(program, X, in_batch=in_batch)
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

    def lower_backward(self, program: Program, g: Panels, saved: list[Any]) -> None:
        """Add backward to the program, given the logits' gradient g, and the update of every linear layer."""
        trained = [i for i, layer in enumerate(self.layers) if isinstance(layer, LinearLayer) and layer.trainable]
        for i in range(len(self.layers) - 1, (trained[0] if trained else len(self.layers)) - 1, -1):
            layer = self.layers[i]
            if i == trained[0]:  # nobody needs the gradient of the data
                weights, bias = layer.memory
                program.update(saved[i], program.transpose(g), weights, bias, layer.output_dim)
            else:
                g = layer.lower_backward(program, g, saved[i])

    # --- prediction ---

    def logits(self, X: Rows, *, context: RunContext = ALONE) -> np.ndarray:
        """The logits of the rows, without dropout or any other random change.

        Parameters
        ----------
        X : ndarray of shape (N, input_dim) or Shards
            The rows.
        context : RunContext, optional
            What the commands pass on.

        Returns
        -------
        ndarray of shape (N, output_dim), float32
            The logits.
        """
        few = self.__dict__.pop("_few", None)  # taken out while it is used, so that another thread makes its own
        if few is None or not few.fits(self.layers, X):
            X = check_rows(X, "X", features=self.input_dim)
            if not self.lowers():
                with inference(self):
                    starts = range(0, len(X), PREDICT_ROWS)
                    return np.concatenate([self.forward(X[i : i + PREDICT_ROWS]) for i in starts])
            if len(X) > FEW_ROWS:
                return many_rows(self, X, context=context)
            X = X[:]  # of Shards an array
            few = Predictor(self, X)
        out = few(X)
        self._few = few  # now that no thread uses it
        return out

    def predict(self, X: Rows, *, context: RunContext = ALONE) -> np.ndarray:
        """The number of the most likely class of each row, or the numbers that are predicted.

        Parameters
        ----------
        X : ndarray of shape (N, input_dim) or Shards
            The rows.
        context : RunContext, optional
            What the commands pass on.

        Returns
        -------
        ndarray of shape (N,), int64
            The classes. Where the task is "regress", float64 of shape (N,), or (N, outputs) for several numbers.

        Raises
        ------
        DataError
            For a row of NaN logits, which has no most likely class.
        """
        if self.task == "classify":
            return most_likely(self.logits(X, context=context))
        if self.layers and isinstance(self.layers[-1], TARGET_LAYERS):
            inner = self.__dict__.get("_inner")
            if inner is None or inner.layers != self.layers[:-1]:
                inner = self._inner = self.without_last()  # kept, as it keeps programs for a few rows
            values = self.layers[-1].outer(inner.logits(X, context=context))
        else:
            values = self.logits(X, context=context).astype(np.float64)
        return values[:, 0] if values.shape[1] == 1 else values

    def predict_proba(self, X: Rows, *, context: RunContext = ALONE) -> np.ndarray:
        """The probability of each class for each row.

        Parameters
        ----------
        X : ndarray of shape (N, input_dim) or Shards
            The rows.
        context : RunContext, optional
            What the commands pass on.

        Returns
        -------
        ndarray of shape (N, output_dim), float32
            The probabilities; rows sum to 1.
        """
        if self.task == "regress":
            raise ArgumentError("predict_proba: the network predicts numbers, which have no classes, want predict")
        return elementary.softmax(self.logits(X, context=context))

    def __getstate__(self) -> dict[str, Any]:
        # a copy must not keep the addresses of the original's memory
        return {name: value for name, value in self.__dict__.items() if name not in ("_few", "_inner")}

    # --- on disk ---

    def parameters(self, out: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Copies of all weights "0.weight" (in, out) and biases "0.bias" (out,), by the layer's place in `layers`.

        Parameters
        ----------
        out : dict, optional
            An earlier result, whose arrays are overwritten and returned instead of new ones, where they have the same
            shape.

        Returns
        -------
        dict of str to ndarray
            The copies.

        Raises
        ------
        ArgumentError
            For anything else as `out`.
        """
        arrays, earlier = {}, {} if out is None else out
        if not isinstance(earlier, dict):
            raise ArgumentError(f"out: {type(out).__name__}, want the dict of an earlier parameters()")
        for layer, *names in named_parameters(self.layers):
            for name, array in zip(names, layer.arrays().values(), strict=True):
                old = earlier.get(name)
                if old is not None and not (isinstance(old, np.ndarray) and old.flags.writeable):
                    raise ArgumentError(f"out[{name!r}]: {type(old).__name__}, want an array that can be written to")
                arrays[name] = copied(array, old)
        return arrays

    def set_parameters(self, parameters: Mapping[str, Sliceable]) -> None:
        """Give the linear layers copies of the weights and biases that have their names as in parameters().

        Parameters
        ----------
        parameters : mapping of str to ndarray
            Weights and biases by name.

        Raises
        ------
        ArgumentError
            Before anything is changed, where one is missing or has another shape.
        """
        if not isinstance(parameters, Mapping):
            raise ArgumentError(f"parameters: {type(parameters).__name__}, want a mapping as parameters() returns it")
        checked: list[tuple[LinearLayer, list[Any]]] = []
        for layer, weight, bias in named_parameters(self.layers):
            checked.append((layer, []))
            for name, rows in (weight, layer.input_dim), (bias, 1):
                if name not in parameters:
                    raise ArgumentError(f"parameters: no {name!r}, want the names that parameters() returns")
                checked[-1][1].append(check_parameter(name, parameters[name], (rows, layer.output_dim)))
        for layer, values in checked:
            layer.weights, layer.bias = values

    def contents(self) -> tuple[dict[str, Sliceable], list[dict[str, Any]]]:
        """What a file holds of the network: its arrays by name, to be read before they change, and its layers' list."""
        return contents(self.layers)

    def save(self, path: str) -> None:
        """Write the layers with their parameters to a safetensors file at path, which appears whole or not at all.

        Parameters
        ----------
        path : str
            The file.

        Raises
        ------
        ArgumentError
            For a layer that can't be saved.
        DataError
            If the file can't be written.
        """
        arrays, description = self.contents()
        checkpoint.save(path, arrays, {"layers": description, **self.notes()})

    def notes(self) -> dict[str, str]:
        """What files hold of the network beside its layers: its task, where the layers do not say it."""
        return {"task": self._task} if self._task != "classify" else {}

    load = LoadMethod()

    def _load(self, path: str) -> "FeedForwardNeuralNetwork":
        """The network that `save` wrote to path. Called on a network, it replaces that network's layers.

        Parameters
        ----------
        path : str
            The file.

        Returns
        -------
        FeedForwardNeuralNetwork
            The network.

        Raises
        ------
        DataError
            If the file is no whole network.
        """
        arrays, metadata = checkpoint.load(path)
        self.layers = layers_from(arrays, metadata.get("layers"), path)
        self.optimizer = self.__dict__.get("optimizer", Adam())
        self._task = task_in(metadata, path)
        return self
