"""The steps of training: forward, loss, backward and update, one step a batch.

`train` is what a step is, for layers of any kind, and LayerSteps calls it. ProgramSteps gives the same bits, with all
steps of one or more epochs as one native call, for a network of built-in layers.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from fastff.data.rows import Rows
from fastff.engine.batches import Batches
from fastff.engine.bfloat16 import PROGRAMS
from fastff.engine.context import RunContext
from fastff.engine.program import Program
from fastff.engine.run import Outcome
from fastff.nn.layers import MOST_EPOCHS, RandomLayer
from fastff.nn.loss import CrossEntropySoftmax
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.training.epoch_ends import EpochEnds
from fastff.training.evaluation import Evaluation

ROWS_A_CALL = 1 << 20  # rows of all epochs of a native call, at most: their order takes 8 MB


def train(
    network: FeedForwardNeuralNetwork,
    criterion: CrossEntropySoftmax,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    step_sizes: Iterable[float],
) -> Iterator[tuple[float, int]]:
    """Train on batches of rows and labels; after each step give its mean loss, and how many rows it had right.

    Ends before a step whose loss is not finite could change the weights.
    """
    for (rows, labels), step_size in zip(batches, step_sizes, strict=True):
        logits = network.forward(rows)
        loss = criterion.forward(logits, labels)
        if not math.isfinite(loss):
            return
        network.backward(criterion.backward())
        network.step(step_size)
        yield loss, int((logits.argmax(1) == labels).sum())


@dataclass(frozen=True)
class Fit:
    """What a fit trains, on which rows X (N, D) and labels Y (N,), and how: the rest is as Trainer has it."""

    network: FeedForwardNeuralNetwork
    criterion: CrossEntropySoftmax
    X: Rows
    Y: np.ndarray
    batches: Batches
    seed: int
    precision: str
    threads: int | None
    context: RunContext

    def reseed(self, epoch: int, *, epochs: int = 1, step: int = 0) -> None:
        """Make what is random in these epochs, from this step of the first, a function of the seed, the epoch, the step
        and the layer's place."""
        for i, layer in enumerate(self.network.layers):
            if isinstance(layer, RandomLayer):
                entropy = [np.random.SeedSequence([self.seed, number, i]) for number in range(epoch, epoch + epochs)]
                layer.reseed([int(e.generate_state(1)[0]) + step for e in entropy])


@dataclass
class Trained:
    """What a call of Steps has done, in the batches of one or more epochs, counted through from the first epoch's.

    outcome: loss and hits of each batch, and which batch comes next. first: the batch with which the call began.
    threads: how many it took. ends: what it did at the ends of epochs, None where it did nothing there.
    """

    outcome: Outcome
    first: int
    threads: int = 1
    ends: EpochEnds | None = None

    def validation(self, epoch: int) -> tuple[float, float] | None:
        """(loss, accuracy) on the validation rows after an epoch, counted from 0; None where it did not validate."""
        return None if self.ends is None else self.ends.validation(epoch)

    def parameters(self, epoch: int) -> dict[str, np.ndarray]:
        """The network's parameters() after an epoch, counted from 0, of a call that keeps them."""
        assert self.ends is not None
        return self.ends.parameters(epoch)


class Steps(Protocol):
    """Trains a network on the batches of one or more epochs.

    most_epochs: how many epochs a call may have. trained: what the last call has done, also where it was interrupted;
    None if it did not come to its first batch.
    """

    most_epochs: int
    trained: Trained | None

    def compile(self) -> float:
        """Compile what the steps need, or load it; the seconds it took."""
        ...

    def __call__(self, epoch: int, orders: np.ndarray, first: int, step_sizes: np.ndarray) -> Trained:
        """Train from batch number `first` of epoch number `epoch` on.

        orders: the order of the rows in each epoch, (epochs, rows). step_sizes: of each batch, (epochs * batches,).
        """
        ...


class LayerSteps:
    """Steps for layers of any kind, called one by one."""

    most_epochs = 1

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        self.trained: Trained | None = None

    def compile(self) -> float:
        return 0.0  # each layer compiles its own when it is called

    def __call__(self, epoch: int, orders: np.ndarray, first: int, step_sizes: np.ndarray) -> Trained:
        fit, batches = self.fit, self.fit.batches
        done = np.full(1, first)
        outcome = Outcome(np.zeros(len(batches)), np.zeros(len(batches), np.int64), done, len(batches))
        self.trained = Trained(outcome, first)
        numbers, sizes = range(first, len(batches)), map(float, step_sizes[first:])
        steps = train(fit.network, fit.criterion, self._rows(epoch, orders[0], numbers), sizes)
        for number, (loss, hits) in zip(numbers, steps, strict=False):
            outcome.losses[number], outcome.hits[number] = loss * batches.sizes[number], hits
            done[0] = number + 1
        return self.trained

    def _rows(self, epoch: int, order: np.ndarray, numbers: range) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number in numbers:
            self.fit.reseed(epoch, step=number)
            rows = order[self.fit.batches.slice(number)]
            yield self.fit.X[rows], self.fit.Y[rows]


class ProgramSteps:
    """Steps as one program for the kernels: all layers, forward, backward and update.

    epochs: how many a call should train, at most. evaluation, keep: what to do at the end of each of them, where a call
    may train several: validate, and keep the weights.
    """

    def __init__(self, fit: Fit, *, epochs: int = 1, evaluation: Evaluation | None = None, keep: bool = False) -> None:
        self.fit = fit
        self.outcome: Outcome | None = None  # of the last run, or the run under way
        self.trained: Trained | None = None
        self.program = self.make_program()
        labels = self.program.labels(fit.Y)
        z, saved = fit.network.lower_forward(self.program, fit.X, training=True)
        g = self.program.cross_entropy(z, labels, fit.criterion.label_smoothing, gradient=True, halt=True)
        assert g is not None
        fit.network.lower_backward(self.program, g, saved)
        self.most_epochs = max(1, min(epochs, MOST_EPOCHS, ROWS_A_CALL // len(fit.X)))
        self._ends = self._add_ends(evaluation, keep) if evaluation is not None or keep else None

    def make_program(self) -> Program:
        """An empty program for the batches."""
        return PROGRAMS[self.fit.precision](self.fit.batches.size)

    def _add_ends(self, evaluation: Evaluation | None, keep: bool) -> EpochEnds | None:
        """Have the program end the epochs; None, and one epoch a call, where it cannot."""
        if evaluation is not None and evaluation.program.streams:  # from files that only a run of its own opens
            self.most_epochs = 1
        ends = EpochEnds(self.fit.network, evaluation, keep=keep, most_epochs=self.most_epochs)
        self.most_epochs = ends.most_epochs
        if self.most_epochs == 1:
            return None
        ends.add_to(self.program)
        return ends

    def compile(self) -> float:
        return self.program.compile()

    def __call__(self, epoch: int, orders: np.ndarray, first: int, step_sizes: np.ndarray) -> Trained:
        layers = self.fit.network.linear_layers
        self.outcome, self.trained = cast("Outcome | None", None), None  # `go` sets the outcome
        updates = max((layer.updates for layer in layers), default=0)
        hyper = self.fit.network.optimizer.hyper(updates + 1, step_sizes[first:])
        # of whole epochs, so that one that goes on in the middle of an epoch says the same
        threads = self.threads_for(len(step_sizes))
        for layer in layers:
            layer.sync()
        try:
            self.go(epoch, orders, first, hyper, threads)
        finally:
            if self.outcome is not None:
                for layer in layers:
                    layer.updated(self.outcome.done - first)
                # without a batch to do, no epoch was ended
                self.trained = Trained(self.outcome, first, threads, self._ends if first < len(step_sizes) else None)
        assert self.trained is not None
        return self.trained

    def threads_for(self, steps: int) -> int:
        """How many threads so many steps take."""
        return self.program.threads_for(self.fit.threads, steps, self.fit.context)

    def go(self, epoch: int, orders: np.ndarray, first: int, hyper: np.ndarray, threads: int) -> None:
        """Run the steps from `first` on with these numbers of the optimizer; `outcome` then says how far they came."""
        self.fit.reseed(epoch, epochs=len(orders))
        try:
            threads_wanted, context = self.fit.threads, self.fit.context
            self.program.run(orders, first_step=first, hyper=hyper, threads=threads_wanted, context=context)
        finally:
            self.outcome = self.program.outcome
