"""The layers of a network, each a thin class over kernels: forward, backward, and a step where there is what to train.

A layer knows nothing of its neighbours. Called by hand it takes and returns ordinary arrays. As part of a network it
adds its operations to one program for all layers, whose batches stay in the kernels' memory layout (panels). Both ways
run the same operations and give the same bits. fastff.nn.preprocessing has the layers that prepare raw rows.
"""

import copy
from functools import partial
from typing import Any, ClassVar

import numpy as np

from fastff.data.rows import Rows
from fastff.engine import panels
from fastff.engine.panels import Panels
from fastff.engine.program import Program
from fastff.errors import ArgumentError
from fastff.kernels.cpu import NR
from fastff.nn.by_hand import backward_all, forward_all, step_all
from fastff.nn.gradient import StoredGradient, check_only_step_size, refused_gradient
from fastff.nn.optim import Adam, Optimizer, check_optimizer, store_gradient
from fastff.system import elementary
from fastff.system.arguments import check_count, check_flag, check_numbers, check_seed, check_size
from fastff.system.attributes import Absent, Checked, Closed, Fixed
from fastff.system.blocks import Sliceable
from fastff.system.hold import check_whole
from fastff.system.limits import check_room
from fastff.system.names import called_here

LAYERS: dict[str, type["Layer"]] = {}  # the classes that can be saved, by their names in files


class Layer(Closed):
    """The base of the built-in layers: forward and backward by hand, each as a program of this layer alone.

    A class that can be saved gives its name in files in its header, as in `class Tanh(Layer, saved_as="tanh")`; files
    hold the attributes that array_names and setting_names list. It also says so that lower_forward and lower_backward
    do all that forward and backward do: with any other layer, a network is no single program, but calls each layer's
    methods one by one. The name is not inherited, because a subclass may override these methods.
    """

    saved_as: ClassVar[str] = ""
    array_names: ClassVar[tuple[str, ...]] = ()
    setting_names: ClassVar[tuple[str, ...]] = ()

    # how many values a row has that forward takes; None if it takes any number
    features_in = Absent(partial(check_size, "features_in"))
    # how many values a row has that forward gives; None if as many as it takes
    output_dim = Absent(partial(check_size, "output_dim"))
    _last: tuple[Any, Panels, int] | None = None  # of the last forward: what backward needs, the output, how many rows

    def __init_subclass__(cls, *, saved_as: str = "") -> None:
        cls.saved_as = saved_as
        if saved_as:
            LAYERS[saved_as] = cls

    def forward(self, input: np.ndarray) -> np.ndarray:
        """The layer's output for a batch.

        Parameters
        ----------
        input : ndarray of shape (B, features)
            The rows of the batch.

        Returns
        -------
        ndarray of shape (B, features), float32
            The output, which may have another number of features.
        """
        return forward_all([self], input)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """The gradient of the loss by the input of the last forward.

        Parameters
        ----------
        grad : ndarray of shape (B, features)
            The gradient of the loss by the output of the last forward.

        Returns
        -------
        ndarray of shape (B, features), float32
            The gradient by its input.
        """
        return backward_all([self], grad)

    def step(self, step_size: float, *others: Any, **named: Any) -> None:
        """Move the parameters against the gradient of the last backward; a layer without parameters does nothing.

        Parameters
        ----------
        step_size : float
            How far.
        *others, **named
            Refused with what to do instead.
        """
        check_only_step_size(type(self), others, named)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.settings().items())})"

    def gather(self, program: Program, rows: Rows, *, in_batch: bool = False) -> Panels:
        """Add the gather of a batch from rows (N, D), or of rows that are the batch already (in_batch)."""
        return program.gather(rows, in_batch=in_batch)

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        """Add forward to the program; returns the output, and what lower_backward will need."""
        raise NotImplementedError

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        """Add backward to the program, given the output's gradient g; returns the input's gradient."""
        raise NotImplementedError

    def arrays(self) -> dict[str, Sliceable]:
        """The arrays that a file holds of this layer, by name. They are its own, to be read before they change."""
        return {name: getattr(self, name) for name in self.array_names}

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that a file holds of this layer, as values that JSON can hold."""
        values = {name: getattr(self, name) for name in self.setting_names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def holding(cls, **values: Any) -> "Layer":
        """The layer that has these arrays() and settings(). ArgumentError or TypeError where there can be none."""
        return cls(**values)

    def _check_width(self, found: int) -> None:
        """ArgumentError unless rows have as many values as this layer takes: a kernel would read past their end."""
        if found != self.features_in:
            name = type(self).__name__
            raise ArgumentError(f"layers: {name} takes {self.features_in} values a row, is given {found}")

    def _last_forward(self) -> tuple[Any, Panels, int]:
        """Of the last forward: what lower_backward needs, the output, how many rows. ArgumentError before the first."""
        if self._last is None:
            raise ArgumentError(f"{type(self).__name__}.backward: no forward has run, want one to go back through")
        return self._last

    def _lower_by_hand(self, program: Program, g: Panels, saved: Any, *, further: bool) -> Panels | None:
        """lower_backward without an update; None where the gradient of the input is not needed to go further."""
        return self.lower_backward(program, g, saved)


class LinearLayer(Layer, saved_as="linear"):
    """y = x W + b for rows x (B, input_dim), with W (input_dim, output_dim) and b (1, output_dim), both float32.

    W starts as normal deviates of variance 2 / input_dim (He et al. 2015), b as zeros. `weights` and `bias` can be
    read, written to and assigned, and what was read follows training. `optimizer` says how step moves them, in a
    network the network's; the layer keeps the optimizer's moments. With `trainable` set to False they stay as they
    are, and gradients pass through the layer.

    Parameters
    ----------
    input_dim : int
        How many values a row has that forward takes.
    output_dim : int
        How many values a row has that forward gives.
    seed : int or numpy.random.SeedSequence, optional
        Makes W reproducible.

    Examples
    --------
    >>> import numpy as np
    >>> from fastff import LinearLayer
    >>> layer = LinearLayer(2, 1)
    >>> layer.weights, layer.bias = [[2.0], [3.0]], [[1.0]]
    >>> layer.forward(np.array([[10.0, 100.0]])).tolist()
    [[321.0]]
    >>> layer.backward(np.array([[1.0]])).tolist()
    [[2.0, 3.0]]
    >>> layer.grad_weights.tolist()
    [[10.0], [100.0]]
    """

    array_names = ("weight", "bias")
    input_dim, output_dim, features_in = Fixed(), Fixed(), Fixed()
    optimizer = Checked(check_optimizer)
    updates = Checked(partial(check_count, "updates"))  # how often the optimizer has moved the parameters
    _moved_by: type | None = None  # the kind of optimizer whose moments these are, None where nobody has said
    trainable = Checked(partial(check_flag, "trainable"))

    @called_here
    def __init__(self, input_dim: int, output_dim: int, *, seed: int | np.random.SeedSequence | None = None) -> None:
        self._allocate(check_size("input_dim", input_dim), check_size("output_dim", output_dim))
        if not isinstance(seed, np.random.SeedSequence):
            check_seed(seed)
        deviates = elementary.normal((self.input_dim, self.output_dim), seed)
        deviates *= np.float32(np.sqrt(2.0 / self.input_dim))
        self.weights = deviates

    @classmethod
    def holding(cls, weight: np.ndarray, bias: np.ndarray) -> "LinearLayer":  # type: ignore[override]
        """The layer of these weights (in, out) and this bias (1, out) or (out,), both copied."""
        weight = _as_parameter("weights", weight, "numbers, (in, out)")
        if len(weight.shape) != 2 or 0 in weight.shape:
            raise ArgumentError(f"weights: shape {weight.shape}, want (in, out)")
        layer = cls.__new__(cls)
        layer._allocate(*weight.shape)
        layer.weights, layer.bias = weight, bias
        return layer

    def _allocate(self, n_in: int, n_out: int) -> None:
        check_room(f"a layer of {n_in} x {n_out} weights", 3 * 4 * (n_in + 1) * n_out)  # bytes, with two moments
        shape = self.input_dim, self.output_dim = n_in, n_out
        self.features_in = n_in
        self.optimizer, self.updates, self.trainable = Adam(), 0, True
        self._matrix = panels.Matrix(shape)
        self._bias = panels.aligned(panels.round_up(self.output_dim, NR))
        self._moments = [panels.aligned(panels.panel_size(shape)) for _ in range(2)]
        self._bias_moments = [panels.aligned(len(self._bias)) for _ in range(2)]
        self._gradient: tuple[Panels, np.ndarray, int] | None = None  # input, transposed gradient and rows of backward

    @property
    def weights(self) -> np.ndarray:
        """W, (in, out)."""
        return self._matrix.array

    @weights.setter
    def weights(self, value: Sliceable) -> None:
        self._matrix.array = check_parameter("weights", value, self._matrix.shape)

    @property
    def bias(self) -> np.ndarray:
        """b, (1, out)."""
        return self._bias[None, : self.output_dim]

    @bias.setter
    def bias(self, value: Sliceable) -> None:
        self._bias[: self.output_dim] = check_parameter("bias", value, (1, self.output_dim))[0]

    W, b = weights, bias

    @property
    def moments(self) -> tuple[np.ndarray, ...]:
        """The optimizer's two moments of the weights, in panels."""
        return tuple(self._moments)

    @property
    def bias_moments(self) -> tuple[np.ndarray, ...]:
        """The optimizer's two moments of the bias, padded."""
        return tuple(self._bias_moments)

    def arrays(self) -> dict[str, Sliceable]:
        """Weights (in, out) and bias (out,) as files name them, to be read, whole or by rows, before they change."""
        return {"weight": self._matrix.rows(), "bias": self.bias[0]}

    @property
    def memory(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The memory that training changes: values and two moments of the weights, in panels, and of the bias."""
        return [self._matrix.panels, *self._moments], [self._bias, *self._bias_moments]

    def move(self, weights: list[np.ndarray], biases: list[np.ndarray], *, keep: bool) -> None:
        """Keep the parameters in other memory from now on: three arrays each, for the values and their two moments.

        With keep the arrays are overwritten with what this layer holds; otherwise it takes over what they hold. Raises
        ArgumentError for arrays that are not like those in `memory`.
        """
        now = [array for kind in self.memory for array in kind]
        alike = [getattr(array, "shape", None) for array in (*weights, *biases)] == [array.shape for array in now]
        if not alike or any(array.dtype != np.float32 for array in (*weights, *biases)):
            raise ArgumentError("move: arrays of other sizes or types, want ones like those in `memory`")
        if keep:
            for new, old in zip([*weights[1:], *biases], [*self._moments, *self.memory[1]], strict=True):
                new[:] = old
        self._matrix.move(weights[0], keep=keep)
        self._moments, self._bias, self._bias_moments = weights[1:], biases[0], biases[1:]
        self._gradient = None  # step would run on the old memory

    def twin(self) -> "LinearLayer":
        """This layer with weights and a bias of its own, which are the same for now.

        Returns
        -------
        LinearLayer
            The other layer; it has no moments of its own.
        """
        self.sync()
        other = copy.copy(self)
        other._matrix, other._bias = panels.Matrix(self._matrix.shape), panels.aligned(len(self._bias))
        other._matrix.panels[:], other._bias[:] = self._matrix.panels, self._bias
        other._gradient = other._last = None
        return other

    @property
    def grad_weights(self) -> np.ndarray:
        """dL/dW (in, out) of the last backward, without weight decay, read-only. It is computed when it is read."""
        return StoredGradient.of(self._stored_gradient()[0])

    @grad_weights.setter
    def grad_weights(self, value: Any) -> None:
        raise refused_gradient()

    @property
    def grad_bias(self) -> np.ndarray:
        """dL/db (1, out) of the last backward, read-only. It is computed when it is read."""
        return StoredGradient.of(self._stored_gradient()[1])

    @grad_bias.setter
    def grad_bias(self, value: Any) -> None:
        raise refused_gradient()

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        self._check_width(x.features)
        self.sync()
        return program.linear(x, self._matrix.panels, self._bias, self.output_dim), x

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        if not self.trainable:
            return program.linear_backward(g, self._matrix.panels, self.input_dim, barrier=True)
        gt = program.transpose(g)
        below = program.linear_backward(g, self._matrix.panels, self.input_dim)
        program.update(saved, gt, *self.memory, self.output_dim)
        return below

    def __repr__(self) -> str:
        return f"LinearLayer({self.input_dim}, {self.output_dim}{'' if self.trainable else ', frozen'})"

    def sync(self) -> None:
        """Have the kernels see what was written to `weights`; to be called before a program with this layer runs."""
        self._matrix.flush()

    def moves_by(self, optimizer: Optimizer) -> None:
        """Say which optimizer moves the parameters next: one of another kind begins anew, as moments are its own.

        Parameters
        ----------
        optimizer : Adam, SGD or object
            The one that the next updates are by.
        """
        if self._moved_by not in (None, type(optimizer)):
            self.forget_moments()
        self._moved_by = type(optimizer)

    def forget_moments(self) -> None:
        """Let the optimizer begin anew: its moments are 0, and it has not moved the parameters yet."""
        for array in (*self._moments, *self._bias_moments):
            array[:] = 0
        self.updates, self._moved_by = 0, None

    def updated(self, count: int) -> None:
        """Say that a program has moved the parameters `count` times, so that `weights` shows what they are now."""
        self.updates += count
        self._matrix.changed()

    def backward(self, grad: np.ndarray, *, input_gradient: bool = True) -> np.ndarray | None:  # type: ignore[override]
        """dL/dx for the input x of the last forward.

        Parameters
        ----------
        grad : ndarray of shape (B, out)
            dL/dy for its output y.
        input_gradient : bool, default: True
            False saves computing the result, which is then None.

        Returns
        -------
        ndarray of shape (B, in), float32, or None
            The gradient by x. Those by the parameters are in `grad_weights` and `grad_bias`.
        """
        return backward_all([self], grad, input_gradient=input_gradient)

    def _lower_by_hand(self, program: Program, g: Panels, saved: Any, *, further: bool) -> Panels | None:
        self.sync()
        self._gradient = saved, program.transpose(g), program.rows
        return program.linear_backward(g, self._matrix.panels, self.input_dim, barrier=True) if further else None

    @called_here
    def step(self, step_size: float, *others: Any, **named: Any) -> None:
        """Have the optimizer move weights and bias once, by the gradient of the last backward.

        Parameters
        ----------
        step_size : float
            The step size, above 0.
        *others, **named
            Refused with what to do instead.
        """
        check_only_step_size(type(self), others, named)
        step_all([self], step_size)

    def _last_backward(self) -> tuple[Panels, np.ndarray, int]:
        """The input, the transposed gradient and the rows of the last backward. ArgumentError before the first."""
        if self._gradient is None:
            raise ArgumentError("LinearLayer: no backward has run, so there is no gradient yet")
        return self._gradient

    def _stored_gradient(self) -> tuple[np.ndarray, np.ndarray]:
        x, gt, rows = self._last_backward()
        weights, bias = panels.aligned(self._matrix.panels.size), panels.aligned(self._bias.size)
        program = Program(rows)
        program.update(x, gt, [weights] * 3, [bias] * 3, self.output_dim)
        program.run(hyper=store_gradient())
        return panels.unpack(weights, self._matrix.shape), bias[None, : self.output_dim]


def _as_parameter(name: str, value: Any, wanted: str) -> Any:
    """value as an array. A Sliceable of fastff's stays one; other objects may only look like arrays."""
    check_whole(value, name)
    ours = type(value).__module__.startswith("fastff.") and hasattr(value, "shape") and hasattr(value, "dtype")
    if ours or isinstance(value, np.ndarray):
        return value
    return check_numbers(name, value, np.float32, wanted)


def check_parameter(name: str, value: Any, shape: tuple[int, int]) -> Any:
    """value as float32 of this shape. What is so already, an array or a Sliceable, is returned as it is."""
    value = _as_parameter(name, value, f"numbers, {shape}")
    if value.dtype == np.float32 and value.shape == shape:
        return value
    array = check_numbers(name, value, np.float32, f"numbers, {shape}")
    if array.shape not in (shape, shape[1:] if shape[0] == 1 else shape):
        raise ArgumentError(f"{name}: shape {array.shape}, want {shape}")
    return array.reshape(shape)
