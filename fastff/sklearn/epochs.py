"""The epochs of an estimator's fit as one Program: scikit-learn's minibatches, losses and optimizers on our kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

from fastff.engine import panels
from fastff.engine.batches import Batches
from fastff.engine.bfloat16 import PROGRAMS, resolve_precision
from fastff.engine.panels import Panels
from fastff.kernels import losses
from fastff.nn.dropout import Dropout
from fastff.nn.optim import adam_numbers, sgd_numbers
from fastff.sklearn.forward import check_range, network_of
from fastff.system import elementary
from fastff.system.limits import check_room

_KINDS = {"logistic": losses.LOGISTIC, "identity": losses.SQUARED, "exp": losses.POISSON}
LARGEST_PENALTY = 1e15  # on a weight, whose square Adam averages in float32
SMALLEST_STEP = 1e-30  # of SGD: smaller ones move no weight either, and velocity / step must not leave float32's range


class Weights:
    """The rows' weights, and what is gathered of them: each batch's times a power of two, so that all fit float32.

    Only ratios of weights within a batch count in training, so no bit of a result depends on the powers.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self.given = weights.astype(np.float64)
        self.gathered = np.zeros(len(weights), np.float32)

    def scale(self, order: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Set `gathered` for an epoch in this order; the sums of its batches, float64, and the powers of two."""
        ordered = self.given[order]
        powers = np.frexp(np.maximum.reduceat(ordered, starts))[1]
        self.gathered[order] = np.ldexp(ordered, -np.repeat(powers, sizes))
        return np.add.reduceat(self.gathered[order].astype(np.float64), starts), powers


class Epochs:
    """A fit's program, which is run once an epoch over scikit-learn's minibatches."""

    def __init__(self, estimator: Any, X: Any, y: np.ndarray, weights: np.ndarray | None, batch_size: int) -> None:
        self.estimator, self.rows, self.batches = estimator, len(y), Batches(len(y), batch_size)
        if weights is not None and not weights.any():
            raise ValueError("sample_weight: 0 for every row that is trained on, want a positive one")
        for values, name in ((X, "X"), (y, "y")):
            check_range(values, name)
        self.weights = None if weights is None else Weights(weights)
        self.seed = int(estimator._random_state.randint(2**31, dtype=np.int64)) if estimator.dropout > 0 else 0
        self.network = network_of(estimator.activation, estimator.coefs_, estimator.intercepts_, estimator.dropout)
        self.dtypes = [np.result_type(c, np.float32) for c in (*estimator.coefs_, *estimator.intercepts_)]
        # scikit-learn's loss is float32 where all is that goes into it, with NumPy 2
        kinds = [*self.dtypes, y.dtype if y.dtype.kind == "f" else np.float64]
        kinds += [(np.float32(1) * 1.0).dtype, *([] if weights is None else [weights.dtype])]
        self.loss_type = np.result_type(*kinds)
        # scikit-learn's loss takes a probability to be at least the eps of its type
        self.limit = float(-elementary.log(np.finfo(np.result_type(X.dtype, *self.dtypes)).eps))
        self.optimizer, self.order = estimator._optimizer, np.arange(self.rows, dtype=np.int64)
        self.sgd = isinstance(self.optimizer, SGDOptimizer)
        self.threads = estimator.threads
        self._load_moments()
        self.program = PROGRAMS[resolve_precision(estimator.precision)](batch_size)
        self.sparse = None
        if issparse(X):  # a batch at a time is made dense
            self.sparse, size = X.tocsr().astype(np.float32), batch_size * X.shape[1]
            check_room(f"a batch of {batch_size:,} sparse rows", 4 * size)
            X = np.zeros((batch_size, X.shape[1]), np.float32)
        self.batch = X
        g, saved = self._lower(X, np.asarray(y))
        self.network.lower_backward(self.program, g, saved)
        self.penalty = self._penalty()

    def _lower(self, X: np.ndarray, y: np.ndarray) -> tuple[Panels, Any]:
        """Add the forward pass and the loss to the program; the gradient by the logits, and what backward takes."""
        program, estimator, self.constant = self.program, self.estimator, None
        smoothing = getattr(estimator, "label_smoothing", 0.0)
        w = None if self.weights is None else program.gather(self.weights.gathered[:, None])
        # scikit-learn goes on where early stopping restores finite weights in the end
        halt = not estimator.early_stopping
        if estimator.out_activation_ == "softmax":
            labels = program.labels(y.argmax(1))
            z, saved = self._forward(X)
            g = program.cross_entropy(z, labels, smoothing, gradient=True, halt=halt, weights=w, limit=self.limit)
            assert g is not None
            return g, saved
        y = y.reshape(self.rows, -1)
        if estimator.out_activation_ == "exp":
            self.constant = (y * elementary.log(np.where(y > 0, y, 1.0)) - y).sum(
                1
            )  # the part of each row's loss that no weight changes
        kind = _KINDS[estimator.out_activation_]
        if kind == losses.LOGISTIC:
            y = y * np.float32(1 - smoothing) + np.float32(smoothing / 2)
        t = program.gather(np.ascontiguousarray(y, np.float32))
        z, saved = self._forward(X)
        return program.target_loss(z, t, kind, halt=halt, weights=w, limit=self.limit), saved

    def _forward(self, X: np.ndarray) -> tuple[Panels, list[Any]]:
        x, saved = self.program.gather(X, in_batch=self.sparse is not None), []
        for layer in self.network.layers:
            x, kept = layer.lower_forward(self.program, x, training=True)
            saved.append(kept)
        return x, saved

    def run(self) -> np.floating:
        """Train for an epoch; the mean loss of its batches, with the L2 penalty, computed as scikit-learn does."""
        estimator = self.estimator
        if estimator.shuffle:  # draws the same order as sklearn.utils.shuffle
            drawn = np.arange(self.rows, dtype=np.int64)
            estimator._random_state.shuffle(drawn)
            if len(self.batches) > 1:  # one batch is the same in any order: fit then gives the same as partial_fit does
                self.order = self.order[drawn]
        starts, sizes, powers = self.batches.starts, self.batches.sizes, np.zeros(len(self.batches), np.int32)
        sums = sizes.astype(np.float64)
        if self.weights is not None:
            sums, powers = self.weights.scale(self.order, starts, sizes)
        for i, layer in enumerate(self.network.layers):
            if isinstance(layer, Dropout):
                layer.reseed([int(np.random.SeedSequence([self.seed, estimator.t_, i]).generate_state(1)[0])])
        with np.errstate(over="ignore"):  # infinity where there is no penalty: also for a batch whose weights are all 0
            wholes = np.where(sums > 0, np.ldexp(sums, powers), np.inf)
        done, totals = self._run(self._numbers(wholes))
        for layer in self.network.linear_layers:
            layer.updated(done)
        if done < len(sizes):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
        if self.constant is not None:
            constant = self.constant if self.weights is None else self.constant * self.weights.gathered
            totals = totals + np.add.reduceat(constant[self.order], starts)
        divisor = sums * (estimator.n_outputs_ if estimator.out_activation_ == "identity" else 1)
        with np.errstate(over="ignore", invalid="ignore"):  # of weights that are not finite
            data_loss = np.divide(totals, divisor, out=np.zeros_like(totals), where=sums > 0)
            penalty, before = self._penalty(), self.penalty
            self.penalty = penalty
            means = data_loss + 0.5 * estimator.alpha * 0.5 * (before + penalty) / wholes
        return (np.dot(means, sizes) / self.rows).astype(self.loss_type)

    def _run(self, numbers: np.ndarray) -> tuple[int, np.ndarray]:
        """Run the epoch's batches; how many were trained on, and the sum of each one's losses."""
        if self.sparse is None:
            outcome = self.program.run(self.order, hyper=numbers, threads=self.threads)
            return outcome.done, outcome.losses
        totals = np.zeros(len(self.batches.sizes))
        for i, (start, size) in enumerate(zip(self.batches.starts, self.batches.sizes, strict=True)):
            end = start + size
            self.sparse[self.order[start:end]].toarray(out=self.batch[:size])
            outcome = self.program.run(
                self.order[:end], first_step=i, hyper=numbers[i : i + 1], threads=self.threads
            )  # fmt: skip
            totals[i] = outcome.losses[i]
            if outcome.done <= i:
                return i, totals
        return len(totals), totals

    def _penalty(self) -> float:
        return float(sum(np.vdot(w, w) for w in (layer.weights for layer in self.network.linear_layers)))

    def _numbers(self, wholes: np.ndarray) -> np.ndarray:
        """The numbers of each batch's update, made by fastff.nn.optim. wholes: the sums of the batches' weights."""
        estimator, optimizer, count = self.estimator, self.optimizer, len(wholes)
        l2, shrink = np.zeros(count), 1.0
        if estimator.decay == "decoupled":
            shrink = 1.0 - estimator.learning_rate_init * estimator.alpha
        else:  # the penalty counts once a batch
            with np.errstate(over="ignore"):
                l2 = estimator.alpha / wholes
            if l2.max() > LARGEST_PENALTY:
                raise ValueError(
                    f"sample_weight: a batch's weights sum to {wholes.min():g}, beside which alpha={estimator.alpha:g} "
                    "is too large for float32, want weights of about 1 (divide them by their mean), or alpha=0"
                )
        if self.sgd:
            rates = np.full(count, self._sgd_step())
            return sgd_numbers(rates, optimizer.momentum, optimizer.nesterov, l2, shrink)
        first, rates = optimizer.t + 1, np.full(count, optimizer.learning_rate_init)
        optimizer.t += count
        betas = optimizer.beta_1, optimizer.beta_2
        first_decayed, second_decayed = (elementary.powers(beta, np.int64(optimizer.t)) for beta in betas)
        corrections = np.sqrt(1 - second_decayed) / (1 - first_decayed)
        optimizer.learning_rate = optimizer.learning_rate_init * corrections  # as scikit-learn shows it
        return adam_numbers(first, rates, *betas, optimizer.epsilon, "scikit-learn", l2, shrink)

    def step_size_changed(self, change: Callable[..., Any], *arguments: Any) -> Any:
        """Call `change`, which may set another step size; SGD's velocity, -step size * moment, stays the same."""
        before = self._sgd_step()
        result = change(*arguments)
        after = self._sgd_step()
        if self.sgd and after != before:
            for layer in self.network.linear_layers:
                for moment in (layer.moments[0], layer.bias_moments[0]):
                    moment *= np.float32(before / after)
        return result

    def _sgd_step(self) -> float:
        """The step size of SGD as the kernels have it."""
        return max(self.optimizer.learning_rate, SMALLEST_STEP)

    def _load_moments(self) -> None:
        count = len(self.network.linear_layers)
        for j, (name, factor) in enumerate(self._moment_names()):
            values = [value / factor for value in getattr(self.optimizer, name)]
            for i, layer in enumerate(self.network.linear_layers):
                panels.pack(values[i], layer.moments[j])
                layer.bias_moments[j][: layer.output_dim] = values[count + i]

    def _moment_names(self) -> list[tuple[str, float]]:
        if self.sgd:
            return [("velocities", -self._sgd_step())]
        return [("ms", 1.0), ("vs", 1.0)]

    def show(self, *, moments: bool = False) -> None:
        """Copy the trained weights to the estimator's attributes, and on request the moments to its optimizer."""
        estimator, linear = self.estimator, self.network.linear_layers
        # scikit-learn trains the best weights of an earlier fit in place, until a validation score is better still
        going_on = getattr(estimator, "_best_coefs", None) is estimator.coefs_
        estimator.coefs_, estimator.intercepts_ = self._parts(
            [layer.weights for layer in linear] + [layer.bias[0] for layer in linear]
        )
        if going_on:
            estimator._best_coefs, estimator._best_intercepts = estimator.coefs_, estimator.intercepts_
        for j, (name, factor) in enumerate(self._moment_names() if moments else []):
            weights = [panels.unpack(layer.moments[j], (layer.input_dim, layer.output_dim)) for layer in linear]
            values = weights + [layer.bias_moments[j][: layer.output_dim] for layer in linear]
            with np.errstate(over="ignore", invalid="ignore"):  # after a divergence
                setattr(self.optimizer, name, [value * factor for part in self._parts(values) for value in part])

    def _parts(self, values: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of these weights and biases, in the types that the estimator's have."""
        copies = [value.astype(dtype) for value, dtype in zip(values, self.dtypes, strict=True)]
        return copies[: len(copies) // 2], copies[len(copies) // 2 :]
