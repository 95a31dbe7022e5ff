"""What a fitted estimator gives for rows: the same bits for a row, alone or among others, with any number of threads.

A network that adam or sgd trained holds float32 values, whatever type its arrays have, and the kernels compute it in
float32. One that lbfgs or scikit-learn's own training made has values of float64, and NumPy computes it in float64.
BLAS adds up a row's products in another order where the operands have another shape, so all blocks have one shape; for
a single output even the row's place in the block counts, so BLAS is not asked there.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import ref

import numpy as np
from scipy.sparse import issparse
from sklearn.neural_network._base import ACTIVATIONS
from sklearn.utils.parallel import _get_threadpool_controller

from fastff.engine.panels import Panels, SparseRows
from fastff.engine.program import Program
from fastff.nn.activations import ReLU, Sigmoid, Tanh
from fastff.nn.dropout import Dropout
from fastff.nn.layers import LinearLayer
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.predictor import FEW_ROWS
from fastff.system import elementary
from fastff.system.arguments import check_choice, shown

HIDDEN: dict[str, type | None] = {"relu": ReLU, "logistic": Sigmoid, "tanh": Tanh, "identity": None}
# Multiply-adds, and rows, that a kept program does, a few rows at a time, sooner than another is made
LITTLE_WORK, SOME_ROWS = 2_000_000, 400
FEW_VALUES = 1 << 14  # of sparse rows, that are made dense for such a program
FORWARD_ROWS = 1024  # rows of a batch of the forward pass
BLOCK = 64  # rows that NumPy multiplies at a time


def network_of(activation: str, coefs: Sequence[Any], intercepts: Sequence[Any], dropout: float = 0.0) -> Any:
    """A network with copies of these values, and with Dropout unless its rate is 0."""
    network = FeedForwardNeuralNetwork.__new__(FeedForwardNeuralNetwork)
    network.layers = []
    for i, (weights, bias) in enumerate(zip(coefs, intercepts, strict=True)):
        if i > 0:
            kind = HIDDEN[check_choice("activation", activation, tuple(HIDDEN))]
            network.layers += [kind()] if kind else []
            network.layers += [Dropout(dropout)] if dropout > 0 else []
        network.layers.append(LinearLayer.holding(weights, bias))
    return network


def limit_blas(threads: int | None) -> AbstractContextManager:
    """A context in which NumPy's and SciPy's products use at most so many threads; None leaves them alone.

    Never more than now: where OPENBLAS_NUM_THREADS said one, OpenBLAS crashes with three (NumPy 2.2.6, SciPy 1.15.3).
    """
    if threads is None:
        return nullcontext()
    blas = _get_threadpool_controller().select(user_api="blas")
    now = min((library["num_threads"] for library in blas.info()), default=1)
    return blas.limit(limits=min(threads, now))


def check_range(values: Any, name: str) -> None:
    """ValueError, in scikit-learn's words, if one of these finite values is infinite as float32."""
    data = values.data if issparse(values) else values
    if data.dtype.kind not in "iuf" or data.size == 0:
        return
    ends = data.min(), data.max()
    with np.errstate(over="ignore"):
        beyond = [end for end in ends if np.isfinite(end) and np.isinf(np.float32(end))]
    if beyond:
        raise ValueError(
            f"Input {name} contains infinity or a value too large for dtype('float32'): {float(beyond[0]):g}; adam and "
            "sgd train, and their networks predict, in float32, so scale it (StandardScaler)"
        )


class _Network32:
    """The network of an estimator whose values are float32's, kept from one forward pass to the next."""

    def __init__(self, activation: str, values: list[np.ndarray]) -> None:
        self.activation, self.values, count = activation, values, len(values) // 2
        self.network = network_of(activation, values[:count], values[count:])

    def fits(self, activation: str, values: list[np.ndarray]) -> bool:
        return activation == self.activation and [v.shape for v in values] == [v.shape for v in self.values]

    def load(self, values: list[np.ndarray]) -> None:
        """Take over other values of the same shapes."""
        self.values, count = values, len(values) // 2
        for layer, weights, bias in zip(self.network.linear_layers, values[:count], values[count:], strict=True):
            layer.weights, layer.bias = weights, bias[None]

    def logits(self, X: Any, threads: int | None) -> np.ndarray:
        rows = X.shape[0]
        little = rows <= SOME_ROWS and rows * sum(v.size for v in self.values) <= LITTLE_WORK
        if issparse(X) and little and rows * X.shape[1] <= FEW_VALUES:
            X = X.toarray()
        if not issparse(X):
            X = np.asarray(X) if X.dtype in (np.float32, np.float64) else X.astype(np.float32)
            if little:
                return np.concatenate([self.network.logits(X[i : i + FEW_ROWS]) for i in range(0, rows, FEW_ROWS)])
        program = Program(min(rows, FORWARD_ROWS))
        if issparse(X):
            z = self._lower_sparse(program, X)
        else:
            z, _ = self.network.lower_forward(program, X, training=False)
        out = program.scatter(z, rows)
        program.run(np.arange(rows, dtype=np.int64), threads=threads)
        return out

    def _lower_sparse(self, program: Program, X: Any) -> Panels:
        """Add the forward pass of sparse rows to the program: of the first layer, only what their entries need."""
        X = X.tocsr()
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()  # and sorts the entries by their columns
        first, *others = self.network.layers
        first.sync()
        (weights, *_), (bias, *_) = first.memory
        entries = SparseRows(X.indptr, X.indices, X.data, X.shape[1])
        z = program.linear_sparse(entries, weights, bias, first.output_dim)
        for layer in others:
            z, _ = layer.lower_forward(program, z, training=False)
        return z


# By the id of an estimator, which need not have a hash; no attribute, as predict changes no estimator
_KEPT: dict[int, tuple[ref, _Network32]] = {}


def _keep(estimator: Any, network: _Network32) -> None:
    """Keep the network for as long as the estimator lives."""
    key = id(estimator)
    _KEPT[key] = ref(estimator, lambda _: _KEPT.pop(key, None)), network


def _network32(estimator: Any) -> _Network32 | None:
    """The estimator's network, taken out of _KEPT so that another thread makes its own; None for values of float64."""
    arrays = [np.asarray(a) for a in (*estimator.coefs_, *estimator.intercepts_)]
    (_, kept), activation = _KEPT.pop(id(estimator), (None, None)), estimator.activation
    if kept is not None and kept.fits(activation, arrays):
        if all(np.array_equal(a, v) for a, v in zip(arrays, kept.values, strict=True)):
            return kept
    else:
        kept = None
    with np.errstate(over="ignore"):
        values = [np.array(a, np.float32) for a in arrays]
    if not all(np.array_equal(a, v) for a, v in zip(arrays, values, strict=True)):
        return None
    if kept is None:
        return _Network32(activation, values)
    kept.load(values)
    return kept


def _check_fitted(estimator: Any, features: int) -> None:
    """ValueError where somebody has assigned coefs_, intercepts_ or out_activation_ that make no network."""
    if not _fit_together(estimator.coefs_, estimator.intercepts_, features):
        raise ValueError("coefs_, intercepts_: make no network for these rows, want them as fit has left them")
    out = estimator.out_activation_
    if not isinstance(out, str) or out not in ACTIVATIONS:
        raise ValueError(f"out_activation_: {shown(out)}, want one of {', '.join(ACTIVATIONS)}")


def _fit_together(weights: Any, intercepts: Any, width: int) -> bool:
    both = weights, intercepts
    if not all(isinstance(arrays, list | tuple) for arrays in both) or not 0 < len(weights) == len(intercepts):
        return False
    for w, b in zip(weights, intercepts, strict=True):
        if not all(isinstance(array, np.ndarray) and array.dtype.kind in "biuf" for array in (w, b)):
            return False
        if w.ndim != 2 or w.shape[0] != width or b.shape != w.shape[1:]:
            return False
        width = w.shape[1]
    return True


def outputs(estimator: Any, X: Any, *, checked: bool) -> np.ndarray:
    """The outputs (N, n_outputs) of the network for the rows X (N, D), of the type that scikit-learn gives them.

    checked: whether rows and results that leave float32's range are a ValueError; otherwise they are not finite.
    """
    _check_fitted(estimator, X.shape[1])
    dtype = np.result_type(X.dtype, *(c.dtype for c in estimator.coefs_))
    own = _network32(estimator)
    if own is None:
        with limit_blas(estimator.threads), np.errstate(over="ignore", invalid="ignore"):
            out = _in_float64(estimator, X, dtype)
    else:
        if checked:
            check_range(X, "X")
        out = own.logits(X, estimator.threads)
        _keep(estimator, own)
        if checked and not np.isfinite(out).all():
            _check_outputs(X, out)
        out = out.astype(dtype, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        ACTIVATIONS[estimator.out_activation_](out)
    return out


def _check_outputs(X: Any, out: np.ndarray) -> None:
    """ValueError if a row X of finite values has outputs beyond float32; with assume_finite X may have others."""
    with np.errstate(invalid="ignore"):
        good = np.isfinite(np.asarray((X.multiply(0) if issparse(X) else X * 0).sum(1)).ravel())
    beyond = np.flatnonzero(good & ~np.isfinite(out).all(1))
    if len(beyond):
        raise ValueError(
            f"Input X: the network's output for row {beyond[0]} is too large for dtype('float32'), in which it "
            "predicts, so scale X (StandardScaler)"
        )


def _in_float64(estimator: Any, X: Any, dtype: Any) -> np.ndarray:
    """The outputs before their activation, a block of rows at a time."""
    X = X.tocsr() if issparse(X) else X
    out = np.empty((X.shape[0], estimator.coefs_[-1].shape[1]), dtype)
    for start in range(0, len(out), BLOCK):
        rows = X[start : start + BLOCK]
        z = rows if issparse(rows) else _filled(rows, dtype)
        for i, (weights, intercepts) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
            if i > 0:
                ACTIVATIONS[estimator.activation](z)
            z = _filled(_product(z, weights) + intercepts, dtype)
        out[start : start + BLOCK] = z[: rows.shape[0]]
    return out


def _product(z: Any, weights: np.ndarray) -> np.ndarray:
    if weights.shape[1] > 1 or issparse(z):
        return z @ weights
    # BLAS's product of a matrix and a vector takes the last rows another way (OpenBLAS 0.3.23, Sapphire Rapids)
    return elementary.sum_rows(z.T * weights)[:, None]


def _filled(rows: np.ndarray, dtype: Any) -> np.ndarray:
    """Rows as a whole block, with zeros behind them."""
    if len(rows) == BLOCK and rows.dtype == dtype and rows.flags.c_contiguous:
        return rows
    block = np.zeros((BLOCK, rows.shape[1]), dtype)
    block[: len(rows)] = rows
    return block
