"""A training run as it goes on: which of its files are written when, so that a kill at any moment costs little."""

import contextlib
import dataclasses
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
from fastff.runs.folder import CHECKPOINT, choose_folder
from fastff.system import checkpoint
from fastff.system.arguments import check_number, check_size
from fastff.system.blocks import Sliceable, all_finite
from fastff.system.files import locked, make_folder, remove_leftovers, write_text
from fastff.training.history import Progress
from fastff.training.state import Copy, State, best_network, copied_state, restore_trainer, trainer_state
from fastff.training.trainer import Trainer

SAVING_SHARE = 0.02  # of the time that saving may take
MINUTES = 10.0  # that an epoch may go on before it is saved, where saving takes no time to speak of
MOST_BACKOFFS = 5
_OUTCOME = ("summary.json", "curves.png", "confusion.png", "examples.png", "weights.png")  # of a run that has ended
_FILES = (CHECKPOINT, "config.toml", "best.safetensors", "metrics.jsonl", *_OUTCOME)


class Run:
    """Writes a training run's files as it goes on; each appears whole or not at all.

    The checkpoint is the truth: it is written first, and a kill between the files is put right from it by start. A
    folder that holds an earlier run keeps it until this one has trained something to put in its place.

    Raises ArgumentError for a bad rhythm of saving, DataError where the folder cannot be made or written to, or another
    run is writing to it, and DivergenceError instead of saving weights that are not finite.
    """

    folder: Path  # from start on, so that a run that is refused before makes none

    def __init__(self, options: Config, trainer: Trainer, data: Dataset) -> None:
        if options.checkpoint_epochs is not None:
            check_size("checkpoint_epochs", options.checkpoint_epochs)
        if options.checkpoint_minutes is not None:
            check_number("checkpoint_minutes", options.checkpoint_minutes, 0.0, math.inf, above=True)
        self.options, self.trainer = options, trainer
        self._description = {"dataset": data.name, "class_names": data.class_names, "image_shape": data.image_shape}
        self._batches = len(Batches(len(data.x_train), trainer.batch_size))
        self._epoch_due = self._batch_due = 0.0  # when to save again, at the end of an epoch and within one
        self._backoffs = 0
        self._epoch_end: Copy | None = None  # what a divergence goes back to
        self._saved: dict[str, Any] | None = None  # the progress that the checkpoint holds, once it is this run's
        self._settled = False  # whether the other files are this run's too

    @contextlib.contextmanager
    def start(self, *, resume: bool) -> Iterator[None]:
        """Make the folder and hold it for the block; with resume, put the trainer where the checkpoint left it."""
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
        """Whether there is nothing left to train: all epochs are done, or patience is at its end."""
        epoch, patience, best = self.trainer.progress.epoch, self.trainer.patience, self.trainer.best
        if patience is not None and best is not None and epoch - best.epoch >= patience:
            return True
        return epoch >= self.options.epochs

    def save_now_and_then(self) -> None:
        """At the end of an epoch: save the last one always, others in the rhythm of the options.

        Without one, not if saving was so short a time ago that it would take a noticeable share of the time.
        """
        if self._backs_off:
            self._keep_epoch_end()
        every = self.options.checkpoint_epochs
        due = time.monotonic() >= self._epoch_due if every is None else self.trainer.progress.epoch % every == 0
        if self.finished or due:
            self.save()

    def save_due(self) -> bool:
        """Whether to save in the middle of an epoch; not in its validation, which would have to begin again."""
        amid = self.trainer.progress.batch < self._batches and not self._backs_off
        return amid and time.monotonic() >= self._batch_due

    def save(self) -> None:
        """Write checkpoint, best network and metrics as they are now, or, where a divergence goes back, were then."""
        start = time.monotonic()
        arrays, notes = self._to_save()
        checkpoint.save(self.folder / CHECKPOINT, arrays, notes)
        self._saved = notes["progress"]
        if not self._settled:
            for name in _OUTCOME:  # of the run, or the epochs, before this
                with contextlib.suppress(OSError):
                    (self.folder / name).unlink()
            config.write(notes["options"], self.folder / "config.toml")
            self._settled = True
        self._write_what_follows(arrays, notes)
        self._postpone(time.monotonic() - start)

    def save_rest(self) -> bool:
        """Save what the checkpoint does not hold yet; False where there is nothing of this run to save."""
        progress = self._to_save()[1]["progress"]
        if progress != self._saved:
            if progress == dataclasses.asdict(Progress()):  # an earlier run's files are worth more
                return False
            self.save()
        return True

    def back_off(self, error: DivergenceError) -> str:
        """Go back to the end of the last epoch with half the step size; a line about it.

        Raises error itself, and where the checkpoint stands, if the options don't want that or it was done too often.
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
        write_text(self.folder / "summary.json", json.dumps(figures, indent=2) + "\n")

    @property
    def _backs_off(self) -> bool:
        return self.options.on_divergence == "backoff"

    def _to_save(self) -> State:
        return self._state() if self._epoch_end is None else self._epoch_end

    def _keep_epoch_end(self) -> None:
        self._epoch_end = copied_state(self._state(), self._epoch_end)

    def _state(self) -> State:
        """All that the checkpoint holds, as it is now; DivergenceError where a number of it is not finite."""
        arrays, notes = trainer_state(self.trainer)
        for name, array in arrays.items():
            if not all_finite(array):
                raise DivergenceError(
                    f"{name} holds numbers that are not finite after step {len(self.trainer.history.batch_losses)}. "
                    f"Try a step size below {self.trainer.step_size:g}, or standardised rows"
                )
        return arrays, {**notes, "options": config.settings(self.options), "backoffs": self._backoffs}

    def _restore(self) -> None:
        path = self.folder / CHECKPOINT
        with checkpoint.reading(path) as (arrays, notes):
            restore_trainer(self.trainer, arrays, notes, path)
            try:
                if notes["options"]["step_size"] == self.options.step_size:  # not given anew
                    self.trainer.step_size, self._backoffs = float(notes["step_size"]), int(notes["backoffs"])
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise DataError(f"{path}: is not a whole checkpoint of a run: {error!r}") from None
            self._saved = notes["progress"]
            # A kill between the files of a save may have left others that are older
            config.write(notes["options"], self.folder / "config.toml")
            self._write_what_follows(arrays, notes)

    def _write_what_follows(self, arrays: Mapping[str, Sliceable], notes: dict[str, Any]) -> None:
        """Best network and metrics, from a checkpoint's content; a network that nothing has trained is no best one."""
        if notes["updates"] and max(notes["updates"]) > 0:
            best = {"layers": notes["layers"], **self._description}
            checkpoint.save(self.folder / "best.safetensors", best_network(arrays, notes), best)
        write_text(self.folder / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in notes["epochs"]))

    def _postpone(self, seconds: float) -> None:
        """Set when to save again, after a save that took so many seconds."""
        now, pause = time.monotonic(), seconds / SAVING_SHARE
        minutes = self.options.checkpoint_minutes
        self._epoch_due = now + pause
        self._batch_due = now + (max(pause, 60 * MINUTES) if minutes is None else 60 * minutes)
