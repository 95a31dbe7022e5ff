"""PiecewiseLinear: a layer that turns a number into several, one for each range of its values, as tables need it."""

from itertools import pairwise
from typing import Any

import numpy as np

from fastff.data.rows import Rows, Shards, check_finite, check_rows
from fastff.engine.panels import Panels
from fastff.engine.program import Program
from fastff.errors import ArgumentError, DataError
from fastff.kernels import encoding
from fastff.nn.layers import Layer
from fastff.nn.preprocessing import Standardize, kept
from fastff.system.arguments import check_numbers, check_size, shown
from fastff.system.attributes import Fixed

MOST_LINES = 4096  # of all features together: with many features there are fewer bins for each
REACH = 3.0  # quarters-to-quarters that a feature's own line reaches to both sides of the median
_BOUNDS = ("lower", "scale", "low", "high")


class PiecewiseLinear(Layer, saved_as="piecewise_linear"):
    """Clipped lines of the features of a row: y_k = min(max((x_j - lower_k) scale_k, low_k), high_k), j = sources_k.

    A network of few layers is smooth in its input, and what a table's number means often is not: it changes at an age
    of 18 or a price of 100. With a line for each range between quantiles, which goes from 0 to 1 within the range, the
    first layer learns a function with a bend at every quantile (Gorishniy et al. 2022, "On embeddings for numerical
    features in tabular deep learning", 3.2). The layer stands behind Standardize, or first, and is not trained.

    Parameters
    ----------
    sources : ndarray of shape (K,), whole numbers
        The feature of each line, counted from 0, in ascending order; every feature has one line or more.
    lower, scale, low, high : ndarray of shape (K,)
        Where each line is 0, its slope, and its smallest and largest value.

    Raises
    ------
    ArgumentError
        For arrays of other shapes or values.

    Examples
    --------
    >>> import numpy as np
    >>> from fastff import PiecewiseLinear
    >>> ages = np.array([[5], [15], [25], [40], [70]], np.float32)
    >>> layer = PiecewiseLinear.fit(ages, bins=2)
    >>> [round(value, 2) for value in layer.forward(np.array([[20]], np.float32))[0].tolist()]
    [0.75, 0.0, -0.2]
    """

    array_names = ("sources", *_BOUNDS)
    sources, lower, scale, low, high, features_in, output_dim = (Fixed() for _ in range(7))

    def __init__(
        self, sources: np.ndarray, lower: np.ndarray, scale: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> None:
        places = np.asarray(sources)
        if places.ndim != 1 or places.size == 0 or places.dtype.kind not in "iu":
            raise ArgumentError(f"sources: {places.dtype} of shape {places.shape}, want whole numbers, one a line")
        steps = np.diff(places.astype(np.int64), prepend=-1)
        if not ((steps == 0) | (steps == 1)).all() or places[0] != 0:
            raise ArgumentError("sources: want 0, 1, 2 and so on in this order, each once or more")
        self.sources = kept(places, np.int64)
        for name, given in zip(_BOUNDS, (lower, scale, low, high), strict=True):
            values = check_numbers(name, given, np.float32, "one number a line")
            if values.shape != places.shape or not np.isfinite(values).all():
                raise ArgumentError(f"{name}: shape {values.shape}, want {places.size} finite numbers, one a line")
            setattr(self, name, kept(values, np.float32))
        if (self.low > self.high).any():
            raise ArgumentError("low: above high for some line, want it below or equal")
        self.features_in, self.output_dim = int(places[-1]) + 1, places.size

    @classmethod
    def fit(cls, X: Rows, bins: int, *, after: Standardize | None = None) -> "PiecewiseLinear":
        """The layer for X (N, D), as the layer `after` standardises X, with up to `bins` ranges for each feature.

        Ranges lie between quantiles, and between all values of a feature that has no more than bins + 1. A feature of
        three values or more also has a line of its own: its distance from the median in units of the distance between
        its quarters, clipped at 3. A feature that is the same in all rows becomes 0. All in all there are at most 4,096
        lines, or two for each feature.

        Parameters
        ----------
        X : ndarray of shape (N, D)
            The rows of the training.
        bins : int
            The most ranges of a feature.
        after : Standardize, optional
            The layer in front.

        Returns
        -------
        PiecewiseLinear

        Raises
        ------
        ArgumentError
            For bins below 1, and for rows that stay in files.
        DataError
            For rows that are not finite numbers, and for one too far from the others.
        """
        if not isinstance(after, Standardize | None):
            raise ArgumentError(f"after: {shown(after)}, want a Standardize or None")
        if isinstance(X, Shards):
            raise ArgumentError("X: rows in files, want an array: quantiles need all values of a feature at once")
        X = check_rows(X, "X", features=None if after is None else after.features_in)
        check_finite(X, "X")
        most = min(check_size("bins", bins), max(1, MOST_LINES // X.shape[1] - 1))
        lines: list[tuple[int, float, float, float, float]] = []
        for j in range(X.shape[1]):
            column = X[:, j].astype(np.float64)
            if after is not None:
                with np.errstate(over="ignore"):
                    scaled = (column - after.mean[j]).astype(np.float32) * after.scale[j]
                if not np.isfinite(scaled).all():
                    far = column[np.argmin(np.isfinite(scaled))]
                    raise DataError(
                        f"X: column {j} holds {far:g}, too far from its other values for float32, want less"
                    )
                column = scaled.astype(np.float64)
            lines += [(j, *line) for line in _lines_of(np.sort(column), most)]
        sources, *bounds = zip(*lines, strict=True)
        return cls(np.array(sources, np.int64), *(np.array(values, np.float32) for values in bounds))

    def __repr__(self) -> str:
        return f"PiecewiseLinear({self.features_in}, {self.output_dim})"

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        self._check_width(x.features)
        y = program.panels(self.output_dim)
        lines = {name: getattr(self, name) for name in self.array_names}
        program.add(encoding.encode, x=x, y=y, n_in=x.features, n_out=y.features, **lines)
        return y, y

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        dx = program.panels(self.features_in)
        lines = {name: getattr(self, name) for name in self.array_names if name != "lower"}
        program.add(encoding.encode_backward, g=g, y=saved, dx=dx, n_in=dx.features, n_out=g.features, **lines)
        return dx


def scale_by_quarters(X: Rows) -> Standardize:
    """A Standardize of each feature's median, and of the distance between its quarters instead of the deviation.

    One value far away moves the mean and the deviation, and leaves of the others what float32 cannot tell apart.
    """
    X = check_rows(X, "X")
    check_finite(X, "X")
    centres, spreads = [], []
    for j in range(X.shape[1]):
        values = np.sort(X[:, j].astype(np.float64))
        low, median, high = _quarters(values)
        centres.append(median)
        spreads.append(high - low if high > low else (values[-1] - values[0]) / 2)
    return Standardize(np.array(centres), np.array(spreads))


def _quarters(values: np.ndarray) -> np.ndarray:
    return values[np.array([1, 2, 3]) * (len(values) - 1) // 4]


def _lines_of(values: np.ndarray, bins: int) -> list[tuple[float, float, float, float]]:
    """(lower, scale, low, high) of each line of one feature, whose values are sorted.

    The ends of ranges are values of the feature, and no means of two, so that they have the same bits everywhere.
    """
    different = values[np.append(True, np.diff(values) > 0)]
    if len(different) == 1:
        return [(float(values[0]), 0.0, 0.0, 0.0)]
    ends = different
    if len(different) > bins + 1:
        ends = np.unique(values[np.arange(bins + 1) * (len(values) - 1) // bins])
    lines = [(low, _slope(high - low), 0.0, 1.0) for low, high in pairwise(ends)]
    if len(different) > 2:
        low, median, high = _quarters(values)
        spread = high - low if high > low else (values[-1] - values[0]) / 2
        lines.append((median, _slope(spread), -REACH, REACH))
    return lines


def _slope(width: float) -> float:
    """1 / width, as far as float32 reaches."""
    return min(1.0 / width, float(np.finfo(np.float32).max))
