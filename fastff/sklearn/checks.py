"""What the estimators refuse, in one line, before anything changes: options that would do nothing, and wrong data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from fastff.sklearn.forward import check_range

_IDLE_WITH_LBFGS = {
    "dropout": 0.0, "decay": "l2", "precision": "float32", "max_seconds": None, "on_epoch": None, "label_smoothing": 0.0
}  # fmt: skip
# What a fit under way cannot change
_HELD = {
    "hidden_layer_sizes", "activation", "solver", "batch_size", "max_iter", "random_state", "warm_start", "loss",
    "early_stopping", "validation_fraction", "dropout", "precision", "threads", "class_weight", "label_smoothing",
    "max_fun",
}  # fmt: skip
_FITTED_NOW: dict[tuple[int, int], object] = {}  # by the process, which may be a fork, and the id of the estimator


@contextmanager
def alone(estimator: Any) -> Iterator[None]:
    """RuntimeError if the estimator is being fitted already, by another thread or by whom its on_epoch has called."""
    own, key = object(), (os.getpid(), id(estimator))
    if _FITTED_NOW.setdefault(key, own) is not own:
        name = type(estimator).__name__
        raise RuntimeError(
            f"this {name} is being fitted already, want an estimator for each thread (sklearn.base.clone)"
        )
    try:
        yield
    finally:
        del _FITTED_NOW[key]


def refuse_idle(estimator: Any, *, incremental: bool, validation: Any) -> None:
    """ValueError for a parameter of fastff's own that would do nothing in this fit."""
    given = {name: getattr(estimator, name, default) for name, default in _IDLE_WITH_LBFGS.items()}
    idle = {}
    if estimator.solver == "lbfgs":
        idle = {name: f"{value!r}" for name, value in given.items() if value != _IDLE_WITH_LBFGS[name]}
        if validation is not None:
            idle["validation_data"] = "given"
        why = "solver='lbfgs' has no use for it, want solver='adam' or 'sgd'"
    elif incremental and estimator.max_seconds is not None:
        idle, why = {"max_seconds": f"{estimator.max_seconds}"}, "partial_fit trains one epoch, want None"
    elif incremental and isinstance(getattr(estimator, "class_weight", None), str):
        idle = {"class_weight": "'balanced'"}
        why = "partial_fit sees a part of the rows, want a dict (sklearn.utils.class_weight.compute_class_weight)"
    elif estimator.dropout > 0 and np.size(estimator.hidden_layer_sizes) == 0:
        idle, why = {"dropout": f"{estimator.dropout}"}, "a network without hidden layers has nothing to drop, want 0.0"
    for name, value in idle.items():
        raise ValueError(f"{name}: {value}, but {why}")


def refuse_changes(estimator: Any, before: dict[str, Any]) -> None:
    """ValueError if on_epoch has set a parameter that a fit under way cannot go by, or to a value that there is not."""
    now = estimator.get_params(deep=False)
    changed = [name for name, value in now.items() if repr(value) != repr(before[name])]
    for name in changed:
        if name in _HELD:
            raise ValueError(
                f"{name}: on_epoch has changed {before[name]!r} to {now[name]!r}, want it the same until the fit ends"
            )
    if changed:
        estimator._validate_params()


def refuse_another_network(estimator: Any, y: np.ndarray) -> None:
    """ValueError unless the parameters and y describe the network that warm_start or partial_fit goes on with."""
    widths = [c.shape[1] for c in estimator.coefs_]
    wanted = [int(n) for n in np.atleast_1d(estimator.hidden_layer_sizes)]
    if widths[:-1] != wanted:
        raise ValueError(
            f"hidden_layer_sizes: {estimator.hidden_layer_sizes}, but warm_start and partial_fit go on with a network "
            f"of {tuple(widths[:-1])}, want that, or a new estimator (sklearn.base.clone)"
        )
    outputs = y.shape[1] if y.ndim == 2 else 1
    if outputs != widths[-1]:
        raise ValueError(
            f"y: {outputs} outputs, but warm_start and partial_fit go on with a network of {widths[-1]}, want as many"
        )
    if (estimator.loss == "poisson") != (estimator.out_activation_ == "exp"):
        earlier = "poisson" if estimator.out_activation_ == "exp" else "squared_error"
        raise ValueError(
            f"loss: {estimator.loss!r}, but warm_start and partial_fit go on with a network trained by {earlier!r}, "
            "want that, or a new estimator (sklearn.base.clone)"
        )


def as_numbers(y: np.ndarray, name: str, loss: str) -> np.ndarray:
    """The targets of a regression, numbers also where y holds objects; TypeError for text, dates and the like.

    ValueError for targets below 0 with loss="poisson", whose loss would be a logarithm of theirs.
    """
    if y.dtype.kind == "O":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"{name}: objects that are no numbers, want numbers") from None
    if y.dtype.kind not in "biuf":
        raise TypeError(f"{name}: values of dtype {y.dtype}, want numbers (y.astype(float), if they mean numbers)")
    if loss == "poisson" and y.min() < 0:
        row = int(np.argmax(y.reshape(len(y), -1).min(1) < 0))
        raise ValueError(f"{name}: {y[row].min():g} at row {row}, want numbers of 0 or more for loss='poisson'")
    return y


def validation_set(data: Any, X: Any, y: Any, weights: Any) -> tuple[Any, Any, Any, str, str] | None:
    """The validation set in fit's arguments: X, y, weights, and the names of X and y in messages; None without one."""
    if data is None:
        if X is None and y is None and weights is None:
            return None
        if X is None or y is None:
            missing = "X_val" if X is None else "y_val"
            raise ValueError(f"{missing}: missing, want both X_val and y_val (and, with them only, sample_weight_val)")
        return X, y, weights, "X_val", "y_val"
    if X is not None or y is not None or weights is not None:
        raise ValueError("validation_data: given beside X_val, y_val or sample_weight_val, want one of the two")
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError("validation_data should be (X, y) or (X, y, sample_weight)")
    return data[0], data[1], data[2] if len(data) == 3 else None, "validation_data's X", "validation_data's y"


def checked_validation(estimator: Any, X: Any, y: Any, weights: Any, x_name: str, y_name: str) -> tuple[Any, Any, Any]:
    """A validation set as arrays; ValueError unless its rows are like those that are trained on, and its labels too."""
    X = validate_data(estimator, X, accept_sparse=["csr", "csc"], reset=False, dtype=(np.float64, np.float32))
    check_range(X, x_name)
    outputs = estimator.n_outputs_
    if is_classifier(estimator) and not estimator._label_binarizer.y_type_.startswith("multilabel"):
        y = column_or_1d(y)
        unknown = set(y.tolist()) - set(estimator.classes_.tolist())
        if unknown:
            names = ", ".join(sorted(map(repr, unknown))[:5])
            raise ValueError(f"{y_name}: has {names}, never trained, want labels among {estimator.classes_.tolist()}")
    else:
        y = check_array(y, ensure_2d=False, input_name=y_name, dtype=None, ensure_all_finite=False)
        y = y if is_classifier(estimator) else as_numbers(y, y_name, estimator.loss).astype(np.float64)
        assert_all_finite(y, input_name=y_name)
        y = y.ravel() if y.ndim == 2 and y.shape[1] == outputs == 1 else y
        found = 1 if y.ndim == 1 else y.shape[1]
        if found != outputs:
            raise ValueError(f"{y_name}: {found} outputs, want {outputs} as in y")
    check_consistent_length(X, y)
    if weights is not None:
        weights = _check_sample_weight(weights, X, ensure_non_negative=True)
    return X, y, weights
