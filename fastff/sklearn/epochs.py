"""A fit's epochs as a program: scikit-learn's minibatches, losses and optimizers on fastff's kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.special import xlogy

from fastff.engine import panels
from fastff.engine.batches import Batches
from fastff.engine.bfloat16 import PROGRAMS, resolve_precision
from fastff.engine.program import Lanes
from fastff.kernels import spmd, targets, tile
from fastff.nn.random_layers import Dropout

_KINDS = {"logistic": targets.LOGISTIC, "identity": targets.SQUARED, "exp": targets.POISSON}


class Epochs:
    """The program of a fit, run an epoch at a time over scikit-learn's minibatches."""

    def __init__(self, estimator: Any, X: Any, y: np.ndarray, weights: np.ndarray | None, batch_size: int) -> None:
        self.estimator, self.rows, self.batches = estimator, len(y), Batches(len(y), batch_size)
        self.weights = None if weights is None else np.asarray(weights, np.float32)
        self.seed = int(estimator._random_state.randint(2**31)) if estimator.dropout > 0 else 0
        self.network = estimator._network(training=True)
        self.optimizer, self.order = estimator._optimizer, np.arange(self.rows)
        self.threads = estimator._threads()
        self._load_moments()
        self.program = PROGRAMS[resolve_precision(estimator.precision)](batch_size)
        X = X.astype(np.float32).toarray() if issparse(X) else X
        g, saved = self._lower(X, np.asarray(y))
        self.network.lower_backward(self.program, g, saved)
        self.penalty = self._penalty()

    def _lower(self, X: np.ndarray, y: np.ndarray) -> tuple[Lanes, Any]:
        """The way to the loss, and its gradient; the constant part of each row's loss in self.constant."""
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
            self.constant = (xlogy(y, y) - y).sum(1)
        kind = _KINDS[estimator.out_activation_]
        if kind == targets.LOGISTIC:
            y = y * np.float32(1 - smoothing) + np.float32(smoothing / 2)
        t = program.gather(np.ascontiguousarray(y, np.float32))
        z, saved = self.network.lower_forward(program, X, training=True)
        return program.target_loss(z, t, kind, halt=True, weights=w), saved

    def run(self) -> float:
        """Train for an epoch; the mean loss of its batches, with the penalty, as scikit-learn counts it."""
        estimator, linear = self.estimator, self.network.linear_layers
        if estimator.shuffle:  # as sklearn.utils.shuffle draws
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
        with np.errstate(invalid="ignore", divide="ignore"):  # a batch without any weight
            data_loss, penalty, before = totals / divisor, self._penalty(), self.penalty
            self.penalty = penalty
            losses = data_loss + 0.5 * estimator.alpha * 0.5 * (before + penalty) / sums
        return float(np.dot(losses, sizes) / self.rows)

    def _penalty(self) -> float:
        return float(sum(np.vdot(w, w) for w in (layer.weights for layer in self.network.linear_layers)))

    def _numbers(self, sums: np.ndarray) -> np.ndarray:
        """The optimizer's numbers of each batch, for fastff.kernels.tile; the penalty counts once a batch."""
        estimator, optimizer = self.estimator, self.optimizer
        rows = np.zeros((len(sums), 2, spmd.HYPER))
        rows[..., tile.SHRINK] = 1.0
        if estimator.solver == "sgd":
            rate = np.full(len(sums), optimizer.learning_rate)
            rows[..., tile.RULE] = tile.SGD
            rows[..., tile.BETA1] = optimizer.momentum
            rows[..., tile.KEEP1] = optimizer.momentum if optimizer.nesterov else 1.0
            rows[..., tile.BETA2] = 1.0 if optimizer.nesterov else 0.0
        else:
            t = optimizer.t + 1 + np.arange(len(sums))
            optimizer.t += len(sums)
            # scikit-learn's epsilon stands beside the uncorrected root (Kingma & Ba 2015, end of section 2)
            rate = optimizer.learning_rate_init * np.sqrt(1 - optimizer.beta_2**t) / (1 - optimizer.beta_1**t)
            rows[..., tile.RULE] = tile.ADAM
            rows[..., tile.BETA1], rows[..., tile.KEEP1] = optimizer.beta_1, 1 - optimizer.beta_1
            rows[..., tile.BETA2], rows[..., tile.KEEP2] = optimizer.beta_2, 1 - optimizer.beta_2
            rows[..., tile.ROOT], rows[..., tile.EPSILON] = 1.0, optimizer.epsilon
        rows[..., tile.RATE] = rate[:, None]
        if estimator.decay == "decoupled":
            rows[:, 0, tile.SHRINK] = 1.0 - estimator.learning_rate_init * estimator.alpha
        else:
            rows[:, 0, tile.DECAY] = np.divide(estimator.alpha, sums, out=np.zeros(len(sums)), where=sums > 0)
        return rows.astype(np.float32)

    def step_size_changed(self, change: Callable[..., Any], *arguments: Any) -> Any:
        """Let the optimizer change its step size. Its velocity is -step size * m, so m changes with it."""
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
        """Let the estimator's attributes, and with moments its optimizer, have what was trained."""
        estimator, linear = self.estimator, self.network.linear_layers
        estimator.coefs_ = [layer.weights.copy() for layer in linear]
        estimator.intercepts_ = [layer.bias[0].copy() for layer in linear]
        for j, (name, factor) in enumerate(self._moment_names() if moments else []):
            weights = [panels.unpack(layer.moments[j], (layer.input_dim, layer.output_dim)) for layer in linear]
            values = weights + [layer.bias_moments[j][: layer.output_dim] for layer in linear]
            setattr(self.optimizer, name, [np.float32(factor) * value for value in values])
