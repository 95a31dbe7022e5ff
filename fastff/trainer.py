"""Training: shuffle, run the minibatches as one native call an epoch, look at the validation set, keep the history.

A network of built-in layers becomes one program for the kernels; any other is trained layer by layer, with the same
result. Everything random follows from one seed: the order of epoch e is a function of (seed, e) alone.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fastff.errors import ArgumentError, DataError, DivergenceError
from fastff.evaluate import Evaluation, evaluate
from fastff.layers import Dropout, LinearLayer, check_size
from fastff.loss import CrossEntropySoftmax
from fastff.network import FeedForwardNeuralNetwork
from fastff.optim import Optimizer, check_step_size
from fastff.program import Outcome, Program, compile_kernels
from fastff.threads import check_threads
from fastff.validation import check_finite, check_labels, check_rows

EVALUATION_ROWS = 1024
_HIGHER_IS_BETTER = {"train_loss": False, "train_accuracy": True, "val_loss": False, "val_accuracy": True}


@dataclass
class EpochRecord:
    """One epoch: training figures are means over its batches as they came, validation follows it (None without)."""

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float  # of training, validation not counted
    examples_per_second: float


@dataclass
class History:
    """What training showed: loss and accuracy of every batch, in order, and a record an epoch."""

    batch_losses: list[float] = field(default_factory=list)
    batch_accuracies: list[float] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)


class Trainer:
    """Trains a network on minibatches of cross-entropy loss.

    optimizer: None takes the network's own, Adam() unless it was given another. batch_size: the last batch of an epoch
    may be smaller. threads: None uses as many as are useful. seed decides shuffling and dropout. patience: stop after so
    many epochs without a better `monitor` ("val_loss", "val_accuracy", "train_loss" or "train_accuracy") and restore
    the best weights. label_smoothing: as in CrossEntropySoftmax.

    Raises ArgumentError for values out of range.
    """

    def __init__(
        self,
        network: FeedForwardNeuralNetwork,
        optimizer: Optimizer | None = None,
        *,
        batch_size: int = 128,
        step_size: float = 1e-3,
        precision: Literal["float32"] = "float32",
        threads: int | None = None,
        seed: int = 0,
        label_smoothing: float = 0.0,
        patience: int | None = None,
        monitor: str = "val_loss",
    ) -> None:
        self.network = network
        if optimizer is not None:
            network.optimizer = optimizer
        self.batch_size = check_size("batch_size", batch_size)
        self.step_size = check_step_size(step_size)
        if precision != "float32":
            raise ArgumentError(f"precision: {precision!r}, want 'float32'")
        self.precision = precision
        self.threads = check_threads(threads)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ArgumentError(f"seed: {seed!r}, want a whole number of at least 0")
        self.seed = int(seed)
        self.criterion = CrossEntropySoftmax(label_smoothing)
        self.patience = None if patience is None else check_size("patience", patience)
        if monitor not in _HIGHER_IS_BETTER:
            raise ArgumentError(f"monitor: {monitor!r}, want one of {', '.join(_HIGHER_IS_BETTER)}")
        self.monitor = monitor
        self.history = History()
        self.epoch = 0  # epochs finished
        self.batch = 0  # batches of the current epoch done: above 0 only after an interrupt
        self.compile_seconds = 0.0
        self.best: tuple[float, dict[str, np.ndarray]] | None = None  # the monitored value, and the parameters
        self._epoch_loss, self._epoch_hits, self._epoch_seconds = 0.0, 0, 0.0

    @property
    def optimizer(self) -> Optimizer:
        return self.network.optimizer

    def fit(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        X_val: np.ndarray | None = None,
        Y_val: np.ndarray | None = None,
        *,
        epochs: int,
        on_epoch: Callable[[EpochRecord], Any] | None = None,
    ) -> History:
        """Train for so many more epochs on X (N, D) and Y (N,) or (N, 1); calling it again goes on from there.

        X: uint8, float32 or float64, used as it is. After each epoch on_epoch(record) is called; if it returns True,
        training ends. Ctrl-C raises KeyboardInterrupt after the batch under way, from where fit can go on too.

        Returns the history of this trainer, earlier calls included. Raises DataError for unusable data and
        DivergenceError when a loss is not finite, before that batch could change the weights.
        """
        classes = self.network.output_dim
        X = check_rows(X, "X", features=self.network.input_dim)
        Y = check_labels(Y, "Y", rows=len(X), classes=classes)
        check_finite_rows(X, "X")
        if (X_val is None) != (Y_val is None):
            raise ArgumentError("X_val and Y_val: one of the two is missing, want both or neither")
        if X_val is not None:
            X_val = check_rows(X_val, "X_val", features=self.network.input_dim)
            Y_val = check_labels(Y_val, "Y_val", rows=len(X_val), classes=classes)
            check_finite_rows(X_val, "X_val")
        elif self.patience is not None and self.monitor.startswith("val"):
            raise ArgumentError(f"patience: watches {self.monitor}, want X_val and Y_val in fit, or another monitor")
        check_size("epochs", epochs)

        self.compile_seconds += compile_kernels()
        steps = _program_steps(self, X, Y) if self.network.lowers() else _layer_steps(self, X, Y)
        validate = self._validation(X_val, Y_val)
        for _ in range(epochs):
            record = self._run_epoch(steps, X, validate)
            keep_best = self._watch(record)
            if (on_epoch is not None and on_epoch(record)) or not keep_best:
                break
        if self.patience is not None and self.best is not None:
            self._restore(self.best[1])
        return self.history

    def _run_epoch(
        self, steps: "Steps", X: np.ndarray, validate: Callable[[], tuple[float, float]] | None
    ) -> EpochRecord:
        batches = math.ceil(len(X) / self.batch_size)
        if self.batch >= batches:
            raise DataError(
                f"X: {len(X)} rows, but the interrupted epoch had come to batch {self.batch}; want the same data"
            )
        first, order = self.batch, self._order(len(X))
        start = time.perf_counter()
        outcome: Outcome | None = None
        try:
            outcome = steps(order, first)
        finally:
            self._epoch_seconds += time.perf_counter() - start
            self._count(steps.outcome, order, first)
        if outcome.done < batches:
            self._diverged(X, order, outcome.done)
        record = EpochRecord(
            epoch=self.epoch + 1,
            train_loss=self._epoch_loss / len(X),
            train_accuracy=self._epoch_hits / len(X),
            val_loss=None,
            val_accuracy=None,
            seconds=self._epoch_seconds,
            examples_per_second=len(X) / self._epoch_seconds,
        )
        if validate is not None:
            record.val_loss, record.val_accuracy = validate()
        self.history.epochs.append(record)
        self.epoch, self.batch = self.epoch + 1, 0
        self._epoch_loss, self._epoch_hits, self._epoch_seconds = 0.0, 0, 0.0
        return record

    def _order(self, rows: int) -> np.ndarray:
        return np.random.default_rng([self.seed, self.epoch]).permutation(rows)

    def _count(self, outcome: Outcome, order: np.ndarray, first: int) -> None:
        """Take the batches that were done, all of them or not, into the history."""
        done = slice(first, outcome.done)
        edges = np.minimum(np.arange(outcome.steps + 1) * self.batch_size, len(order))
        rows = np.diff(edges)[done]
        self.history.batch_losses += (outcome.losses[done] / rows).tolist()
        self.history.batch_accuracies += (outcome.hits[done] / rows).tolist()
        self._epoch_loss += float(outcome.losses[done].sum())
        self._epoch_hits += int(outcome.hits[done].sum())
        self.batch = outcome.done

    def _validation(self, X: np.ndarray | None, Y: np.ndarray | None) -> Callable[[], tuple[float, float]] | None:
        if X is None or Y is None:
            return None
        if not self.network.lowers():
            return lambda: evaluate(self.network, X, Y, EVALUATION_ROWS)
        evaluation = Evaluation(self.network, X, Y, EVALUATION_ROWS)
        return lambda: evaluation.run(self.threads)

    def _watch(self, record: EpochRecord) -> bool:
        """Keep the best weights, where patience asks for them; False when patience is at its end."""
        if self.patience is None:
            return True
        sign = 1.0 if _HIGHER_IS_BETTER[self.monitor] else -1.0
        value = sign * getattr(record, self.monitor)
        if self.best is None or value > self.best[0]:
            arrays, _ = self.network.state()
            self.best = value, copy.deepcopy(arrays)
            self._best_epoch = record.epoch
        return record.epoch - self._best_epoch < self.patience

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        for i, layer in enumerate(self.network.layers):
            if isinstance(layer, LinearLayer):
                layer.weights, layer.bias = arrays[f"{i}.weight"], arrays[f"{i}.bias"]

    def _diverged(self, X: np.ndarray, order: np.ndarray, batch: int) -> None:
        rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
        check_finite(X[rows], f"X, among the rows of batch {batch}")
        logits = self.network.logits(X[rows])
        raise DivergenceError(
            f"the loss is not finite at epoch {self.epoch + 1}, batch {batch} (largest |logit| {np.abs(logits).max():.3g}); "
            f"the weights are those before it. Try a step size below {self.step_size:g}, or standardised rows"
        )


class Steps:
    """The batches of an epoch: call it with the order of the rows and the first batch; `outcome` says how far it came."""

    outcome: Outcome

    def __call__(self, order: np.ndarray, first: int) -> Outcome:
        raise NotImplementedError


class _program_steps(Steps):
    """All layers, forward, backward and update, as one program."""

    def __init__(self, trainer: Trainer, X: np.ndarray, Y: np.ndarray) -> None:
        self.trainer, network = trainer, trainer.network
        self.program = Program(min(trainer.batch_size, len(X)))
        labels = self.program.labels(Y)
        z, saved = network.lower_forward(self.program, X, training=True)
        g = self.program.cross_entropy(z, labels, trainer.criterion.label_smoothing, gradient=True)
        assert g is not None
        network.lower_backward(self.program, g, saved)

    def __call__(self, order: np.ndarray, first: int) -> Outcome:
        trainer, layers = self.trainer, self.trainer.network.linear_layers
        for i, layer in enumerate(trainer.network.layers):
            if isinstance(layer, Dropout):
                layer.reseed(_key(layer.seed, trainer.seed, trainer.epoch, i))
        steps = math.ceil(len(order) / self.program.rows)
        updates = max((layer.updates for layer in layers), default=0)
        hyper = trainer.optimizer.hyper(updates + 1, np.full(steps - first, trainer.step_size))
        for layer in layers:
            layer.sync()
        try:
            return self.program.run(order, first_step=first, hyper=hyper, threads=trainer.threads)
        finally:
            self.outcome = self.program.outcome
            for layer in layers:
                layer.updated(self.outcome.done - first)


class _layer_steps(Steps):
    """Any layers with forward, backward and step, called one by one."""

    def __init__(self, trainer: Trainer, X: np.ndarray, Y: np.ndarray) -> None:
        self.trainer, self.X, self.Y = trainer, X, Y

    def __call__(self, order: np.ndarray, first: int) -> Outcome:
        trainer, size = self.trainer, self.trainer.batch_size
        steps = math.ceil(len(order) / size)
        done = np.full(1, first)
        self.outcome = Outcome(np.zeros(steps), np.zeros(steps, np.int64), done, steps)
        for step in range(first, steps):
            rows = order[step * size : (step + 1) * size]
            logits, labels = trainer.network.forward(self.X[rows]), self.Y[rows]
            loss = trainer.criterion.forward(logits, labels)
            if not math.isfinite(loss):
                break
            trainer.network.backward(trainer.criterion.backward())
            trainer.network.step(trainer.step_size)
            self.outcome.losses[step] = loss * len(rows)
            self.outcome.hits[step] = (logits.argmax(1) == labels).sum()
            done[0] = step + 1
        return self.outcome


def check_finite_rows(X: np.ndarray, name: str) -> None:
    """check_finite, at the price of one sum where all is well (a sum that overflows only costs the closer look)."""
    if X.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            total = X.sum()
        if not np.isfinite(total):
            check_finite(X, name)


def _key(*counters: int) -> int:
    return int(np.random.SeedSequence(counters).generate_state(1)[0])
