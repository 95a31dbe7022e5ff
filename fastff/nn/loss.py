"""The losses: how far a network's outputs are from what they should be, and the gradient of that by the outputs.

Each is one operation, forward and gradient together. docs/derivations.md derives cross-entropy (Q1 to Q3).
"""

import inspect
import warnings
from typing import Any

import numpy as np

from fastff.data.rows import check_labels, check_rows, check_targets, check_weights
from fastff.engine.panels import Panels
from fastff.engine.program import Program
from fastff.errors import ArgumentError, DataError
from fastff.kernels import losses
from fastff.system.arguments import check_number, shown
from fastff.system.attributes import Checked, Closed


class Loss(Closed):
    """The base of all losses, and of a loss of your own, which has forward and backward and is trained layer by layer.

    Its forward(outputs, targets) returns the mean loss over the batch; backward() the gradient of the last forward's
    mean by the outputs. forward(outputs, targets, weights) takes weights (B,) too where Trainer.fit is to be given a
    sample_weight; the mean is then the weighted one.

    The attribute `task` is "regress" for targets that are numbers, float32 (B, outputs); "classify" for numbers of
    classes, int64 (B,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastff import FeedForwardNeuralNetwork, Loss, Trainer
    >>> class Quartic(Loss):
    ...     task = "regress"
    ...
    ...     def forward(self, outputs, targets):
    ...         self._error = outputs - targets
    ...         return float((self._error**4).mean())
    ...
    ...     def backward(self):
    ...         return 4 * self._error**3 / self._error.size
    >>> trainer = Trainer(FeedForwardNeuralNetwork(2, 1, [8], seed=0), loss=Quartic())
    """

    task = "regress"

    def forward(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """The mean loss over the batch.

        Parameters
        ----------
        outputs : ndarray of shape (B, outputs)
            What the network gives.
        targets : ndarray of shape (B, outputs) or (B,)
            What it should give.

        Returns
        -------
        float
            The mean.
        """
        raise NotImplementedError

    def backward(self) -> np.ndarray:
        """The gradient of the last forward's mean loss by its outputs.

        Returns
        -------
        ndarray of shape (B, outputs)
            The gradient.
        """
        raise NotImplementedError

    def check(self, targets: Any, name: str, *, rows: int, outputs: int | None) -> np.ndarray:
        """The targets as forward takes them; DataError, starting with `name`, for what it could not use."""
        if self.task == "classify":
            return check_labels(targets, name, rows=rows, classes=outputs, otherwise='loss="squared_error"')
        return check_targets(targets, name, rows=rows, outputs=outputs)

    def score(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Of the rows of the last forward, how many are right, or the sum of their squared errors, weighted."""
        if self.task == "classify":
            return float((outputs.argmax(1) == targets).sum())
        squares = np.square(outputs.astype(np.float64) - targets).sum(1)
        return float(squares.sum() if weights is None else (squares * weights).sum())

    def plain(self) -> "Loss":
        """The loss that says how good a network is: this one without what only training wants."""
        return self

    def takes_weights(self) -> bool:
        """Whether forward takes the weights of rows."""
        return len(inspect.signature(self.forward).parameters) > 2

    def lowers(self) -> bool:
        """Whether `lower` does all that forward and backward do."""
        return type(self) in LOSSES.values() and not {"forward", "backward"} & vars(self).keys()

    def lower_targets(self, program: Program, targets: np.ndarray) -> Any:
        """Add what brings a batch's targets to the program, in front of its rows; returns them, as `lower` takes it."""
        raise NotImplementedError

    def lower(
        self, program: Program, z: Panels, targets: Any, weights: Panels | None, *, gradient: bool, halt: bool = False
    ) -> Panels | None:
        """Add the loss of the outputs z to the program; returns their gradient, where it is asked for.

        weights: one feature, the weight of each row. halt: a loss that is not finite ends the run there.
        """
        raise NotImplementedError


class _Operation(Loss):
    """A loss that is an operation of the kernels."""

    def __init__(self) -> None:
        self._gradient: np.ndarray | None = None
        self._score = 0.0

    def _run(self, z: np.ndarray, targets: np.ndarray, weights: Any) -> float:
        """The mean loss of outputs and targets that are checked; backward and score then are of this batch."""
        whole, program, own = float(len(z)), Program(len(z)), None
        if weights is not None:
            weights = check_weights(weights, "weights", rows=len(z))
            whole = float(np.cumsum(weights, dtype=np.float64)[-1])  # in order, as the kernels sum
            own = program.gather(weights[:, None])
        batch = self.lower_targets(program, targets)
        g = self.lower(program, program.gather(z), batch, own, gradient=True)
        assert g is not None
        self._gradient = program.scatter(g, len(z))
        outcome = program.run()
        self._score = float(outcome.hits[0])
        return float(outcome.losses[0] / whole) if whole else 0.0

    def score(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
        return self._score

    def backward(self) -> np.ndarray:
        """The gradient of the last forward's mean loss by its outputs.

        Returns
        -------
        ndarray of shape (B, outputs), float32
            The gradient.
        """
        if self._gradient is None:
            raise ArgumentError(f"{type(self).__name__}.backward: no forward has run")
        return self._gradient


class CrossEntropySoftmax(_Operation):
    """The cross-entropy between the softmax of logits and the labels, averaged over the batch.

    The row's maximum is subtracted before exp, so that no finite logit overflows.

    Parameters
    ----------
    label_smoothing : float, default: 0.0
        With s in [0, 1) the target is the probability s / C for each of the C classes, and 1 - s more for the label's
        class (Szegedy et al. 2016).

    Examples
    --------
    >>> import numpy as np
    >>> from fastff import CrossEntropySoftmax
    >>> loss = CrossEntropySoftmax()
    >>> round(loss.forward(np.array([[0.0, 0.0]]), np.array([1])), 4)
    0.6931
    >>> loss.backward().tolist()
    [[0.5, -0.5]]
    """

    task = "classify"
    label_smoothing = Checked(lambda value: check_number("label_smoothing", value, 0.0, 1.0))

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
        """The mean loss over the batch.

        Parameters
        ----------
        logits : ndarray of shape (B, C)
            What the last linear layer gives.
        labels : ndarray of shape (B,) or (B, 1)
            Whole numbers from 0 to C - 1.
        weights : ndarray of shape (B,), optional
            Of 0 or more: then it is the weighted mean.

        Returns
        -------
        float
            The mean.
        """
        if isinstance(logits, np.ndarray) and logits.ndim == 1:
            raise DataError(
                f"logits: shape {logits.shape}, want (rows, classes); network.forward returns the logits of all rows "
                "and no list, so that [-1] takes the last row alone"
            )
        z = check_rows(logits, "logits")
        _warn_of_probabilities(z)
        return self._run(z, check_labels(labels, "labels", rows=len(z), classes=z.shape[1]), weights)

    def plain(self) -> Loss:
        """The cross-entropy without smoothing."""
        return CrossEntropySoftmax() if self.lowers() else self

    def lower_targets(self, program: Program, targets: np.ndarray) -> np.ndarray:
        return program.labels(targets)

    def lower(
        self, program: Program, z: Panels, targets: Any, weights: Panels | None, *, gradient: bool, halt: bool = False
    ) -> Panels | None:
        smoothing = self.label_smoothing
        return program.cross_entropy(z, targets, smoothing, gradient=gradient, halt=halt, weights=weights)


class _TargetLoss(_Operation):
    """A loss on target values: the mean, over rows and outputs, of a function of output and target."""

    kind = losses.SQUARED  # of the operation target_loss
    share = 1.0  # of the operation's sums over the outputs in this loss's sums

    def forward(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
        """The mean loss over the batch.

        Parameters
        ----------
        outputs : ndarray of shape (B, outputs)
            What the network gives.
        targets : ndarray of shape (B, outputs), or (B,) for one output
            What it should give.
        weights : ndarray of shape (B,), optional
            Of 0 or more: then it is the weighted mean.

        Returns
        -------
        float
            The mean.
        """
        z = check_rows(outputs, "outputs")
        return self._run(z, self.check(targets, "targets", rows=len(z), outputs=z.shape[1]), weights)

    def lower_targets(self, program: Program, targets: np.ndarray) -> Panels:
        return program.gather(targets)

    def lower(
        self, program: Program, z: Panels, targets: Any, weights: Panels | None, *, gradient: bool, halt: bool = False
    ) -> Panels | None:
        factor = self.share / z.features
        g = program.target_loss(z, targets, self.kind, halt=halt, weights=weights, factor=factor, in_place=not gradient)
        return g if gradient else None


class SquaredError(_TargetLoss):
    """The squared error (z - t)^2, averaged over rows and outputs, as PyTorch's MSELoss has it.

    Its gradient by an output is 2 (z - t) / (B * outputs). A Trainer says to the network that it predicts numbers;
    behind a loop of your own, network.task = "regress" does, and predict then gives them.
    """

    share = 2.0  # the operation has (z - t)^2 / 2


class AbsoluteError(_TargetLoss):
    """The absolute error ``|z - t|``, averaged over rows and outputs, as PyTorch's L1Loss has it.

    Its slope at 0 is 0.
    """

    kind = losses.ABSOLUTE


class PoissonLoss(_TargetLoss):
    """e^z - t z, averaged over rows and outputs: outputs are logarithms of the expected counts, and targets t >= 0.

    PyTorch's PoissonNLLLoss with log_input=True has the same. The terms of the likelihood that no output changes
    (Stirling's approximation of log t!) are left out, so the loss may be negative. e^z is that of 88 for z above 88.
    """

    kind = losses.POISSON

    def check(self, targets: Any, name: str, *, rows: int, outputs: int | None) -> np.ndarray:
        t = super().check(targets, name, rows=rows, outputs=outputs)
        if t.min() < 0:
            row = int(np.argmax(t.min(1) < 0))
            raise ArgumentError(f"{name}: {t[row].min():g} at row {row}, want numbers of 0 or more for PoissonLoss")
        return t


LOSSES: dict[str, type[_Operation]] = {
    "cross_entropy": CrossEntropySoftmax,
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "poisson": PoissonLoss,
}


def check_loss(value: Any, label_smoothing: Any = 0.0) -> Loss:
    """The loss of a name, or the loss itself. ArgumentError for anything else, and for smoothing that is not its."""
    if isinstance(value, str) and value == "cross_entropy":
        return CrossEntropySoftmax(label_smoothing)
    smoothing = check_number("label_smoothing", label_smoothing, 0.0, 1.0)
    loss = LOSSES[value]() if isinstance(value, str) and value in LOSSES else value
    if not isinstance(loss, Loss):
        raise ArgumentError(f"loss: {shown(value)}, want one of {', '.join(LOSSES)}, or a fastff.Loss")
    if loss.task not in ("classify", "regress"):
        raise ArgumentError(f"loss: {type(loss).__name__} with the task {loss.task!r}, want classify or regress")
    if smoothing:
        cure = "CrossEntropySoftmax(label_smoothing)" if isinstance(loss, CrossEntropySoftmax) else "0"
        raise ArgumentError(f"label_smoothing: {smoothing:g} beside the loss {type(loss).__name__}, want {cure}")
    return loss


def as_loss(loss: Loss, value: Any) -> float:
    """What forward of a loss has returned, a number; ArgumentError otherwise."""
    if not isinstance(value, int | float | np.number):
        raise ArgumentError(f"{type(loss).__name__}.forward: {shown(value)}, want the mean loss, a number")
    return float(value)


def _warn_of_probabilities(z: np.ndarray) -> None:
    """Warn of rows that a softmax was applied to already: the loss would apply it a second time."""
    if z.shape[1] > 1 and z.min() >= 0.0 and z.max() <= 1.0 and np.abs(z.sum(1, dtype=np.float64) - 1.0).max() < 1e-4:
        warnings.warn(
            "logits: each row holds numbers from 0 to 1 that sum to 1, as after a softmax; the loss applies the "
            "softmax itself, so give it what the last linear layer returns",
            stacklevel=3,
        )
