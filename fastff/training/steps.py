"""The batches of epochs, in two ways with one result: as one program for the kernels, or layer by layer.

`Trainer` chooses: built-in layers become a program, and a network with a layer of somebody's own is called by hand.
"""

import math
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from fastff.data.rows import Rows
from fastff.engine.bfloat16 import PROGRAMS
from fastff.engine.program import Program
from fastff.engine.run import Outcome
from fastff.nn.layers import MOST_EPOCHS, RandomLayer
from fastff.training.epoch_ends import EpochEnds
from fastff.training.evaluation import Evaluation

if TYPE_CHECKING:
    from fastff.training.trainer import Trainer

ROWS_A_CALL = 1 << 20  # their order is 8 MB


class Steps(Protocol):
    """Called with the rows' order in each epoch, (epochs, rows), and the first batch to do, counted through them.

    most_epochs is how many may come at once; `outcome` says how far it came, None if it never began.
    """

    most_epochs: int
    outcome: Outcome | None

    def ends(self, evaluation: Evaluation | None, *, keep: bool, epochs: int) -> EpochEnds | None:
        """Have the steps do what ends each of so many epochs too; None where they cannot. Once, before the first."""

    def __call__(self, orders: np.ndarray, first: int) -> Outcome: ...


class ProgramSteps:
    """All layers, forward, backward and update, as one program."""

    def __init__(self, trainer: "Trainer", X: Rows, Y: np.ndarray) -> None:
        self.trainer, network = trainer, trainer.network
        self.outcome: Outcome | None = None
        self.program = self.make_program(min(trainer.batch_size, len(X)))
        self.most_epochs = max(1, min(MOST_EPOCHS, ROWS_A_CALL // len(X)))
        labels = self.program.labels(Y)
        z, saved = network.lower_forward(self.program, X, training=True)
        g = self.program.cross_entropy(z, labels, trainer.criterion.label_smoothing, gradient=True, halt=True)
        assert g is not None
        network.lower_backward(self.program, g, saved)

    def ends(self, evaluation: Evaluation | None, *, keep: bool, epochs: int) -> EpochEnds | None:
        if evaluation is not None and evaluation.program.streams:  # from files that only a run of its own opens
            return None
        ends = EpochEnds(self.trainer.network, evaluation, keep=keep, most_epochs=min(epochs, self.most_epochs))
        if ends.most_epochs == 1:
            return None
        ends.add_to(self.program)
        return ends

    def make_program(self, rows: int) -> Program:
        return PROGRAMS[self.trainer.precision](rows)

    def __call__(self, orders: np.ndarray, first: int) -> Outcome:
        trainer, layers = self.trainer, self.trainer.network.linear_layers
        self.outcome = cast("Outcome | None", None)  # which `go` sets
        steps = math.ceil(orders.shape[1] / trainer.batch_size)
        updates = max((layer.updates for layer in layers), default=0)
        hyper = trainer.optimizer.hyper(updates + 1, trainer.step_sizes(steps, len(orders))[first:])
        # of whole epochs, so that one that goes on in the middle of an epoch says the same
        trainer.threads_used = self.threads_for(steps * len(orders))
        for layer in layers:
            layer.sync()
        try:
            self.go(orders, first, hyper)
        finally:
            if self.outcome is not None:
                for layer in layers:
                    layer.updated(self.outcome.done - first)
        assert self.outcome is not None
        return self.outcome

    def threads_for(self, steps: int) -> int:
        return self.program.threads_for(self.trainer.threads, steps)

    def go(self, orders: np.ndarray, first: int, hyper: np.ndarray) -> None:
        """Run the steps from `first` on with these optimizer's numbers; `outcome` then says how far they came."""
        reseed(self.trainer, len(orders))
        try:
            self.program.run(orders, first_step=first, hyper=hyper, threads=self.trainer.threads)
        finally:
            self.outcome = self.program.outcome


class LayerSteps:
    """Any layers with forward, backward and step, called one by one."""

    most_epochs = 1

    def __init__(self, trainer: "Trainer", X: Rows, Y: np.ndarray) -> None:
        self.trainer, self.X, self.Y = trainer, X, Y
        self.outcome: Outcome | None = None

    def ends(self, evaluation: Evaluation | None, *, keep: bool, epochs: int) -> EpochEnds | None:
        return None

    def __call__(self, orders: np.ndarray, first: int) -> Outcome:
        trainer, size, order = self.trainer, self.trainer.batch_size, orders[0]
        steps = math.ceil(len(order) / size)
        done = np.full(1, first)
        outcome = self.outcome = Outcome(np.zeros(steps), np.zeros(steps, np.int64), done, steps)
        step_sizes = trainer.step_sizes(steps, 1)
        for step in range(first, steps):
            reseed(trainer, 1, step)
            rows = order[step * size : (step + 1) * size]
            logits, labels = trainer.network.forward(self.X[rows]), self.Y[rows]
            loss = trainer.criterion.forward(logits, labels)
            if not math.isfinite(loss):
                break
            trainer.network.backward(trainer.criterion.backward())
            trainer.network.step(float(step_sizes[step]))
            outcome.losses[step] = loss * len(rows)
            outcome.hits[step] = (logits.argmax(1) == labels).sum()
            done[0] = step + 1
        return outcome


def reseed(trainer: "Trainer", epochs: int, step: int = 0) -> None:
    """Make what is random in the next epochs, from this step of the first, a function of the trainer's seed, the epoch,
    the step and the layer's place."""
    for i, layer in enumerate(trainer.network.layers):
        if isinstance(layer, RandomLayer):
            now = trainer.progress.epoch
            entropy = [np.random.SeedSequence([trainer.seed, epoch, i]) for epoch in range(now, now + epochs)]
            layer.reseed([int(e.generate_state(1)[0]) + step for e in entropy])
