"""The search as Optuna sees it: the study in its storage, and which trial comes next, goes on, or is stopped.

One process alone asks, reports and tells, so a SQLite file is storage enough for any number of workers.
"""

import contextlib
import dataclasses
import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

import fastff
from fastff.config import Config
from fastff.errors import ArgumentError, DataError
from fastff.tune.space import start_parameters, suggest
from fastff.tune.workers import Outcome, Task

# Options that change no trial's result
_ELSEWHERE = ("data_dir", "config", "out", "resume", "threads")


@contextlib.contextmanager
def open_study(storage: str, name: str) -> Iterator[optuna.Study]:
    """The study of this name in a storage, a new one where there is none; what the storage cannot do becomes DataError.

    storage: a database's URL, or the path of a journal file that ends in .log or .journal. Raises ArgumentError for
    what is neither.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    shown = re.sub("(//[^/:@]*):[^/@]*@", r"\1:***@", storage)  # without the password
    store: Any = None
    try:
        try:
            if storage.endswith((".log", ".journal")):
                store = optuna.storages.JournalStorage(JournalFileBackend(storage))
            else:
                store = optuna.storages.RDBStorage(storage)
                if store.engine.name == "sqlite":
                    sqlalchemy.event.listen(store.engine, "connect", _hasten)
                    store.engine.dispose()  # the connection that made the tables
            study = optuna.create_study(storage=store, study_name=name, direction="maximize", load_if_exists=True)
        except sqlalchemy.exc.ArgumentError:
            raise ArgumentError(
                f"--storage: {shown!r}, want a database's URL such as sqlite:///study.db, or a file that ends in .log"
            ) from None
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise DataError(f"{shown}: cannot be the storage: {_reason(error)}") from None
        yield study
    except (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise DataError(f"{shown}: cannot be the storage: {_reason(error)}") from None
    finally:
        if isinstance(store, optuna.storages.RDBStorage):
            store.remove_session()
            store.engine.dispose()


def _hasten(connection: Any, _: Any) -> None:
    """Have SQLite commit without waiting for the disk: an epoch of a small network takes less time than that.

    A killed process loses nothing by it. A power cut may lose the last trials, not the others.
    """
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _reason(error: BaseException) -> str:
    """The innermost message, of the driver and not of the layers above it, without the SQL that follows."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count: those at their end, but not those that were lost and queued again."""
    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs.get("retries") for trial in trials}
    return [trial for trial in trials if trial.state.is_finished() and trial.number not in again]


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial of the highest accuracy, the first of equals; None where no trial is complete."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


class Search:
    """Hands out trials until `total` are finished, those of earlier calls counted, and says a line about each.

    start: the first trial, and all that is not searched for. Raises DataError where the study began from another.
    """

    def __init__(
        self, study: optuna.Study, start: Config, image_shape: tuple[int, int, int] | None, *, total: int, seed: int
    ) -> None:
        self.study, self.start, self.image_shape, self.total = study, start, image_shape, total
        trials = study.get_trials(deepcopy=False)
        self._same_start(new=not trials)
        # Another seed each time: the same would draw again what the calls before have tried.
        state = np.random.SeedSequence([seed, len(trials)]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(state[0]))
        study.pruner = optuna.pruners.MedianPruner(n_warmup_steps=start.epochs // 4)
        if not trials:
            self._queue(start_parameters(start, image_shape))
        self.requeue_running()

    def _same_start(self, *, new: bool) -> None:
        options = {n: v for n, v in dataclasses.asdict(self.start).items() if n not in _ELSEWHERE}
        ours = {"version": fastff.__version__, **options, "hidden": list(self.start.hidden)}
        if new:
            self.study.set_user_attr("start", ours)
        theirs = self.study.user_attrs.get("start", {})
        for name, value in ours.items():
            if theirs.get(name) != value:
                raise DataError(
                    f"{name}: {value!r}, but the search in this storage has {theirs.get(name)!r}; "
                    "want the same, or another --out or --storage"
                )

    def next(self) -> Task | None:
        running = len(self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]))
        if len(finished(self.study)) + running >= self.total:
            return None
        trial = self.study.ask()
        return Task(trial, suggest(trial, self.start, self.image_shape))

    def report(self, task: Task, epoch: int, accuracy: float) -> bool:
        task.trial.report(accuracy, epoch)
        # The start is the mark that the others must reach: it is never stopped.
        return task.config != self.start and bool(task.trial.should_prune())

    def finish(self, task: Task, outcome: Outcome) -> None:
        trial = task.trial
        if outcome.diverged is not None:
            trial.set_user_attr("note", outcome.diverged)
        else:
            trial.set_user_attr("best_epoch", outcome.epoch)
        if outcome.diverged is not None or outcome.stopped:
            self.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            self.study.tell(trial, outcome.accuracy, skip_if_finished=True)
        if outcome.diverged is not None:
            self._say(trial.number, "diverged")
        elif outcome.stopped:
            self._say(trial.number, f"{outcome.accuracy:.2%}, not promising, stopped")
        else:
            self._say(trial.number, f"{outcome.accuracy:.2%} at epoch {outcome.epoch}")

    def lost(self, task: Task, reason: str) -> None:
        # Once: what needs more memory than there is would kill its worker for ever.
        again = "retries" not in task.trial.user_attrs
        task.trial.set_user_attr("note", reason)
        self._lose(task.trial.number, again=again)
        self._say(task.trial.number, f"{reason}, {'queued again' if again else 'given up'}")

    def requeue_running(self) -> None:
        """Queue again what was under way when this search, or one before it, was stopped."""
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._lose(trial.number, again=True)

    def _lose(self, number: int, *, again: bool) -> None:
        if again:
            trial = self.study.get_trials(deepcopy=False)[number]
            self._queue({**trial.user_attrs.get("parameters", {}), **trial.params}, retries=number)
        self.study.tell(number, state=TrialState.FAIL)

    def _queue(self, parameters: dict[str, Any], **more: Any) -> None:
        # Kept beside the queue's own record, for a trial that is lost before it has taken them all.
        self.study.enqueue_trial(parameters, user_attrs={"parameters": parameters, **more})

    def _say(self, number: int, what: str) -> None:
        best = best_trial(self.study)
        ending = "" if best is None else f"; best {best.value:.2%}, trial {best.number}"
        count = f"{len(finished(self.study))}/{self.total}"
        print(f"{count}  trial {number}: {what}{ending}", file=sys.stderr, flush=True)
