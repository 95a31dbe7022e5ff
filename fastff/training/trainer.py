"""Training: shuffle, run the minibatches as one native call an epoch, look at the validation set, keep the history.

A network of built-in layers becomes one program for the kernels; any other is trained layer by layer, with the same
result. Everything random follows from one seed: the order of epoch e is a function of (seed, e) alone.
"""

import math
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from fastff.data.rows import Rows, Shards, check_finite, check_labels, check_rows
from fastff.engine.bfloat16 import resolve_precision
from fastff.engine.run import Outcome
from fastff.engine.threads import check_threads
from fastff.errors import ArgumentError, DataError, DivergenceError
from fastff.nn.loss import CrossEntropySoftmax
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.optim import Optimizer, check_optimizer, check_step_size
from fastff.system.arguments import check_seed, check_size
from fastff.system.blocks import row_blocks
from fastff.training.epoch_ends import EpochEnds
from fastff.training.evaluation import EVALUATION_ROWS, Evaluation, evaluate
from fastff.training.history import Best, EpochRecord, History, Progress
from fastff.training.schedules import SCHEDULES
from fastff.training.steps import LayerSteps, ProgramSteps, Steps

_HIGHER_IS_BETTER = {"train_loss": False, "train_accuracy": True, "val_loss": False, "val_accuracy": True}


class Trainer:
    """Trains a network on minibatches of cross-entropy loss.

    optimizer: None takes the network's own, Adam() unless it was given another. batch_size: the last batch of an
    epoch may be smaller. schedule: "constant", "step", "cosine" or "one-cycle", over all epochs
    up to the end of the fit under way. precision: "bfloat16" rounds what the layers multiply to 8 bits of mantissa,
    on CPUs that are made for it; weights and sums stay float32. "auto" does so where it is faster. threads: None
    uses as many as are useful. seed decides shuffling and dropout. label_smoothing: as in CrossEntropySoftmax.
    monitor: "val_loss", "val_accuracy", "train_loss" or "train_accuracy": `best` keeps the weights of its best
    epoch. patience: stop after so many epochs without a better monitor (then "val_loss" unless it is given) and
    restore the best weights.

    Raises ArgumentError for values out of range.
    """

    def __init__(
        self,
        network: FeedForwardNeuralNetwork,
        optimizer: Optimizer | None = None,
        *,
        batch_size: int = 128,
        step_size: float = 1e-3,
        precision: Literal["float32", "bfloat16", "auto"] = "float32",
        threads: int | None = None,
        seed: int = 0,
        schedule: Literal["constant", "step", "cosine", "one-cycle"] = "constant",
        label_smoothing: float = 0.0,
        patience: int | None = None,
        monitor: str | None = None,
    ) -> None:
        self.network = network
        if optimizer is not None:
            network.optimizer = check_optimizer(optimizer)
        self.batch_size = check_size("batch_size", batch_size)
        self.step_size = check_step_size(step_size)
        if schedule not in SCHEDULES:
            raise ArgumentError(f"schedule: {schedule!r}, want one of {', '.join(SCHEDULES)}")
        self.schedule = schedule
        self.precision = resolve_precision(precision)
        self.threads = check_threads(threads)
        check_seed(seed, required=True)
        self.seed = int(seed)
        self.criterion = CrossEntropySoftmax(label_smoothing)
        self.patience = None if patience is None else check_size("patience", patience)
        if monitor is not None and monitor not in _HIGHER_IS_BETTER:
            raise ArgumentError(f"monitor: {monitor!r}, want one of {', '.join(_HIGHER_IS_BETTER)}")
        self.monitor = "val_loss" if monitor is None and patience is not None else monitor
        self.history = History()
        self.progress = Progress()
        self.best: Best | None = None
        self.compile_seconds = 0.0
        self.threads_used = 1  # of the last epoch
        self._evaluation: Evaluation | None = None
        self._ends: EpochEnds | None = None  # of the fit under way

    @property
    def optimizer(self) -> Optimizer:
        return self.network.optimizer

    def fit(
        self,
        X: Rows,
        Y: np.ndarray,
        X_val: Rows | None = None,
        Y_val: np.ndarray | None = None,
        *,
        epochs: int,
        on_epoch: Callable[[EpochRecord], Any] | None = None,
    ) -> History:
        """Train for so many more epochs on X (N, D) and Y (N,) or (N, 1); calling it again goes on from there.

        X: uint8, float32 or float64, used as it is; Shards are read a part at a time while the kernels run. After each
        epoch on_epoch(record) is called; if it returns True, training ends. Ctrl-C raises KeyboardInterrupt after the
        batch under way, from where fit can go on too.

        Returns the history of this trainer, earlier calls included. Raises DataError for unusable data and
        DivergenceError when a loss is not finite, before that batch could change the weights.
        """
        classes = self.network.output_dim
        X = check_rows(X, "X", features=self.network.input_dim)
        Y = check_labels(Y, "Y", rows=len(X), classes=classes)
        if not isinstance(X, Shards):  # reading all of them would take as long as an epoch: see _diverged
            check_finite_rows(X, "X")
        if (X_val is None) != (Y_val is None):
            raise ArgumentError("X_val and Y_val: one of the two is missing, want both or neither")
        if X_val is not None:
            X_val = check_rows(X_val, "X_val", features=self.network.input_dim)
            Y_val = check_labels(Y_val, "Y_val", rows=len(X_val), classes=classes)
            check_finite_rows(X_val, "X_val")
        elif self.monitor is not None and self.monitor.startswith("val"):
            raise ArgumentError(f"monitor: {self.monitor}, want X_val and Y_val in fit, or another monitor")
        check_size("epochs", epochs)

        if self.precision != "float32" and not self.network.lowers():
            raise ArgumentError(f"precision: {self.precision!r}, want 'float32' for a network with a layer of your own")
        self._last_epoch = self.progress.epoch + epochs
        steps = self._steps(X, Y)
        self._evaluation = None
        validate = self._validation(X_val, Y_val)
        watched = bool(validate or on_epoch or self.monitor)
        self._ends = None
        if watched and on_epoch is None:
            self._ends = steps.ends(self._evaluation, keep=self.monitor is not None, epochs=epochs)
        batches = math.ceil(len(X) / self.batch_size)
        while self.progress.epoch < self._last_epoch:
            count, ended = self._at_once(steps, watched), self._ends is not None and self.progress.batch < batches
            self._run_epochs(steps, X, count)
            figures = self._ends.figures(count - 1) if self._ends and ended else validate() if validate else ()
            record = self._close(len(X), *figures)
            going_on = self._watch(record)
            if (on_epoch is not None and on_epoch(record)) or not going_on:
                break
        if self.patience is not None:
            self.restore_best()
        return self.history

    def restore_best(self) -> None:
        """Give the network the weights of the best epoch so far, where a monitor has kept them."""
        if self.best is not None:
            self.network.set_parameters(self.best.arrays)

    def _at_once(self, steps: Steps, watched: bool) -> int:
        """How many epochs the next call may train: many where it ends them by itself, none beyond patience's end."""
        left = self._last_epoch - self.progress.epoch
        if not watched:
            return min(left, steps.most_epochs)
        if self._ends is None or self.progress.batch > 0:
            return 1
        if self.patience is not None:
            left = min(left, self.patience + (self.best.epoch - self.progress.epoch if self.best else 0))
        return max(1, min(left, self._ends.most_epochs))

    def _run_epochs(self, steps: Steps, X: Rows, count: int) -> None:
        """Train for `count` epochs from where the first of them stands; the last still waits for its record."""
        now, batches = self.progress, math.ceil(len(X) / self.batch_size)
        if now.batch > batches:
            raise DataError(
                f"X: {len(X)} rows, but the interrupted epoch had come to batch {now.batch}; want the same data"
            )
        orders = np.array([self.order(epoch, len(X)) for epoch in range(now.epoch, now.epoch + count)])
        first, start = now.batch, time.perf_counter()
        try:
            outcome = steps(orders, first)
        finally:
            if steps.outcome is not None:
                self._count(steps.outcome, first, len(X), time.perf_counter() - start)
        if outcome.done < count * batches:
            order = orders[outcome.done // batches]
            self._diverged(X, order[self.progress.batch * self.batch_size :][: self.batch_size])

    def _steps(self, X: Rows, Y: np.ndarray) -> Steps:
        return (ProgramSteps if self.network.lowers() else LayerSteps)(self, X, Y)

    def order(self, epoch: int, rows: int) -> np.ndarray:
        """The order of so many rows in this epoch, counted from 0."""
        return np.random.default_rng([self.seed, epoch]).permutation(rows)

    def _count(self, outcome: Outcome, first: int, rows: int, seconds: float) -> None:
        """Take the batches that were done, all of them or not, into the history; their seconds are shared out evenly.

        rows: of an epoch. Epochs but the last are closed; that one may not be done, or wait for its validation.
        """
        batches, history, done = math.ceil(rows / self.batch_size), self.history, slice(first, outcome.done)
        sizes = np.resize(self._sizes(rows), outcome.steps)[done]
        history.batch_losses += (outcome.losses[done] / sizes).tolist()
        history.batch_accuracies += (outcome.hits[done] / sizes).tolist()
        a_batch = seconds / max(1, outcome.done - first)
        left, ended = outcome.done, 0
        while left > batches:
            left -= batches
            self.progress.seconds += (batches - self.progress.batch) * a_batch
            figures = self._ends.figures(ended) if self._ends else ()
            self._watch(self._close(rows, *figures, behind=len(history.batch_losses) - left), ended)
            ended += 1
        self.progress.seconds += (left - self.progress.batch) * a_batch
        self.progress.batch = left

    def _sizes(self, rows: int) -> np.ndarray:
        """How many rows each batch of an epoch has."""
        return _batch_sizes(rows, self.batch_size)

    def _close(
        self, rows: int, val_loss: float | None = None, val_accuracy: float | None = None, *, behind: int | None = None
    ) -> EpochRecord:
        """Add the record of the epoch under way, whose batches end the history or lie before its batch `behind`."""
        sizes, now, history = self._sizes(rows), self.progress, self.history
        behind = len(history.batch_losses) if behind is None else behind
        own = slice(behind - len(sizes), behind)
        record = EpochRecord(
            epoch=now.epoch + 1,
            # fsum: the same bits whatever BLAS there is, and however many threads it takes
            train_loss=math.fsum(np.multiply(history.batch_losses[own], sizes)) / rows,
            train_accuracy=math.fsum(np.multiply(history.batch_accuracies[own], sizes)) / rows,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            seconds=now.seconds,
            examples_per_second=rows / now.seconds,
        )
        history.epochs.append(record)
        self.progress = Progress(epoch=now.epoch + 1)
        return record

    def _validation(self, X: Rows | None, Y: np.ndarray | None) -> Callable[[], tuple[float, float]] | None:
        if X is None or Y is None:
            return None
        if not self.network.lowers():
            return lambda: evaluate(self.network, X, Y, EVALUATION_ROWS)
        evaluation = self._evaluation = Evaluation(self.network, X, Y, EVALUATION_ROWS)
        return lambda: evaluation.run(self.threads)

    def _watch(self, record: EpochRecord, ended: int | None = None) -> bool:
        """Keep the best weights, where something is monitored; False when patience is at its end.

        ended: which of the last call's epochs this was, if others have followed it.
        """
        if self.monitor is None:
            return True
        sign, value = (1.0 if _HIGHER_IS_BETTER[self.monitor] else -1.0), getattr(record, self.monitor)
        if self.best is None or sign * value > sign * self.best.value or math.isnan(self.best.value):
            if ended is None or self._ends is None:
                self._keep(value, record.epoch)
            else:
                self.best = Best(value, record.epoch, self._ends.parameters(ended))
            return True
        return self.patience is None or record.epoch - self.best.epoch < self.patience

    def _keep(self, value: float, epoch: int) -> None:
        """Make the network as it is now the best, in the memory of the one before."""
        arrays = None if self.best is None else self.best.arrays
        self.best = None  # until all of it is there
        try:
            arrays = self.network.parameters(arrays)
        except KeyboardInterrupt:  # half of it is there, and the weights are still the same
            self.best = Best(value, epoch, self.network.parameters(arrays))
            raise
        self.best = Best(value, epoch, arrays)

    def _diverged(self, X: Rows, rows: np.ndarray) -> None:
        batch = self.progress.batch
        check_finite(X[rows], f"X, among the rows of batch {batch}")
        logits = self.network.logits(X[rows])
        weights = [layer.arrays()["weight"] for layer in self.network.linear_layers]
        weight = np.max([np.abs(block).max() for rows in weights for block in row_blocks(rows)], initial=0.0)
        raise DivergenceError(
            f"the loss is not finite at epoch {self.progress.epoch + 1}, batch {batch} "
            f"(step {len(self.history.batch_losses)}, largest |logit| {np.abs(logits).max():.3g}, "
            f"largest |weight| {weight:.3g}); the weights are those before it. "
            f"Try a step size below {self.step_size:g}, or standardised rows"
        )

    def step_sizes(self, batches: int, epochs: int) -> np.ndarray:
        """The step size of each batch of the next epochs, from the first batch of the epoch under way."""
        epoch = self.progress.epoch + np.arange(epochs)
        done = (epoch[:, None] + np.arange(batches) / batches).ravel() / self._last_epoch
        return self.step_size * SCHEDULES[self.schedule](done)


@lru_cache
def _batch_sizes(rows: int, batch_size: int) -> np.ndarray:
    return np.diff(np.append(np.arange(0, rows, batch_size), rows))


def check_finite_rows(X: Rows, name: str) -> None:
    """check_finite, at the price of one sum where all is well (a sum that overflows only costs the closer look)."""
    if isinstance(X, Shards):
        check_finite(X, name)
    elif X.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            total = X.sum()
        if not np.isfinite(total):
            check_finite(X, name)
