"""The layers, each a thin class over kernels: forward, backward, and step where there is something to train.

A layer knows nothing of its neighbours. Called by hand it takes and gives ordinary arrays; lowered into a larger
program it works on a batch that stays in the kernels' panels. Both run the same operations, and give the same bits.
"""

from typing import Any

import numpy as np

from fastff.data import statistics
from fastff.data.rows import Rows, check_rows
from fastff.engine import panels
from fastff.engine.program import Panels, Program
from fastff.errors import ArgumentError, DataError
from fastff.kernels import pointwise
from fastff.kernels.cpu import NR
from fastff.nn.optim import Adam, Optimizer, check_step_size, store_gradient
from fastff.system.arguments import check_seed, check_size
from fastff.system.blocks import Sliceable
from fastff.system.limits import check_room


class Layer:
    """What the built-in layers share: forward and backward by hand, each a program of this layer alone."""

    features_in: int | None = None  # the width of the rows that forward takes; None for any
    _last: tuple[Any, Panels, int] | None = None  # of the last forward: what backward needs, the output, the rows

    def forward(self, input: np.ndarray) -> np.ndarray:
        """The layer's output (B, features), float32, for input (B, features)."""
        rows = check_rows(input, "input", features=self.features_in)
        program = Program(len(rows))
        output, saved = self.lower_forward(program, self._enter(program, rows), training=True)
        result = program.scatter(output, len(rows))
        program.run()
        self._last = saved, output, len(rows)
        return result

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """The gradient of the loss by the input of the last forward, given that by its output (B, features)."""
        program, g, saved = self._enter_backward(grad)
        below = program.scatter(self.lower_backward(program, g, saved), program.rows)
        program.run()
        return below

    def step(self, step_size: float) -> None:
        """Move the parameters against the gradient of the last backward; nothing here, where there are none."""

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        """Add forward to the program; returns the output and what lower_backward will need."""
        raise NotImplementedError

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        """Add backward to the program, for the output's gradient g; returns the input's gradient."""
        raise NotImplementedError

    def _enter(self, program: Program, rows: np.ndarray) -> Panels:
        return program.gather(rows)

    def _check_width(self, found: int) -> None:
        """ArgumentError unless the layer before gives as many values as this one takes, for kernels look no further."""
        if found != self.features_in:
            raise ArgumentError(
                f"layers: {type(self).__name__} takes {self.features_in} values a row, is given {found}"
            )

    def _enter_backward(self, grad: np.ndarray) -> tuple[Program, Panels, Any]:
        if self._last is None:
            raise ArgumentError(
                f"{type(self).__name__}.backward: no forward has run, so there is nothing to go back to"
            )
        saved, output, rows = self._last
        grad = check_rows(grad, "grad", features=output.features)
        if len(grad) != rows:
            raise ArgumentError(f"grad: {len(grad)} rows, want {rows} as in the last forward")
        program = Program(rows)
        return program, program.gather(grad), saved


class Standardize(Layer):
    """(x - mean) / std for each feature; the first layer of a network that is given raw rows. Nothing to train.

    mean, std: (D,) or (1, D). A feature that is constant (std 0) is only centred.
    """

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        self.mean = _feature_vector(mean, "mean")
        self.std = _feature_vector(std, "std")
        if self.mean.shape != self.std.shape:
            raise ArgumentError(f"std: {self.std.size} values, want as many as mean has, {self.mean.size}")
        if (self.std < 0).any():
            raise ArgumentError(f"std: {self.std.min():g}, want no negative value")
        self.features_in = self.mean.size
        most = np.finfo(np.float32).max
        inverse = np.minimum(1 / np.where(self.std > 1 / most, self.std, 1 / most), most)
        self.scale = np.where(self.std > 0, inverse, 1).astype(np.float32)

    @classmethod
    def fit(cls, X: Rows) -> "Standardize":
        """The layer for the mean and standard deviation of each column of X (N, D), summed in float64 in one pass.

        Those of Shards are saved beside the data, and read from there as long as its files are the same.
        Raises DataError where a deviation is too large for float32 to hold its inverse (8.5e37).
        """
        mean, deviation = statistics.of(check_rows(X, "X"), "X")
        usable = deviation < 1 / np.finfo(np.float32).tiny
        if not usable.all():
            column = int(np.argmin(usable))
            raise DataError(
                f"X: column {column} deviates by {deviation[column]:.2g}, want less than 8.5e37: scale it down"
            )
        return cls(mean, deviation)

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        return x, None  # all was done by the gather

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """The gradient by the raw rows: grad / std."""
        return check_rows(grad, "grad", features=self.features_in) * self.scale

    def _enter(self, program: Program, rows: np.ndarray) -> Panels:
        return self.gather(program, rows)

    def gather(self, program: Program, rows: Rows, *, in_batch: bool = False) -> Panels:
        """The batch of raw rows, standardised as it is gathered."""
        self._check_width(rows.shape[1])
        return program.gather(rows, self.mean, self.scale, in_batch=in_batch)


class LinearLayer(Layer):
    """y = x W + b for rows x (B, input_dim); W (input_dim, output_dim) starts as He et al. 2015 draw it, b as zeros.

    weights (in, out) and bias (1, out), float32, can be read, written to and assigned. grad_weights and grad_bias are
    the last backward's. `optimizer` is how step moves them, and the layer keeps its moments. A seed (a whole number or
    a NumPy SeedSequence) makes the weights reproducible.
    """

    def __init__(self, input_dim: int, output_dim: int, *, seed: int | np.random.SeedSequence | None = None) -> None:
        self._allocate(check_size("input_dim", input_dim), check_size("output_dim", output_dim))
        if not isinstance(seed, np.random.SeedSequence):
            check_seed(seed)
        deviates = np.random.default_rng(seed).standard_normal((self.input_dim, self.output_dim), np.float32)
        deviates *= np.float32(np.sqrt(2.0 / self.input_dim))
        self.weights = deviates

    @classmethod
    def holding(cls, weights: np.ndarray, bias: np.ndarray) -> "LinearLayer":
        """The layer of these weights (in, out) and this bias (1, out) or (out,), both copied."""
        if np.ndim(weights) != 2 or 0 in np.shape(weights):
            raise ArgumentError(f"weights: shape {np.shape(weights)}, want (in, out)")
        layer = cls.__new__(cls)
        layer._allocate(*np.shape(weights))
        layer.weights, layer.bias = weights, bias
        return layer

    def _allocate(self, n_in: int, n_out: int) -> None:
        check_room(f"a layer of {n_in} x {n_out} weights", 3 * 4 * (n_in + 1) * n_out)  # with two moments
        shape = self.input_dim, self.output_dim = n_in, n_out
        self.features_in = n_in
        self.optimizer: Optimizer = Adam()
        self.updates = 0  # how often the optimizer has moved the parameters
        self._matrix = panels.Matrix(shape)
        self._bias = panels.aligned(panels.round_up(self.output_dim, NR))
        self.moments = [panels.aligned(panels.panel_size(shape)) for _ in range(2)]
        self.bias_moments = [panels.aligned(len(self._bias)) for _ in range(2)]
        self._gradient: tuple[Panels, np.ndarray, int] | None = None  # input, transposed gradient and rows, of backward

    @property
    def weights(self) -> np.ndarray:
        """W, (in, out)."""
        return self._matrix.array

    @weights.setter
    def weights(self, value: Sliceable) -> None:
        self._matrix.array = _parameter("weights", value, self._matrix.shape)

    @property
    def bias(self) -> np.ndarray:
        """b, (1, out)."""
        return self._bias[None, : self.output_dim]

    @bias.setter
    def bias(self, value: Sliceable) -> None:
        self._bias[: self.output_dim] = _parameter("bias", value, (1, self.output_dim))[0]

    def parameters(self, out: tuple[np.ndarray, np.ndarray] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Copies of weights (in, out) and bias (out,), in `out` if given."""
        if out is None:
            return self._matrix.copy(), self.bias[0].copy()
        self._matrix.copy(out[0])
        out[1][:] = self.bias[0]
        return out

    def state(self) -> tuple[panels.Unpacked, np.ndarray]:
        """Weights (in, out) and bias (out,) for those who read them, piece by piece, before they change."""
        return self._matrix.rows(), self.bias[0]

    @property
    def memory(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights in panels and bias padded to NR: the kernels' own memory, which training changes."""
        return self._matrix.panels, self._bias

    def move(self, weights: list[np.ndarray], biases: list[np.ndarray], *, keep: bool) -> None:
        """Live in this memory from now on: values and two moments each, in panels and padded to NR.

        With keep they take what this layer has, otherwise this layer takes what they hold.
        """
        if keep:
            for new, old in zip([*weights[1:], *biases], [*self.moments, self._bias, *self.bias_moments], strict=True):
                new[:] = old
        self._matrix.move(weights[0], keep=keep)
        self.moments, self._bias, self.bias_moments = weights[1:], biases[0], biases[1:]
        self._gradient = None  # it stands for a program with the old addresses

    @property
    def grad_weights(self) -> np.ndarray:
        """dL/dW of the last backward, (in, out), without decay: computed when asked for."""
        return self._stored_gradient()[0]

    @property
    def grad_bias(self) -> np.ndarray:
        """dL/db of the last backward, (1, out): computed when asked for."""
        return self._stored_gradient()[1]

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        self._check_width(x.features)
        return program.linear(x, self._matrix.panels, self._bias, self.output_dim), x

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        gt = program.transpose(g)
        below = program.linear_backward(g, self._matrix.panels, self.input_dim)
        self.lower_update(program, saved, gt)
        return below

    def lower_update(self, program: Program, x: Panels, gt: np.ndarray) -> None:
        """Add the optimizer's step, for the input x and the transposed gradient of the output."""
        parameters = [self._matrix.panels, *self.moments], [self._bias, *self.bias_moments]
        program.update(x, gt, *parameters, self.output_dim)

    def sync(self) -> None:
        """Take up what was written to `weights` since the program was made."""
        _ = self._matrix.panels

    def updated(self, count: int) -> None:
        """Say that a program has moved the parameters so many times."""
        self.updates += count
        self._matrix.changed()

    def backward(self, grad: np.ndarray, *, input_gradient: bool = True) -> np.ndarray | None:  # type: ignore[override]
        """dL/dx (B, in) for dL/dy (B, out) of the last forward; None without input_gradient, as for a first layer."""
        program, g, x = self._enter_backward(grad)
        self._gradient = x, program.transpose(g), program.rows
        below = None
        if input_gradient:
            dx = program.linear_backward(g, self._matrix.panels, self.input_dim, barrier=True)
            below = program.scatter(dx, program.rows)
        program.run()
        return below

    def step(self, step_size: float) -> None:
        """One update by the optimizer with the gradient of the last backward."""
        x, gt, rows = self._required_gradient()
        program = Program(rows)
        self.lower_update(program, x, gt)
        program.run(hyper=self.optimizer.hyper(self.updates + 1, np.array([check_step_size(step_size)])))
        self.updated(1)

    def _required_gradient(self) -> tuple[Panels, np.ndarray, int]:
        if self._gradient is None:
            raise ArgumentError("LinearLayer: no backward has run, so there is no gradient yet")
        return self._gradient

    def _stored_gradient(self) -> tuple[np.ndarray, np.ndarray]:
        x, gt, rows = self._required_gradient()
        weights, bias = panels.aligned(panels.panel_size(self._matrix.shape)), panels.aligned(len(self._bias))
        program = Program(rows)
        program.update(x, gt, [weights] * 3, [bias] * 3, self.output_dim)
        program.run(hyper=store_gradient())
        return panels.unpack(weights, self._matrix.shape), bias[None, : self.output_dim]


class _Activation(Layer):
    """A function of each value alone, whose derivative follows from its value."""

    function: int

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        h = program.activate(x, self.function)
        return h, h

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        return program.derive(g, saved, self.function)


class ReLU(_Activation):
    """max(0, x); a NaN stays a NaN. Its derivative is 0 where x <= 0 (Nair & Hinton 2010)."""

    function = pointwise.RELU


class Sigmoid(_Activation):
    """1 / (1 + e^-x)."""

    function = pointwise.SIGMOID


class Tanh(_Activation):
    """The hyperbolic tangent."""

    function = pointwise.TANH


def _feature_vector(values: np.ndarray, name: str) -> np.ndarray:
    vector = numbers(name, values, np.float64, "one finite number a feature").reshape(-1)
    bad = vector[~np.isfinite(vector)]
    if bad.size or not vector.size:
        found = f"holds {bad[0]}" if bad.size else "empty"
        raise ArgumentError(f"{name}: {found}, want one finite number a feature")
    return vector


def _parameter(name: str, value: Any, shape: tuple[int, int]) -> Any:
    """value in this shape, float32: what is so already, array or fastff.system.blocks.Sliceable, as it is."""
    if getattr(value, "dtype", None) == np.float32 and value.shape == shape:
        return value
    array = numbers(name, value, np.float32, f"numbers, {shape}")
    if array.shape not in (shape, shape[1:] if shape[0] == 1 else shape):
        raise ArgumentError(f"{name}: shape {array.shape}, want {shape}")
    return array.reshape(shape)


def numbers(name: str, values: Any, dtype: type, wanted: str) -> np.ndarray:
    """values as an array; ArgumentError that names them where they are no numbers."""
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name}: {type(values).__name__} that is not an array of numbers, want {wanted}") from None
