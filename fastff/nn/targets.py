"""The layers that stand last in a network that predicts numbers, and turn its outputs into the targets' own units.

A Trainer whose loss they are made for computes it in front of them, of targets that it turns the other way, once and
in float64. So a network learns numbers of about 1, and predicts prices.
"""

from typing import Any

import numpy as np

from fastff.data import statistics
from fastff.data.rows import check_targets, target_array
from fastff.engine import panels
from fastff.engine.panels import Panels
from fastff.engine.program import Program
from fastff.errors import ArgumentError, DataError
from fastff.kernels import pointwise
from fastff.nn.activations import Activation
from fastff.nn.layers import Layer
from fastff.nn.loss import AbsoluteError, Loss, PoissonLoss, SquaredError
from fastff.nn.preprocessing import feature_vector, kept
from fastff.system import elementary
from fastff.system.attributes import Fixed
from fastff.system.limits import check_room


class TargetScale(Layer, saved_as="target_scale"):
    """The mean of the targets plus std * z for each output z of a network that predicts numbers. It stands last.

    With SquaredError or AbsoluteError a Trainer computes the loss in front of this layer, of (targets - mean) / std.

    Parameters
    ----------
    mean, std : ndarray of shape (outputs,)
        Kept as float64; std 0, of a target that never changes, counts as 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastff import TargetScale
    >>> layer = TargetScale.fit(np.array([100.0, 300.0]))
    >>> layer.forward(np.array([[0.0], [1.0]])).tolist()
    [[200.0], [300.0]]
    """

    array_names = ("mean", "std")
    mean, std, factor, features_in, output_dim = Fixed(), Fixed(), Fixed(), Fixed(), Fixed()
    made_for = SquaredError, AbsoluteError

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        self.mean, self.std = feature_vector(mean, "mean"), feature_vector(std, "std")
        if self.mean.shape != self.std.shape:
            raise ArgumentError(f"std: {self.std.size} values, want as many as mean has, {self.mean.size}")
        if (self.std < 0).any():
            raise ArgumentError(f"std: {self.std.min():g}, want no negative value")
        if not np.isfinite(np.concatenate([_float32(self.mean), _float32(self.std)])).all():
            raise ArgumentError("mean and std: beyond float32, want numbers below 3.4e38")
        outputs = self.features_in = self.output_dim = self.mean.size
        check_room(f"a scale of {outputs:,} targets", 4 * outputs * outputs)
        self.factor = kept(np.where(_float32(self.std) > 0, self.std, 1.0), np.float64)
        # a matrix with the factors on its diagonal: of one or a few targets, as most are
        self._panels = panels.aligned(panels.panel_size((outputs, outputs)))
        self._shift = panels.aligned(panels.round_up(outputs, panels.NR))
        panels.pack(np.diag(self.factor.astype(np.float32)), self._panels)
        self._shift[:outputs] = self.mean

    @classmethod
    def fit(cls, Y: np.ndarray) -> "TargetScale":
        """The layer with the mean and the standard deviation of each column of the targets.

        Parameters
        ----------
        Y : ndarray of shape (N, outputs) or (N,)
            The targets of the training rows.

        Returns
        -------
        TargetScale
            The layer for targets like these.

        Raises
        ------
        DataError
            For targets that are not finite numbers, and for one beyond float32.
        """
        values = target_array(Y, "Y")
        if not np.isfinite(_float32(values)).all():
            largest = values.flat[np.argmax(np.abs(values))]
            raise DataError(f"Y: {largest:g} is beyond float32, want numbers below 3.4e38")
        return cls(*statistics.of(values, "Y"))

    def __repr__(self) -> str:
        return f"TargetScale({self.output_dim} outputs)"

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        self._check_width(x.features)
        return program.linear(x, self._panels, self._shift, self.output_dim), None

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        return program.linear_backward(g, self._panels, self.features_in, barrier=True)

    def inner(self, criterion: Loss, Y: Any, name: str, *, rows: int) -> np.ndarray:
        """Targets in front of this layer, float32 (N, outputs). DataError, starting with `name`, for bad ones."""
        values = target_array(Y, name, rows=rows, outputs=self.output_dim)
        scaled = _float32((values - self.mean) / self.factor)
        if not np.isfinite(scaled).all():
            raise DataError(f"{name}: beyond float32 in units of the network's TargetScale, want targets like it")
        return criterion.check(scaled, name, rows=rows, outputs=self.output_dim)

    def outer(self, z: np.ndarray) -> np.ndarray:
        """What comes out of this layer for z (N, outputs), in float64."""
        return self.mean + self.factor * z


class TargetExp(Activation, saved_as="target_exp"):
    """e^z for each output z of a network that predicts counts or other numbers of 0 or more. It stands last.

    With PoissonLoss a Trainer computes the loss in front of this layer, of the logarithms z. e^z is that of 88 for z
    above 88.
    """

    function = pointwise.EXPONENTIAL
    made_for = (PoissonLoss,)

    def inner(self, criterion: Loss, Y: Any, name: str, *, rows: int) -> np.ndarray:
        """Targets as PoissonLoss takes them, float32 (N, outputs). DataError, starting with `name`, for bad ones."""
        return criterion.check(check_targets(Y, name, rows=rows), name, rows=rows, outputs=None)

    def outer(self, z: np.ndarray) -> np.ndarray:
        """What comes out of this layer for z (N, outputs), in float64."""
        z = np.minimum(z.astype(np.float64), pointwise.HIGHEST)
        power = elementary.exp(-np.abs(z))
        return np.where(z > 0, 1.0 / power, power)


TARGET_LAYERS = TargetScale, TargetExp


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
