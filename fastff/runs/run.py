"""A training run and its files: what is written when, so that a process killed at any moment loses little work."""

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastff.data import Dataset
from fastff.engine.batches import Batches
from fastff.errors import DataError, DivergenceError
from fastff.runs import config
from fastff.runs.config import Config
from fastff.runs.folder import (
    ABLATION,
    ABLATION_PICTURE,
    BEST,
    CHECKPOINT,
    CONFIG,
    DATA,
    METRICS,
    PICTURES,
    SUMMARY,
    choose_folder,
    data_places,
)
from fastff.system import checkpoint
from fastff.system.arguments import check_number, check_size
from fastff.system.blocks import Sliceable, all_finite
from fastff.system.files import locked, make_folder, remove_leftovers, write_text
from fastff.training.state import Copy, State, best_network, copied_state, restore_trainer, trainer_state
from fastff.training.trainer import Trainer

SAVING_SHARE = 0.02  # the share of the time that saving may take
MINUTES = 10.0  # minutes between saves within an epoch, where they are quick enough for that share
MOST_BACKOFFS = 5  # how often a divergence may halve the step size
_OUTCOME = (SUMMARY, *PICTURES, ABLATION, ABLATION_PICTURE)  # written when all epochs are done
_FILES = (CHECKPOINT, CONFIG, BEST, METRICS, *_OUTCOME)


class Run:
    """Writes the files of one training run while it trains; each file appears whole or not at all.

    The checkpoint is written before the other files. If the process is killed between them, `start` writes them again
    from the checkpoint. The files of an earlier run in the same folder stay until this run has trained something.

    Raises ArgumentError for a bad checkpoint_epochs or checkpoint_minutes, DataError where the folder cannot be made or
    written to or another run is using it, and DivergenceError instead of saving weights that are not finite.
    """

    folder: Path  # set by start, so that a run that is refused before that leaves no empty folder

    def __init__(self, options: Config, trainer: Trainer, data: Dataset) -> None:
        if options.checkpoint_epochs is not None:
            check_size("checkpoint_epochs", options.checkpoint_epochs)
        if options.checkpoint_minutes is not None:
            check_number("checkpoint_minutes", options.checkpoint_minutes, 0.0, math.inf, above=True)
        self.options, self.trainer = options, trainer
        self._description = described(options, data)
        self._batches = len(Batches(len(data.x_train), trainer.batch_size))
        self._epoch_due = self._batch_due = 0.0  # the next times to save, by time.monotonic()
        self._backoffs = 0
        # of a run that is resumed: the data as its options name it, and where that is
        self._as_written: tuple[dict[str, str], dict[str, str]] | None = None
        self._epoch_end: Copy | None = None  # with backoff: what a divergence goes back to
        self._saved: dict[str, Any] | None = None  # the progress in the checkpoint, if that is this run's
        self._settled = False  # whether the other files are this run's, not an earlier one's

    @contextlib.contextmanager
    def start(self, *, resume: bool) -> Iterator[None]:
        """Make the folder and lock it while the block runs; resume: first load the checkpoint into the trainer."""
        self.folder = choose_folder(self.options)
        make_folder(self.folder)
        with locked(self.folder):
            remove_leftovers(self.folder, _FILES)
            self._postpone(0.0)
            if resume:
                self._restore()
            if self._backs_off:
                self._keep_epoch_end()
            if not (self.folder / CHECKPOINT).exists():
                self.save()
            yield

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or `patience` epochs have passed without a better one."""
        # by the best epoch alone: a fit that followed would wait anew, and a run that has stopped is not to go on
        epoch, patience, best = self.trainer.progress.epoch, self.trainer.patience, self.trainer.best
        if patience is not None and best is not None and epoch - best.epoch >= patience:
            return True
        return epoch >= self.options.epochs

    @property
    def complete(self) -> bool:
        """Whether all is trained, and all is written about it."""
        try:  # the summary comes last
            summary = json.loads((self.folder / SUMMARY).read_bytes())
        except (OSError, ValueError, RecursionError):
            return False
        return self.finished and isinstance(summary, dict) and summary.get("epochs") == self.trainer.progress.epoch

    @property
    def how_it_ended(self) -> str:
        epoch = self.trainer.progress.epoch
        if epoch >= self.options.epochs:
            return f"all {self.options.epochs} epochs are done (--epochs {self.options.epochs * 2} trains on)"
        without = f"{self.trainer.patience} without a better one"
        return f"stopped after {epoch} epochs, {without} (a larger --patience trains on)"

    def save_now_and_then(self) -> None:
        """Called after every epoch: saves after the last one, and before that every checkpoint_epochs epochs.

        Without checkpoint_epochs it saves as often as saving stays within SAVING_SHARE of the time.
        """
        if self._backs_off:
            self._keep_epoch_end()
        every = self.options.checkpoint_epochs
        due = time.monotonic() >= self._epoch_due if every is None else self.trainer.progress.epoch % every == 0
        if self.finished or due:
            self.save()

    def save_due(self) -> bool:
        """Whether it is time to save within an epoch; not during validation, which would have to start over."""
        amid = self.trainer.progress.batch < self._batches and not self._backs_off
        return amid and time.monotonic() >= self._batch_due

    def save(self) -> None:
        """Write the checkpoint, the best network and the metrics: of now or, with backoff, of the last epoch's end."""
        start = time.monotonic()
        arrays, notes = self._to_save()
        checkpoint.save(self.folder / CHECKPOINT, arrays, notes)
        self._saved = notes["progress"]
        if not self._settled:
            for name in _OUTCOME:  # they belong to an earlier run or to fewer epochs
                with contextlib.suppress(OSError):
                    (self.folder / name).unlink()
            config.write(notes["options"], self.folder / CONFIG)
            self._settled = True
        self._write_what_follows(arrays, notes)
        self._postpone(max(0.0, time.monotonic() - start))

    def save_rest(self) -> bool:
        """Save if the checkpoint is behind; False if this run has trained nothing that could be saved."""
        progress = self._to_save()[1]["progress"]
        if progress != self._saved:
            if progress["epoch"] == progress["batch"] == 0:  # nothing trained: keep an earlier run's files
                return False
            self.save()
        return True

    def back_off(self, error: DivergenceError) -> str:
        """Go back to the end of the last epoch and halve the step size; returns a line that says so.

        Where the options do not ask for that, or after MOST_BACKOFFS times, raises DivergenceError with the message of
        `error` and the epoch that the checkpoint holds.
        """
        if self._epoch_end is None or self._backoffs == MOST_BACKOFFS:
            after = f", after {self._backoffs} halvings" if self._backoffs else ""
            kept = "" if self._saved is None else f"; {self.folder} holds epoch {self._saved['epoch']}"
            raise DivergenceError(f"{error}{after}{kept}") from None
        self._backoffs += 1
        restore_trainer(self.trainer, *self._epoch_end, "the end of the last epoch")
        self.trainer.step_size /= 2
        self._keep_epoch_end()
        return (
            f"diverged: {error}. Back to the end of epoch {self.trainer.progress.epoch} with step size "
            f"{self.trainer.step_size:g} ({self._backoffs} of {MOST_BACKOFFS})"
        )

    def write_summary(self, figures: dict[str, Any]) -> None:
        write_text(self.folder / SUMMARY, json.dumps(figures, indent=2) + "\n")

    @property
    def _backs_off(self) -> bool:
        return self.options.on_divergence == "backoff"

    @property
    def _split(self) -> dict[str, Any] | None:
        """Which rows of a table were held out, but for where a table of test rows is."""
        split = self._description.get("split")
        return None if split is None else {**split, "test": bool(split["test"])}

    def _to_save(self) -> State:
        return self._state() if self._epoch_end is None else self._epoch_end

    def _keep_epoch_end(self) -> None:
        self._epoch_end = copied_state(self._state(), self._epoch_end)

    def _state(self) -> State:
        """The content of a checkpoint of now; raises DivergenceError if a number in it is not finite."""
        arrays, notes = trainer_state(self.trainer)
        for name, array in arrays.items():
            if not all_finite(array):
                raise DivergenceError(
                    f"{name} holds numbers that are not finite after step {len(self.trainer.history.batch_losses)}. "
                    f"Try a step size below {self.trainer.step_size:g}, or standardised rows"
                )
        options = config.settings(self.options)
        places = data_places(options)
        if self._as_written and places == self._as_written[1]:  # the words of the command that began the run
            options |= self._as_written[0]
        return arrays, {
            **notes,
            "options": options,
            "data_places": places,
            "backoffs": self._backoffs,
            "split": self._split,
        }

    def _restore(self) -> None:
        path = self.folder / CHECKPOINT
        with checkpoint.reading(path) as (arrays, notes):
            if notes.get("split", ()) != self._split:
                raise DataError(
                    f"{path}: was trained on other rows than these options hold out, want the table, --test-share, "
                    "--test and --split-seed as they were"
                )
            restore_trainer(self.trainer, arrays, notes, path)
            try:
                written = {name: notes["options"][name] for name in DATA if name in notes["options"]}
                self._as_written = written, dict(notes["data_places"])
                if notes["options"]["step_size"] == self.options.step_size:  # the command line gives no other
                    self.trainer.step_size, self._backoffs = float(notes["step_size"]), int(notes["backoffs"])
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise DataError(f"{path}: is not a whole checkpoint of a run: {error!r}") from None
            self._saved = notes["progress"]
            # If the process was killed between the files of a save, these may be older than the checkpoint.
            config.write(notes["options"], self.folder / CONFIG)
            self._write_what_follows(arrays, notes)

    def _write_what_follows(self, arrays: Mapping[str, Sliceable], notes: dict[str, Any]) -> None:
        """Write metrics and best network from a checkpoint's content; before the first update there is no best one."""
        if notes["updates"] and max(notes["updates"]) > 0:
            best = {"layers": notes["layers"], **self._description}
            checkpoint.save(self.folder / BEST, best_network(arrays, notes), best)
        write_text(self.folder / METRICS, "".join(json.dumps(record) + "\n" for record in notes["epochs"]))

    def _postpone(self, seconds: float) -> None:
        """Set the next times to save, after a save that took this many seconds."""
        now, pause = time.monotonic(), seconds / SAVING_SHARE
        minutes = self.options.checkpoint_minutes
        self._epoch_due = now + pause
        self._batch_due = now + (max(pause, 60 * MINUTES) if minutes is None else 60 * minutes)


def described(options: Config, data: Dataset) -> dict[str, Any]:
    """What is saved with a network beside its layers: what its rows and outputs are, and the loss of numbers."""
    return data.description if data.task == "classify" else {**data.description, "loss": options.loss}
