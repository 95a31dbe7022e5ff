"""The steps of training: forward, loss, backward and update, one step a batch.

`train` is what a step is, for layers of any kind, and LayerSteps calls it. ProgramSteps gives the same bits, with all
steps of one or more epochs as one native call, for a network of built-in layers. (Augment alone differs:
ProgramSteps change a picture by its number among all rows, LayerSteps by its place in the batch.)
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from fastff.data.rows import Rows
from fastff.engine import panels
from fastff.engine.batches import Batches
from fastff.engine.bfloat16 import PROGRAMS
from fastff.engine.clipping import ClippedProgram
from fastff.engine.context import RunContext
from fastff.engine.program import MOST_EPOCHS, Program
from fastff.engine.run import Outcome
from fastff.engine.table import EpochEnd
from fastff.nn.dropout import RandomLayer
from fastff.nn.loss import Loss, as_loss
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.optim import store_gradient
from fastff.nn.saved import named_parameters
from fastff.system.hold import references
from fastff.training.averages import Averages
from fastff.training.evaluation import Evaluation
from fastff.training.given import variation

ROWS_A_CALL = 1 << 20  # rows of all epochs of a native call, at most: their order takes 8 MB
KEPT_BYTES = 1 << 22  # of copies of the weights, at most: they should stay in the processor's cache


def train(
    network: FeedForwardNeuralNetwork,
    criterion: Loss,
    batches: Iterable[tuple[np.ndarray, ...]],
    step_sizes: Iterable[float],
    clip_norm: float | None = None,
    averages: Averages | None = None,
) -> Iterator[tuple[float, float]]:
    """Train on batches of rows and targets, and weights where rows have some; after each step give its mean loss, and
    how many rows it had right, or the sum of their squared errors.

    averages: of the network's weights, which follow each step.

    Ends before a step whose loss is not finite could change the weights.
    """
    for (rows, *targets), step_size in zip(batches, step_sizes, strict=True):
        outputs = network.forward(rows)
        loss = as_loss(criterion, criterion.forward(outputs, *targets))
        if not math.isfinite(loss):
            return
        network.backward(criterion.backward())
        if clip_norm is not None:
            network.clip_gradients(clip_norm)
        network.step(step_size)
        if averages is not None:
            averages.step()
        yield loss, criterion.score(outputs, *targets)


@dataclass(frozen=True)
class Fit:
    """What a fit trains, on which rows X (N, D) and targets Y (N,) or (N, outputs), and how: the rest is as Trainer
    has it. weights: of the rows, float32 (N,), or None. averages: of the network's weights, where some are wanted."""

    network: FeedForwardNeuralNetwork
    criterion: Loss
    X: Rows
    Y: np.ndarray
    batches: Batches
    seed: int
    precision: str
    threads: int | None
    context: RunContext
    weights: np.ndarray | None = None
    clip_norm: float | None = None
    averages: Averages | None = None

    @cached_property
    def result(self) -> FeedForwardNeuralNetwork:
        """What is validated and kept: the network, with the averages as its weights where there are some."""
        return self.network if self.averages is None else self.averages.network(self.network)

    @cached_property
    def variation(self) -> float:
        """The weighted sum of squared differences between the targets and their means."""
        return variation(self.Y, self.weights)

    def wholes(self, orders: np.ndarray) -> np.ndarray:
        """What the rows of each batch count together, in epochs of these orders (epochs, rows): (epochs, batches)."""
        sizes = self.batches.sizes
        if self.weights is None:
            return np.tile(sizes, (len(orders), 1))
        shape = len(orders), len(sizes), self.batches.size
        padded = np.zeros((shape[0], shape[1] * shape[2]))
        padded[:, : orders.shape[1]] = self.weights[orders]
        return np.cumsum(padded.reshape(shape), axis=2)[:, :, -1]  # in order, as the kernels sum

    def reseed(self, epoch: int, *, epochs: int = 1, step: int = 0) -> None:
        """Make what is random in these epochs, from this step of the first, a function of the seed, the epoch, the step
        and the layer's place."""
        for i, layer in enumerate(self.network.layers):
            if isinstance(layer, RandomLayer):
                entropy = [np.random.SeedSequence([self.seed, number, i]) for number in range(epoch, epoch + epochs)]
                layer.reseed([int(e.generate_state(1)[0]) + step for e in entropy])


class EpochEnds:
    """What happens at each epoch's end as part of the training's own program: validation, and a copy of the weights.

    In a small network an epoch takes no longer than Python takes to look at its result. Such a network is trained for
    many epochs in one native call; validation's figures and the copies say afterwards which epoch was the best.

    program: the training's, to which nothing may be added then. evaluation: None without a validation set. arrays: the
    memory of the parameters, where it is to be copied. epochs: how many a call has, at most.
    """

    def __init__(
        self,
        program: Program,
        network: FeedForwardNeuralNetwork,
        evaluation: Evaluation | None,
        arrays: list[np.ndarray],
        epochs: int,
    ) -> None:
        self._layers, self._evaluation = [*network.layers], evaluation  # the program's, whatever the network has later
        self._kept = [panels.aligned(array.size * epochs).reshape(epochs, -1) for array in arrays]
        order, batches = np.zeros(0, np.int64), Batches(0, 1)
        if evaluation is not None:
            order, batches = evaluation.order, evaluation.batches
        shape = epochs, len(batches)
        self._end = EpochEnd(order, batches.size, np.zeros(shape), np.zeros(shape))
        other = None if evaluation is None else evaluation.program
        program.end_epochs(self._end, other, list(zip(arrays, self._kept, strict=True)))

    def validation(self, epoch: int) -> tuple[float, float] | None:
        """Validation's (mean loss, accuracy or r2) after an epoch of the last call, counted from 0; None without it."""
        if self._evaluation is None:
            return None
        return self._evaluation.figures(self._end.losses[epoch], self._end.hits[epoch])

    def parameters(self, epoch: int) -> dict[str, np.ndarray]:
        """The network's parameters() after an epoch of the last call, counted from 0, where they were kept."""
        kept, parameters = iter(self._kept), {}
        for layer, weight, bias in named_parameters(self._layers):
            parameters[weight] = panels.unpack(next(kept)[epoch], (layer.input_dim, layer.output_dim))
            parameters[bias] = next(kept)[epoch][: layer.output_dim].copy()
        return parameters


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
        """EpochEnds.validation of an epoch; None where none was done."""
        return None if self.ends is None else self.ends.validation(epoch)

    def parameters(self, epoch: int) -> dict[str, np.ndarray]:
        """The network's parameters() after an epoch, counted from 0, of a call that keeps them."""
        assert self.ends is not None
        return self.ends.parameters(epoch)


class Steps:
    """Trains a network on the batches of one or more epochs.

    most_epochs: how many epochs a call may have. trained: what the last call has done, also where it was interrupted;
    None if it did not come to its first batch.
    """

    most_epochs = 1

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        self.trained: Trained | None = None

    def compile(self) -> float:
        """Compile what the steps need, or load it; the seconds it took."""
        return 0.0  # a layer that is called by itself compiles its own then

    def __call__(self, epoch: int, orders: np.ndarray, first: int, step_sizes: np.ndarray) -> Trained:
        """Train from batch number `first` of epoch number `epoch` on.

        orders: the order of the rows in each epoch, (epochs, rows). step_sizes: of each batch, (epochs * batches,).
        """
        raise NotImplementedError


class LayerSteps(Steps):
    """Steps for layers of any kind, called one by one."""

    def __init__(self, fit: Fit) -> None:
        super().__init__(fit)
        self._held = [*references(fit.X), *references(fit.Y)]

    def __call__(self, epoch: int, orders: np.ndarray, first: int, step_sizes: np.ndarray) -> Trained:
        fit, batches = self.fit, self.fit.batches
        done = np.full(1, first, np.int64)
        outcome = Outcome(np.zeros(len(batches)), np.zeros(len(batches)), done, len(batches))
        self.trained = Trained(outcome, first)
        numbers, sizes = range(first, len(batches)), map(float, step_sizes[first:])
        wholes = fit.wholes(orders)[0]
        rows, more = self._rows(epoch, orders[0], numbers), (fit.clip_norm, fit.averages)
        steps = train(fit.network, fit.criterion, rows, sizes, *more)
        for number, (loss, hits) in zip(numbers, steps, strict=False):
            outcome.losses[number], outcome.hits[number] = loss * wholes[number], hits
            done[0] = number + 1
        return self.trained

    def _rows(self, epoch: int, order: np.ndarray, numbers: range) -> Iterator[tuple[np.ndarray, ...]]:
        fit = self.fit
        for number in numbers:
            fit.reseed(epoch, step=number)
            rows = order[fit.batches.slice(number)]
            batch = fit.X[rows], fit.Y[rows]
            yield batch if fit.weights is None else (*batch, fit.weights[rows])


class ProgramSteps(Steps):
    """Steps as one program for the kernels: all layers, forward, backward and update.

    epochs: how many a call should train, at most. evaluation, keep: what to do at the end of each of them, where a call
    may train several: validate, and keep the weights.
    """

    def __init__(self, fit: Fit, *, epochs: int = 1, evaluation: Evaluation | None = None, keep: bool = False) -> None:
        super().__init__(fit)
        self.outcome: Outcome | None = None  # of the last run, or the run under way
        self.program = self.make_program()
        weights = None if fit.weights is None else self.program.gather(fit.weights[:, None])
        targets = fit.criterion.lower_targets(self.program, fit.Y)
        z, saved = fit.network.lower_forward(self.program, fit.X, training=True)
        g = fit.criterion.lower(self.program, z, targets, weights, gradient=True, halt=True)
        assert g is not None
        fit.network.lower_backward(self.program, g, saved)
        self.program.finish()
        if fit.averages is not None:
            fit.averages.lower(self.program)
        arrays = [kind[0] for layer in fit.result.linear_layers for kind in layer.memory] if keep else []
        copies = KEPT_BYTES // max(1, sum(array.nbytes for array in arrays))
        self.most_epochs = max(1, min(epochs, MOST_EPOCHS, ROWS_A_CALL // len(fit.X), copies))
        if evaluation is not None and evaluation.program is not None and evaluation.program.stream is not None:
            self.most_epochs = 1  # its rows are in files that only a run of its own opens
        self._ends: EpochEnds | None = None
        if self.most_epochs > 1 and (evaluation is not None or keep):
            self._ends = EpochEnds(self.program, fit.result, evaluation, arrays, self.most_epochs)

    def make_program(self) -> Program:
        """An empty program for the batches."""
        rows, limit = self.fit.batches.size, self.fit.clip_norm
        return PROGRAMS[self.fit.precision](rows) if limit is None else ClippedProgram(rows, limit, store_gradient())

    def compile(self) -> float:
        return self.program.compile()

    def __call__(self, epoch: int, orders: np.ndarray, first: int, step_sizes: np.ndarray) -> Trained:
        layers = [layer for layer in self.fit.network.linear_layers if layer.trainable]
        for layer in layers:
            layer.moves_by(self.fit.network.optimizer)
        self.outcome, self.trained = cast("Outcome | None", None), None  # `go` sets the outcome
        updates = max((layer.updates for layer in layers), default=0)
        hyper, averages = self.fit.network.optimizer.hyper(updates + 1, step_sizes[first:]), self.fit.averages
        if averages is not None:
            hyper = averages.put_into(hyper, len(step_sizes) - first)
        # of whole epochs, so that one that goes on in the middle of an epoch says the same
        threads = self.threads_for(len(step_sizes))
        for layer in self.fit.network.linear_layers:
            layer.sync()
        try:
            self.go(epoch, orders, first, hyper, threads)
        finally:
            if self.outcome is not None:
                for layer in layers:
                    layer.updated(self.outcome.done - first)
                if averages is not None:
                    averages.counted(self.outcome.done - first)
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
