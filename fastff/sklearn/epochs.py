"""The epochs of an estimator's fit as one Program: scikit-learn's minibatches, losses and optimizers on our kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.special import xlogy

from fastff.engine import panels
from fastff.engine.batches import Batches
from fastff.engine.bfloat16 import PROGRAMS, resolve_precision
from fastff.engine.panels import Panels
from fastff.kernels import losses
from fastff.nn.layers import Dropout
from fastff.nn.optim import adam_numbers, sgd_numbers

_KINDS = {"logistic": losses.LOGISTIC, "identity": losses.SQUARED, "exp": losses.POISSON}


class Epochs:
    """A fit's program, which is run once an epoch over scikit-learn's minibatches."""

    def __init__(self, estimator: Any, X: Any, y: np.ndarray, weights: np.ndarray | None, batch_size: int) -> None:
        self.estimator, self.rows, self.batches = estimator, len(y), Batches(len(y), batch_size)
        self.weights = None if weights is None else np.asarray(weights, np.float32)
        self.seed = int(estimator._random_state.randint(2**31)) if estimator.dropout > 0 else 0
        self.network = estimator._network(training=True)
        self.optimizer, self.order = estimator._optimizer, np.arange(self.rows)
        self.threads = estimator.threads
        self._load_moments()
        self.program = PROGRAMS[resolve_precision(estimator.precision)](batch_size)
        X = X.astype(np.float32).toarray() if issparse(X) else X
        g, saved = self._lower(X, np.asarray(y))
        self.network.lower_backward(self.program, g, saved)
        self.penalty = self._penalty()

    def _lower(self, X: np.ndarray, y: np.ndarray) -> tuple[Panels, Any]:
        """Add the forward pass and the loss to the program; the gradient by the logits, and what backward takes."""
        program, estimator, self.constant = self.program, self.estimator, None
        smoothing = getattr(estimator, "label_smoothing", 0.0)
        w = None if self.weights is None else program.gather(self.weights[:, None])
        if estimator.out_activation_ == "softmax":
            labels = program.labels(y.argmax(1))
            z, saved = self.network.lower_forward(program, X, training=True)
            g = program.cross_entropy(z, labels, smoothing, gradient=True, halt=True, weights=w)
            assert g is not None
            return g, saved
        y = y.reshape(self.rows, -1)
        if estimator.out_activation_ == "exp":
            self.constant = (xlogy(y, y) - y).sum(1)  # the part of each row's loss that no weight changes
        kind = _KINDS[estimator.out_activation_]
        if kind == losses.LOGISTIC:
            y = y * np.float32(1 - smoothing) + np.float32(smoothing / 2)
        t = program.gather(np.ascontiguousarray(y, np.float32))
        z, saved = self.network.lower_forward(program, X, training=True)
        return program.target_loss(z, t, kind, halt=True, weights=w), saved

    def run(self) -> float:
        """Train for an epoch; the mean loss of its batches, with the L2 penalty, computed as scikit-learn does."""
        estimator, linear = self.estimator, self.network.linear_layers
        if estimator.shuffle:  # draws the same order as sklearn.utils.shuffle
            drawn = np.arange(self.rows)
            estimator._random_state.shuffle(drawn)
            self.order = self.order[drawn]
        starts, sizes = self.batches.starts, self.batches.sizes
        sums = sizes if self.weights is None else np.add.reduceat(self.weights[self.order].astype(np.float64), starts)
        for i, layer in enumerate(self.network.layers):
            if isinstance(layer, Dropout):
                layer.reseed([int(np.random.SeedSequence([self.seed, estimator.t_, i]).generate_state(1)[0])])
        outcome = self.program.run(self.order, hyper=self._numbers(sums), threads=self.threads)
        for layer in linear:
            layer.updated(outcome.done)
        if outcome.done < len(sizes):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
        totals = outcome.losses
        if self.constant is not None:
            constant = self.constant if self.weights is None else self.constant * self.weights
            totals = totals + np.add.reduceat(constant[self.order], starts)
        divisor = sums * (estimator.n_outputs_ if estimator.out_activation_ == "identity" else 1)
        with np.errstate(invalid="ignore", divide="ignore"):  # batches whose weights are all 0
            data_loss, penalty, before = totals / divisor, self._penalty(), self.penalty
            self.penalty = penalty
            losses = data_loss + 0.5 * estimator.alpha * 0.5 * (before + penalty) / sums
        return float(np.dot(losses, sizes) / self.rows)

    def _penalty(self) -> float:
        return float(sum(np.vdot(w, w) for w in (layer.weights for layer in self.network.linear_layers)))

    def _numbers(self, sums: np.ndarray) -> np.ndarray:
        """The numbers of each batch's update, made by fastff.nn.optim. sums: the sum of each batch's row weights."""
        estimator, optimizer, count = self.estimator, self.optimizer, len(sums)
        l2, shrink = np.zeros(count), 1.0
        if estimator.decay == "decoupled":
            shrink = 1.0 - estimator.learning_rate_init * estimator.alpha
        else:  # the penalty counts once a batch
            np.divide(estimator.alpha, sums, out=l2, where=sums > 0)
        if estimator.solver == "sgd":
            rates = np.full(count, optimizer.learning_rate)
            return sgd_numbers(rates, optimizer.momentum, optimizer.nesterov, l2, shrink)
        first, rates = optimizer.t + 1, np.full(count, optimizer.learning_rate_init)
        optimizer.t += count
        betas = optimizer.beta_1, optimizer.beta_2
        return adam_numbers(first, rates, *betas, optimizer.epsilon, "scikit-learn", l2, shrink)

    def step_size_changed(self, change: Callable[..., Any], *arguments: Any) -> Any:
        """Call `change`, which may set another step size; SGD's velocity, -step size * moment, stays the same."""
        before = self.optimizer.learning_rate_init if self.estimator.solver == "adam" else self.optimizer.learning_rate
        result = change(*arguments)
        if self.estimator.solver == "sgd" and self.optimizer.learning_rate != before:
            for layer in self.network.linear_layers:
                for moment in (layer.moments[0], layer.bias_moments[0]):
                    moment *= np.float32(before / self.optimizer.learning_rate)
        return result

    def _load_moments(self) -> None:
        count = len(self.network.linear_layers)
        for j, (name, factor) in enumerate(self._moment_names()):
            for i, layer in enumerate(self.network.linear_layers):
                panels.pack(getattr(self.optimizer, name)[i] / factor, layer.moments[j])
                layer.bias_moments[j][: layer.output_dim] = getattr(self.optimizer, name)[count + i] / factor

    def _moment_names(self) -> list[tuple[str, float]]:
        if self.estimator.solver == "sgd":
            return [("velocities", -self.optimizer.learning_rate)]
        return [("ms", 1.0), ("vs", 1.0)]

    def show(self, *, moments: bool = False) -> None:
        """Copy the trained weights to the estimator's attributes, and on request the moments to its optimizer."""
        estimator, linear = self.estimator, self.network.linear_layers
        estimator.coefs_ = [layer.weights.copy() for layer in linear]
        estimator.intercepts_ = [layer.bias[0].copy() for layer in linear]
        for j, (name, factor) in enumerate(self._moment_names() if moments else []):
            weights = [panels.unpack(layer.moments[j], (layer.input_dim, layer.output_dim)) for layer in linear]
            values = weights + [layer.bias_moments[j][: layer.output_dim] for layer in linear]
            setattr(self.optimizer, name, [np.float32(factor) * value for value in values])
