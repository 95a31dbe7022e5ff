"""Rows as their principal components, each with variance 1: neighbouring pixels say nearly the same, and a network that
is given what differs learns faster and generalises better (LeCun et al. 1998, "Efficient BackProp", 4.3).
"""

from typing import Any

import numpy as np

from fastff.data.rows import Rows, check_finite, check_rows
from fastff.engine import panels
from fastff.engine.program import Panels, Program
from fastff.errors import ArgumentError, DataError
from fastff.nn.layers import Layer, Standardize, numbers
from fastff.system.arguments import check_size
from fastff.system.blocks import row_blocks

# A direction whose variance is below this share of the largest is rounding, not data
NOISE = 1e-7


class Whiten(Layer):
    """y = x P + c, a fixed linear map from `features_in` to `output_dim` values; nothing to train.

    projection (D, k) and shift (k,) are finite numbers. In a network it follows Standardize, in front of the first
    layer that is trained.
    """

    def __init__(self, projection: np.ndarray, shift: np.ndarray) -> None:
        matrix = numbers("projection", projection, np.float32, "numbers, (features, components)")
        vector = numbers("shift", shift, np.float32, "one number a component").reshape(-1)
        if matrix.ndim != 2 or 0 in matrix.shape or vector.size != matrix.shape[1]:
            raise ArgumentError(
                f"projection: shape {matrix.shape} with a shift of {vector.size}, want (features, components) "
                "and as many numbers as components"
            )
        if not (np.isfinite(matrix).all() and np.isfinite(vector).all()):
            raise ArgumentError("projection: holds a value that is not finite, want finite numbers")
        self.projection, self.shift = matrix, vector
        self.features_in, self.output_dim = matrix.shape
        self._panels = panels.aligned(panels.panel_size(matrix.shape))
        self._shift = panels.aligned(panels.round_up(vector.size, panels.NR))
        panels.pack(matrix, self._panels)
        self._shift[: vector.size] = vector

    @classmethod
    def fit(cls, X: Rows, components: int, *, after: Standardize | None = None) -> "Whiten":
        """The layer that turns X (N, D), standardised by `after`, into its `components` largest principal components.

        The covariance is summed in float64. Raises ArgumentError for more components than features, DataError
        for values whose squares exceed float32.
        """
        X = check_rows(X, "X", features=None if after is None else after.features_in)
        check_finite(X, "X")
        if check_size("components", components) > X.shape[1]:
            raise ArgumentError(f"components: {components}, want at most the {X.shape[1]} features of X")
        scale = np.ones(X.shape[1]) if after is None else after.scale.astype(np.float64)
        mean = sum(block.sum(0, dtype=np.float64) for block in row_blocks(X)) / len(X)
        covariance = np.zeros((X.shape[1], X.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            for block in row_blocks(X):
                scaled = ((block - mean) * scale).astype(np.float32)
                covariance += scaled.T @ scaled
        if not np.isfinite(covariance).all():
            raise DataError("X: values too large to whiten, want standardised rows")
        variances, directions = np.linalg.eigh(covariance / len(X))
        variances, directions = variances[: -components - 1 : -1], directions[:, : -components - 1 : -1]
        known = variances > NOISE * variances[0]
        projection = directions * (known / np.sqrt(np.where(known, variances, 1.0)))
        centre = (mean - (0.0 if after is None else after.mean)) * scale
        return cls(projection, -centre @ projection)

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        self._check_width(x.features)
        return program.linear(x, self._panels, self._shift, self.output_dim), None

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        return program.linear_backward(g, self._panels, self.projection.shape[0], barrier=True)
