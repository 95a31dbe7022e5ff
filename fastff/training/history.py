"""What training leaves behind: the losses of all batches, a record an epoch, how far it came, and the best weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from fastff.errors import ArgumentError
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.system import clock
from fastff.training.steps import Fit, Trained

HIGHER_IS_BETTER = {"train_loss": False, "train_accuracy": True, "val_loss": False, "val_accuracy": True}


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: training figures are means over its batches as they came, validation follows it (None without)."""

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float  # of training; those of validation count where one native call trained several epochs
    examples_per_second: float

    def __str__(self) -> str:
        """A line that says how the epoch went."""
        line = f"epoch {self.epoch}: loss {self.train_loss:.4f}, accuracy {self.train_accuracy:.2%}"
        if self.val_loss is not None:
            line += f"; validation loss {self.val_loss:.4f}, accuracy {self.val_accuracy:.2%}"
        return f"{line}; {self.seconds:.2f} s, {self.examples_per_second:,.0f} rows/s"


@dataclass(frozen=True, repr=False)
class History:
    """What training showed: loss and accuracy of every batch, in order, and a record an epoch."""

    batch_losses: list[float] = field(default_factory=list)
    batch_accuracies: list[float] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)

    def __repr__(self) -> str:
        """How much there is, and the last epoch's accuracy, on the validation rows where there are any."""
        epochs, batches = len(self.epochs), len(self.batch_losses)
        said = [f"{epochs:,} epoch{'s' * (epochs != 1)}", f"{batches:,} batch{'es' * (batches != 1)}"]
        if self.epochs:
            last = self.epochs[-1]
            name = "train_accuracy" if last.val_accuracy is None else "val_accuracy"
            said.append(f"{name} {getattr(last, name):.3f}")
        return f"History({', '.join(said)})"


@dataclass(frozen=True)
class Progress:
    """How far training has come: epochs finished, and the batches done and seconds spent in the one under way."""

    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Best:
    """The best value of what is monitored, its epoch, and the network's parameters() then."""

    value: float
    epoch: int
    arrays: dict[str, np.ndarray]


class Recorder:
    """Counts what training has done, and keeps the network's weights of the best epoch.

    monitor: the field of an epoch's record that says how good the epoch was; None keeps no weights.
    """

    def __init__(self, monitor: str | None) -> None:
        self.monitor = monitor
        self.history, self.progress = History(), Progress()
        self.best: Best | None = None
        self._batches = 0  # counted so far

    def go_on(self, history: History, progress: Progress, best: Best | None) -> None:
        """Go on from what training had left behind at another time."""
        for own, lists in zip(vars(self.history).values(), vars(history).values(), strict=True):
            own[:] = lists
        self.progress, self.best, self._batches = progress, best, len(history.batch_losses)

    def check(self) -> None:
        """Raise ArgumentError where somebody else has changed the lists of the history, of which figures are made."""
        losses, accuracies = self.history.batch_losses, self.history.batch_accuracies
        found = len(losses), len(accuracies), len(self.history.epochs)
        if found != (self._batches, self._batches, self.progress.epoch):
            raise ArgumentError(
                f"history: lists of {found} batch losses, batch accuracies and epochs, want them as training has left "
                f"them, {self._batches}, {self._batches} and {self.progress.epoch}: copy what is to be changed"
            )

    @property
    def epochs_since_best(self) -> int:
        """How many epochs have been closed without becoming the best one since the best epoch; 0 before any."""
        return 0 if self.best is None else self.progress.epoch - self.best.epoch

    def count(self, fit: Fit, trained: Trained, seconds: float) -> None:
        """Count the batches that a call has done, and close its epochs but the last that it has come to.

        That one may not be at its end, or wait for its validation. Each batch gets the same share of the seconds.
        """
        history, outcome, batches = self.history, trained.outcome, fit.batches
        done = slice(trained.first, outcome.done)
        sizes = np.resize(batches.sizes, outcome.steps)[done]
        history.batch_losses.extend((outcome.losses[done] / sizes).tolist())
        history.batch_accuracies.extend((outcome.hits[done] / sizes).tolist())
        self._batches += outcome.done - trained.first
        each = seconds / max(1, outcome.done - trained.first)
        left, epoch = outcome.done, 0
        while left > len(batches):
            left -= len(batches)
            self._advance(len(batches), each)
            self.close(fit, trained.validation(epoch), partial(trained.parameters, epoch), left)
            epoch += 1
        self._advance(left, each)

    def _advance(self, batch: int, each: float) -> None:
        """Come to this batch of the epoch under way, with so many seconds for each."""
        now = self.progress
        self.progress = replace(now, batch=batch, seconds=now.seconds + (batch - now.batch) * each)

    def close(
        self,
        fit: Fit,
        validation: tuple[float, float] | None,
        parameters: Callable[[], dict[str, np.ndarray]] | None = None,
        later_batches: int = 0,
    ) -> EpochRecord:
        """Add the record of the epoch under way, whose batches are all counted, and keep its weights if it is the best.

        parameters gives the network's after that epoch; None where they are still the same. later_batches: how many
        batches of the next epochs are counted already.
        """
        self.check()
        now, history, batches = self.progress, self.history, fit.batches
        end = len(history.batch_losses) - later_batches
        own = slice(end - len(batches), end)
        val_loss, val_accuracy = (None, None) if validation is None else validation
        record = EpochRecord(
            epoch=now.epoch + 1,
            # fsum: the same bits whatever BLAS there is, and however many threads it takes
            train_loss=math.fsum(np.multiply(history.batch_losses[own], batches.sizes)) / batches.rows,
            train_accuracy=math.fsum(np.multiply(history.batch_accuracies[own], batches.sizes)) / batches.rows,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            seconds=now.seconds,
            examples_per_second=clock.per_second(batches.rows, now.seconds),
        )
        history.epochs.append(record)
        self.progress = Progress(epoch=now.epoch + 1)
        if self.monitor is not None and self._is_best(value := getattr(record, self.monitor)):
            if parameters is None:
                self._keep(fit.network, value, record.epoch)
            else:
                self.best = Best(value, record.epoch, parameters())
        return record

    def _is_best(self, value: float) -> bool:
        if self.best is None or math.isnan(self.best.value):
            return True
        return value > self.best.value if HIGHER_IS_BETTER[self.monitor or ""] else value < self.best.value

    def _keep(self, network: FeedForwardNeuralNetwork, value: float, epoch: int) -> None:
        """Make the network as it is now the best one, in the memory of the one before."""
        arrays = None if self.best is None else self.best.arrays
        self.best = None  # until all of it is there
        try:
            arrays = network.parameters(arrays)
        except KeyboardInterrupt:  # it is half written, and the network is still the same
            self.best = Best(value, epoch, network.parameters(arrays))
            raise
        self.best = Best(value, epoch, arrays)
