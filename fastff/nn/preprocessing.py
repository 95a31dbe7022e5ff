"""The layers that prepare raw rows: Augment, Standardize and Whiten. They stand first in a network and are not trained.

Augment and Standardize work on rows of any type (uint8, float32 or float64) as a batch is gathered from them, so the
kernels read the data once.
"""

from typing import Any

import numpy as np

from fastff.data import statistics
from fastff.data.rows import Rows, check_finite, check_rows
from fastff.engine import panels
from fastff.engine.panels import Panels
from fastff.engine.products import covariance
from fastff.engine.program import Program
from fastff.errors import ArgumentError, DataError
from fastff.nn.components import principal_components
from fastff.nn.dropout import RandomLayer
from fastff.nn.layers import Layer
from fastff.system import elementary
from fastff.system.arguments import check_flag, check_number, check_numbers, check_size, is_whole, shown
from fastff.system.attributes import Fixed
from fastff.system.blocks import all_finite
from fastff.system.hold import hold

# A direction whose variance is below this share of the largest holds rounding errors, and no data
NOISE = 1e-7


class Augment(RandomLayer, saved_as="augment"):
    """Changes pictures at random in training, so that the network sees many versions of each. It must stand first.

    A row holds the channels * height * width values of a picture, one channel after the other.

    Parameters
    ----------
    image_shape : tuple of int
        (channels, height, width) of a picture.
    mirror : bool, default: True
        Whether it is mirrored left to right with probability 1/2.
    shift : int, default: 0
        It is then moved by up to so many pixels up or down and by up to as many left or right; what comes in at the
        edge is the picture's reflection.
    rotate : float, default: 0
        It is rotated about its centre by up to so many degrees either way.
    zoom : float, default: 0
        It is shrunk or enlarged by up to this share of its size, and stretched by up to half of that. Rotated and
        zoomed pixels are interpolated between four of the picture's.
    cutout : int, default: 0
        At last a square of so many pixels a side, anywhere in the picture and perhaps partly outside, becomes the mean
        of each channel (DeVries & Taylor 2017, "Improved regularization of convolutional neural networks with cutout").
    seed : int, optional
        Makes the changes reproducible.

    Examples
    --------
    >>> import numpy as np
    >>> from fastff import Augment
    >>> Augment((1, 2, 2), shift=1)
    Augment(image_shape=[1, 2, 2], mirror=True, shift=1)
    """

    setting_names = ("image_shape", "mirror", "shift", "rotate", "zoom", "cutout")
    image_shape, mirror, shift, features_in = Fixed(), Fixed(), Fixed(), Fixed()
    rotate, zoom, cutout = Fixed(), Fixed(), Fixed()

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        mirror: bool = True,
        shift: int = 0,
        rotate: float = 0.0,
        zoom: float = 0.0,
        cutout: int = 0,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        if not isinstance(image_shape, tuple | list) or len(image_shape) != 3:
            raise ArgumentError(f"image_shape: {shown(image_shape)}, want (channels, height, width)")
        channels, height, width = (check_size("image_shape", n) for n in image_shape)
        self.image_shape = channels, height, width
        for name, pixels in (("shift", shift), ("cutout", cutout)):
            if not is_whole(pixels) or not 0 <= pixels < min(height, width):
                raise ArgumentError(
                    f"{name}: {shown(pixels)}, want a whole number of pixels from 0 to {min(height, width) - 1}"
                )
        self.mirror, self.shift, self.cutout = check_flag("mirror", mirror), int(shift), int(cutout)
        self.rotate, self.zoom = check_number("rotate", rotate, 0.0, 360.0), check_number("zoom", zoom, 0.0, 1.0)
        self.features_in = channels * height * width

    def settings(self) -> dict[str, Any]:
        """As of any layer, without the changes that are not made; mirror and shift are always said."""
        values = super().settings()
        return {name: value for name, value in values.items() if value or name in ("mirror", "shift")}

    def lower_rows(self, program: Program, rows: Rows) -> np.ndarray:
        """Add the changes to the program; returns the batch of changed rows, from which the program is to gather."""
        self._check_width(rows.shape[1])
        return program.augment(
            rows, self.image_shape, mirror=self.mirror, shift=self.shift, rotate=self.rotate, zoom=self.zoom,
            cutout=self.cutout, key=self._key,
        )  # fmt: skip

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        return x, None  # lower_rows has changed the rows

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """The gradient by the output as it is: nobody needs the gradient by the data.

        Parameters
        ----------
        grad : ndarray of shape (B, features)
            The gradient of the loss by the output.

        Returns
        -------
        ndarray of shape (B, features)
            The same.
        """
        return grad

    def gather(self, program: Program, rows: Rows, *, in_batch: bool = False) -> Panels:
        return program.gather(self.lower_rows(program, rows), in_batch=True)


class Standardize(Layer, saved_as="standardize"):
    """(x - mean) / std for each feature of a row. It is the first layer, or the second behind Augment.

    A constant feature, which has std 0, becomes x - mean.

    Parameters
    ----------
    mean, std : ndarray of shape (D,) or (1, D)
        Kept as float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastff import Standardize
    >>> layer = Standardize.fit(np.array([[1, 10], [3, 30]]))
    >>> layer.forward(np.array([[2, 40]])).tolist()
    [[0.0, 2.0]]
    """

    array_names = ("mean", "std")

    mean, std, scale, features_in = Fixed(), Fixed(), Fixed(), Fixed()

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        self.mean, self.std = feature_vector(mean, "mean"), feature_vector(std, "std")
        if self.mean.shape != self.std.shape:
            raise ArgumentError(f"std: {self.std.size} values, want as many as mean has, {self.mean.size}")
        if (self.std < 0).any():
            raise ArgumentError(f"std: {self.std.min():g}, want no negative value")
        self.features_in = self.mean.size
        most = np.finfo(np.float32).max
        inverse = np.minimum(1 / np.where(self.std > 1 / most, self.std, 1 / most), most)
        self.scale = kept(np.where(self.std > 0, inverse, 1), np.float32)

    @classmethod
    def fit(cls, X: Rows) -> "Standardize":
        """The layer with the mean and the standard deviation of each column, summed in float64.

        The sums take one pass over the data. The result for Shards is saved beside their files, and read from there as
        long as these do not change.

        Parameters
        ----------
        X : ndarray of shape (N, D)
            The rows of the training.

        Returns
        -------
        Standardize
            The layer for rows like these.

        Raises
        ------
        DataError
            For a deviation of 8.5e37 or more, whose inverse float32 cannot hold.
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
        return x, None  # `gather` has standardised the rows

    def __repr__(self) -> str:
        return f"Standardize({self.features_in} features)"

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """The gradient of the loss by the raw rows, which is grad / std.

        Parameters
        ----------
        grad : ndarray of shape (B, D)
            The gradient of the loss by the output.

        Returns
        -------
        ndarray of shape (B, D), float32
            The gradient by the raw rows.
        """
        return check_rows(grad, "grad", features=self.features_in) * self.scale

    def gather(self, program: Program, rows: Rows, *, in_batch: bool = False) -> Panels:
        self._check_width(rows.shape[1])
        return program.gather(rows, self.mean, self.scale, in_batch=in_batch)


class Whiten(Layer, saved_as="whiten"):
    """y = x P + c, which turns rows of D features into k principal components, each of mean 0 and variance 1.

    Neighbouring pixels say nearly the same. A network that is given what differs learns faster and generalises better
    (LeCun et al. 1998, "Efficient BackProp", 4.3). The layer stands behind Standardize and in front of all layers that
    are trained.

    Parameters
    ----------
    projection : ndarray of shape (D, k)
        P, finite, kept as float32.
    shift : ndarray of shape (k,)
        c, finite, kept as float32.

    Examples
    --------
    >>> from fastff import Standardize, Whiten, load_dataset
    >>> data = load_dataset("digits")
    >>> standardize = Standardize.fit(data.x_train)
    >>> Whiten.fit(data.x_train, 32, after=standardize)
    Whiten(64, 32)
    """

    array_names = ("projection", "shift")
    projection, shift, features_in, output_dim = Fixed(), Fixed(), Fixed(), Fixed()

    def __init__(self, projection: np.ndarray, shift: np.ndarray) -> None:
        matrix = check_numbers("projection", projection, np.float32, "numbers, (features, components)")
        vector = check_numbers("shift", shift, np.float32, "one number a component").reshape(-1)
        if matrix.ndim != 2 or 0 in matrix.shape or vector.size != matrix.shape[1]:
            raise ArgumentError(
                f"projection: shape {matrix.shape} with a shift of {vector.size}, want (features, components) "
                "and as many numbers as components"
            )
        if not (np.isfinite(matrix).all() and np.isfinite(vector).all()):
            raise ArgumentError("projection: holds a value that is not finite, want finite numbers")
        self.projection, self.shift = kept(matrix, np.float32), kept(vector, np.float32)
        self.features_in, self.output_dim = matrix.shape
        self._panels = panels.aligned(panels.panel_size(matrix.shape))
        self._shift = panels.aligned(panels.round_up(vector.size, panels.NR))
        panels.pack(matrix, self._panels)
        self._shift[: vector.size] = vector

    @classmethod
    def fit(cls, X: Rows, components: int, *, after: Standardize | None = None) -> "Whiten":
        """The layer for the largest principal components of X, as the layer `after` standardises X.

        Parameters
        ----------
        X : ndarray of shape (N, D)
            The rows of the training.
        components : int
            How many.
        after : Standardize, optional
            The layer in front.

        Returns
        -------
        Whiten
            The layer for rows like these.

        Raises
        ------
        ArgumentError
            For more components than features.
        DataError
            For values whose squares float32 cannot hold.
        """
        if not isinstance(after, Standardize | None):
            raise ArgumentError(f"after: {shown(after)}, want a Standardize or None")
        X = check_rows(X, "X", features=None if after is None else after.features_in)
        check_finite(X, "X")
        if check_size("components", components) > X.shape[1]:
            raise ArgumentError(f"components: {components}, want at most the {X.shape[1]} features of X")
        mean, _ = statistics.of(X, "X")
        scale = np.ones(X.shape[1], np.float32) if after is None else after.scale
        products = covariance(X, mean, scale)
        if not all_finite(products):
            raise DataError("X: values too large to whiten, want standardised rows")
        variances, directions = principal_components(products, components)
        known = variances > NOISE * variances[0]
        projection = directions.T * (known / np.sqrt(np.where(known, variances, 1.0)))
        centre = (mean - (0.0 if after is None else after.mean)) * scale
        return cls(projection, -elementary.sum_rows(centre[:, None] * projection))

    def __repr__(self) -> str:
        return f"Whiten({self.features_in}, {self.output_dim})"

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        self._check_width(x.features)
        return program.linear(x, self._panels, self._shift, self.output_dim), None

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        return program.linear_backward(g, self._panels, self.features_in, barrier=True)


def feature_vector(values: np.ndarray, name: str) -> np.ndarray:
    """values (D,) or (1, D) as float64 (D,), a copy; ArgumentError if one is not finite, or there is none."""
    vector = check_numbers(name, values, np.float64, "one finite number a feature").reshape(-1)
    bad = vector[~np.isfinite(vector)]
    if bad.size or not vector.size:
        found = f"holds {bad[0]}" if bad.size else "empty"
        raise ArgumentError(f"{name}: {found}, want one finite number a feature")
    return kept(vector, np.float64)


def kept(array: np.ndarray, dtype: type) -> np.ndarray:
    """A copy that nobody can write to or resize: what was made from it would not change with it."""
    array = np.array(array, dtype, order="C")
    hold(array)
    array.flags.writeable = False
    return array
