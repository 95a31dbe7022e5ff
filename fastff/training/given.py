"""What a fit is given, checked: rows, targets as the loss takes them, and weights."""

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from fastff.data.rows import Rows, Shards, check_finite, check_rows, check_weights
from fastff.errors import ArgumentError
from fastff.nn.layers import LinearLayer
from fastff.nn.loss import Loss
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.preprocessing import Augment
from fastff.nn.targets import TARGET_LAYERS, TargetExp, TargetScale
from fastff.system import elementary

Fit = TypeVar("Fit", bound=Callable[..., Any])
# Trainers in a fit, by id: an attribute of theirs would go into copies that on_epoch makes
_FITTING: set[int] = set()
_LOCK = threading.Lock()
LOOK, MOST = 256, 16  # rows that are looked at for numbers above this


@dataclass(frozen=True)
class Given:
    """Rows X (N, D) and their targets Y, validation's where there is some, and the training rows' weights."""

    X: Rows
    Y: np.ndarray
    X_val: Rows | None = None
    Y_val: np.ndarray | None = None
    weights: np.ndarray | None = None


def check_given(
    network: FeedForwardNeuralNetwork, criterion: Loss, X: Any, Y: Any, X_val: Any, Y_val: Any, sample_weight: Any
) -> Given:
    """What fit is given, as it is used; raises as Trainer.fit does."""
    X, Y = check_pair(network, criterion, X, Y, "X", "Y")
    if not isinstance(X, Shards):  # to read all of them would take as long as an epoch: see Trainer._diverged
        _check_finite_rows(X, "X")
        _warn_of_raw_pixels(network, X)
    if (X_val is None) != (Y_val is None):
        raise ArgumentError("X_val and Y_val: one of the two is missing, want both or neither")
    if X_val is not None:
        X_val, Y_val = check_pair(network, criterion, X_val, Y_val, "X_val", "Y_val")
        _check_finite_rows(X_val, "X_val")
    if sample_weight is None:
        return Given(_kept(X), Y, _kept(X_val), Y_val)
    if not criterion.takes_weights():
        raise ArgumentError(
            f"sample_weight: {type(criterion).__name__} takes none, want one with forward(outputs, targets, weights)"
        )
    weights = check_weights(sample_weight, "sample_weight", rows=len(X))
    if not weights.any():
        raise ArgumentError("sample_weight: 0 for every row, want a positive one")
    return Given(_kept(X), Y, _kept(X_val), Y_val, weights)


def _kept(X: Any) -> Any:
    """X as a view, whose shape stays what it is when somebody changes that of X during the fit."""
    return X[:] if isinstance(X, np.ndarray) else X


def one_at_a_time(fit: Fit) -> Fit:
    """Let a trainer's fit refuse to begin, in another thread or by on_epoch, as long as one of this trainer runs."""

    @wraps(fit)
    def alone(trainer: Any, *args: Any, **options: Any) -> Any:
        with _LOCK:
            if id(trainer) in _FITTING:
                raise ArgumentError("fit: this trainer is in a fit already, want one at a time")
            _FITTING.add(id(trainer))
        try:
            return fit(trainer, *args, **options)
        finally:
            _FITTING.discard(id(trainer))

    return alone  # type: ignore[return-value]


def _warn_of_raw_pixels(network: FeedForwardNeuralNetwork, X: np.ndarray) -> None:
    """Warn of whole numbers up to 255 that meet weights for numbers about 1, with which no training goes well."""
    first = next((layer for layer in network.layers if not isinstance(layer, Augment)), None)
    if X.dtype == np.uint8 and isinstance(first, LinearLayer) and X[:LOOK].max() > MOST:
        warnings.warn(
            f"X: whole numbers of up to {X[:LOOK].max()} go into the network as they are; put "
            "network.layers.insert(0, Standardize.fit(X)) before the training",
            stacklevel=4,
        )


def check_pair(
    network: FeedForwardNeuralNetwork, criterion: Loss, X: Any, Y: Any, X_name: str, Y_name: str
) -> tuple[Rows, np.ndarray]:
    """Rows and their targets as the loss takes them; DataError, which begins with a name, for what could not be."""
    X = check_rows(X, X_name, features=network.input_dim)
    last = layer_behind_loss(network, criterion)
    if last is not None:
        return X, last.inner(criterion, Y, Y_name, rows=len(X))
    return X, criterion.check(Y, Y_name, rows=len(X), outputs=network.output_dim)


def layer_behind_loss(network: FeedForwardNeuralNetwork, criterion: Loss) -> TargetScale | TargetExp | None:
    """The network's last layer, if it is one in front of which this loss is computed; otherwise None."""
    last = network.layers[-1] if network.layers else None
    return last if type(last) in TARGET_LAYERS and isinstance(criterion, last.made_for) else None  # type: ignore[union-attr]


def in_front_of_loss(network: FeedForwardNeuralNetwork, criterion: Loss) -> FeedForwardNeuralNetwork:
    """The network without layer_behind_loss; its layers are the same objects."""
    return network if layer_behind_loss(network, criterion) is None else network.without_last()


def variation(Y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The sum of the squared differences between targets (N, outputs) and their means, each times its row's weight."""
    values = Y.astype(np.float64)
    share = np.ones(len(Y)) if weights is None else weights.astype(np.float64)
    mean = elementary.sum_rows(values * share[:, None]) / elementary.sum_rows(share[:, None].copy())
    return float(elementary.sum_rows(np.square(values - mean).sum(1, keepdims=True) * share[:, None])[0])


def r2(squares: float, varied: float) -> float:
    """The share of the targets' variation that predictions explain, which have this sum of squared errors."""
    return 1.0 - squares / varied if varied > 0 else float(squares == 0)


def _check_finite_rows(X: Rows, name: str) -> None:
    """check_finite, at the price of one sum where all is well (a sum that overflows only costs the closer look)."""
    if isinstance(X, Shards):
        check_finite(X, name)
    elif X.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            total = X.sum()
        if not np.isfinite(total):
            check_finite(X, name)
