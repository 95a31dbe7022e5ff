"""What training leaves behind: the losses of all batches, a record an epoch, how far it came, and the best weights."""

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np

from fastff.engine.batches import Batches
from fastff.errors import ArgumentError, MissingExtra
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.system import clock
from fastff.system.names import KnownElsewhere
from fastff.training.given import r2
from fastff.training.steps import Fit, Trained

HIGHER_IS_BETTER = {
    "train_loss": False, "train_accuracy": True, "train_r2": True,
    "val_loss": False, "val_accuracy": True, "val_r2": True, "val_balanced_accuracy": True, "val_auc": True,
}  # fmt: skip


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: training figures are means over its batches as they came, validation follows it (None without).

    Where numbers are predicted there are no accuracies but r2, the share of the targets' variation that predictions
    explain: of all outputs together, in the units that the loss is in.
    """

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    seconds: float  # of training; those of validation count where one native call trained several epochs
    examples_per_second: float
    train_r2: float | None = None
    val_r2: float | None = None
    val_balanced_accuracy: float | None = None  # this and the next are computed where they are monitored
    val_auc: float | None = None

    def __str__(self) -> str:
        """A line that says how the epoch went."""
        line = f"epoch {self.epoch}: loss {self.train_loss:.4f}, {_said(self.train_accuracy, self.train_r2)}"
        if self.val_loss is not None:
            line += f"; validation loss {self.val_loss:.4f}, {_said(self.val_accuracy, self.val_r2)}"
        return f"{line}; {self.seconds:.2f} s, {self.examples_per_second:,.0f} rows/s"


def _said(accuracy: float | None, r2: float | None) -> str:
    return f"r2 {r2:.4f}" if accuracy is None else f"accuracy {accuracy:.2%}"


@dataclass(frozen=True, repr=False)
class History(KnownElsewhere):
    """What training showed: loss and accuracy of every batch, in order, and a record an epoch.

    Where numbers are predicted there are no accuracies.
    """

    batch_losses: list[float] = field(default_factory=list)
    batch_accuracies: list[float] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)

    def __repr__(self) -> str:
        """How much there is, and the last epoch's accuracy or r2, on the validation rows where there are any."""
        epochs, batches = len(self.epochs), len(self.batch_losses)
        said = [f"{epochs:,} epoch{'s' * (epochs != 1)}", f"{batches:,} batch{'es' * (batches != 1)}"]
        if self.epochs:
            last = self.epochs[-1]
            score = "r2" if last.train_accuracy is None else "accuracy"
            name = f"train_{score}" if last.val_loss is None else f"val_{score}"
            said.append(f"{name} {getattr(last, name):.3f}")
        return f"History({', '.join(said)})"

    def plot(self, path: str | os.PathLike[str] | None = None, *, title: str = "training") -> Any:
        """Draw the loss and the accuracy, or r2, of batches and epochs, and mark the best epoch.

        That is the one with the highest accuracy, or r2, on the validation rows; without these none is marked.

        Parameters
        ----------
        path : str or path, optional
            The PNG file to write. Without it the figure is one of pyplot's, which notebooks and ``plt.show()`` show.
        title : str
            The heading.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ArgumentError
            Before any batch was trained.
        DataError
            Where the file cannot be written.
        """
        from fastff import plots  # which imports matplotlib, and that takes long

        return plots.draw_curves(
            path, self.batch_losses, self.batch_accuracies, self.epochs, title=title, best=self._best_epoch
        )

    @property
    def _best_epoch(self) -> int | None:
        scores = {r.epoch: r.val_r2 if r.val_accuracy is None else r.val_accuracy for r in self.epochs}
        found = {epoch: score for epoch, score in scores.items() if score is not None and not math.isnan(score)}
        return max(found, key=lambda epoch: found[epoch]) if found else None

    def to_frame(self) -> Any:
        """The epochs as a pandas DataFrame, a row each, without the figures that no epoch has.

        Raises
        ------
        MissingExtra
            Where pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtra.of("to_frame needs pandas", "pandas", error) from None
        names = [field.name for field in fields(EpochRecord)]
        frame = pd.DataFrame([asdict(record) for record in self.epochs], columns=names)
        return frame.dropna(axis=1, how="all") if self.epochs else frame


@dataclass(frozen=True)
class Progress:
    """How far training has come: epochs finished, and the batches done and seconds spent in the one under way.

    squares: the sum of the squared errors in these batches, where numbers are predicted.
    """

    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True)
class Best:
    """The best value of what is monitored, its epoch, and the network's parameters() then."""

    value: float
    epoch: int
    arrays: dict[str, np.ndarray]


class Recorder:
    """Counts what training has done, and keeps the network's weights of the best epoch.

    monitor: the field of an epoch's record that says how good the epoch was; None keeps no weights. task: the loss's.
    """

    def __init__(self, monitor: str | None, task: str = "classify") -> None:
        self.monitor, self._task = monitor, task
        self.history, self.progress = History(), Progress()
        self.best: Best | None = None
        self._waits_from = 0  # the epoch from which epochs without a better one are counted
        self._batches = 0  # counted so far
        self._taken: Batches | None = None  # those of the last call that was counted
        self._wholes = np.zeros(0)  # what the rows of each batch count together, in the epoch under way

    def go_on(self, history: History, progress: Progress, best: Best | None) -> None:
        """Go on from what training had left behind at another time."""
        for own, lists in zip(vars(self.history).values(), vars(history).values(), strict=True):
            own[:] = lists
        self.progress, self.best, self._batches = progress, best, len(history.batch_losses)

    def check(self) -> None:
        """Raise ArgumentError where somebody else has changed the lists of the history, of which figures are made."""
        losses, accuracies = self.history.batch_losses, self.history.batch_accuracies
        found, left = (len(losses), len(accuracies), len(self.history.epochs)), self._left
        if found != left:
            raise ArgumentError(
                f"history: lists of {found} batch losses, batch accuracies and epochs, want them as training has left "
                f"them, {left[0]}, {left[1]} and {left[2]}: copy what is to be changed"
            )

    def check_batches(self, batches: Batches) -> None:
        """Raise ArgumentError where an epoch was interrupted that had other batches, as it could not go on."""
        before = self._taken if self.progress.batch else None
        if before is not None and before != batches:
            raise ArgumentError(
                f"batch_size: {batches.size} and {batches.rows} rows, want {before.size} and {before.rows} until the "
                "interrupted epoch has ended"
            )

    @property
    def _left(self) -> tuple[int, int, int]:
        """How long training has left the history's lists."""
        return self._batches, self._batches if self._task == "classify" else 0, self.progress.epoch

    @property
    def epochs_since_best(self) -> int:
        """How many epochs have been closed without becoming the best one, since the best epoch or the last
        `wait_anew`; 0 before any."""
        return 0 if self.best is None else self.progress.epoch - max(self.best.epoch, self._waits_from)

    def wait_anew(self) -> None:
        """Count epochs_since_best from this epoch on."""
        self._waits_from = self.progress.epoch

    def count(self, fit: Fit, trained: Trained, seconds: float, wholes: np.ndarray) -> None:
        """Count the batches that a call has done, and close its epochs but the last that it has come to.

        That one may not be at its end, or wait for its validation. Each batch gets the same share of the seconds.
        wholes: what the rows of each batch count together, in all epochs of the call, (epochs, batches).
        """
        history, outcome, batches = self.history, trained.outcome, fit.batches
        self._taken = batches
        done, hits = slice(trained.first, outcome.done), outcome.hits[trained.first : outcome.done]
        own = wholes.reshape(-1)[done]
        means = np.divide(outcome.losses[done], own, out=np.zeros(len(own)), where=own > 0)
        history.batch_losses.extend(means.tolist())
        if fit.criterion.task == "classify":
            sizes = np.resize(batches.sizes, outcome.steps)[done]
            history.batch_accuracies.extend((hits / sizes).tolist())
        self._batches += outcome.done - trained.first
        each = seconds / max(1, outcome.done - trained.first)
        left, epoch, self._wholes = outcome.done, 0, wholes[0]
        while left > len(batches):
            left -= len(batches)
            hits = self._advance(len(batches), each, hits)
            self.close(fit, trained.validation(epoch), partial(trained.parameters, epoch), left)
            epoch += 1
            self._wholes = wholes[epoch]
        self._advance(left, each, hits)

    def _advance(self, batch: int, each: float, hits: np.ndarray) -> np.ndarray:
        """Come to this batch of the epoch under way, with so many seconds for each; returns the rest of the hits."""
        now = self.progress
        count, squares = batch - now.batch, now.squares
        if self._task == "regress":
            squares = float(np.cumsum([squares, *hits[:count]])[-1])  # in order, wherever an epoch is interrupted
        self.progress = replace(now, batch=batch, seconds=now.seconds + count * each, squares=squares)
        return hits[count:]

    def close(
        self,
        fit: Fit,
        validation: tuple[float, float] | None,
        parameters: Callable[[], dict[str, np.ndarray]] | None = None,
        later_batches: int = 0,
        ranked: dict[str, float] | None = None,
    ) -> EpochRecord:
        """Add the record of the epoch under way, whose batches are all counted, and keep its weights if it is the best.

        parameters gives the network's after that epoch; None where they are still the same. later_batches: how many
        batches of the next epochs are counted already. ranked: figures of RANKED that are monitored.
        """
        self.check()
        now, history, batches = self.progress, self.history, fit.batches
        end = len(history.batch_losses) - later_batches
        own = slice(end - len(batches), end)
        val_loss, val_score = (None, None) if validation is None else validation
        if fit.criterion.task == "classify":
            train_score = math.fsum(np.multiply(history.batch_accuracies[own], batches.sizes)) / batches.rows
            scores = {"train_accuracy": train_score, "val_accuracy": val_score}
        else:
            scores = {"train_r2": r2(now.squares, fit.variation), "val_r2": val_score}
        record = EpochRecord(
            epoch=now.epoch + 1,
            # fsum: the same bits whatever BLAS there is, and however many threads it takes
            train_loss=math.fsum(np.multiply(history.batch_losses[own], self._wholes)) / math.fsum(self._wholes),
            val_loss=val_loss,
            seconds=now.seconds,
            examples_per_second=clock.per_second(batches.rows, now.seconds),
            **{"train_accuracy": None, "val_accuracy": None, **scores, **(ranked or {})},
        )
        history.epochs.append(record)
        self.progress = Progress(epoch=now.epoch + 1)
        if self.monitor is not None and self._is_best(value := getattr(record, self.monitor)):
            if parameters is None:
                self._keep(fit.result, value, record.epoch)
            else:
                self.best = Best(value, record.epoch, parameters())
        return record

    def _is_best(self, value: float) -> bool:
        if self.best is None:
            return True
        if math.isnan(value) or math.isnan(self.best.value):
            return not math.isnan(value)
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
