"""The search: hands out Optuna's trials, stops bad ones and queues lost ones again, together with other processes.

The processes share only the storage. Of what they do there, two things are atomic: a new trial gets a number of its
own, and only one process takes a trial from the queue or ends it. Everything else is decided from these. The first N
trials that are not retries of lost ones are the search; a process that has created one more drops it untrained, as
superfluous. The process that ends a lost trial queues it again; if two retries come up, the first one counts.
"""

import dataclasses
import os
import socket
import time
import warnings
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

import fastff
from fastff.data import Dataset
from fastff.data.splits import digests_of
from fastff.errors import DataError, DivergenceError
from fastff.runs.config import Config
from fastff.system.streams import say
from fastff.tune import presence
from fastff.tune.presence import Heart, Watch
from fastff.tune.space import near, start_parameters, suggest
from fastff.tune.workers import Outcome, Task

# Options that do not change the result of a trial
_ELSEWHERE = ("data_dir", "config", "out", "resume", "threads")
NEAR = 6  # trials that stay near the start, before the search looks everywhere
_POLL = 1.0  # seconds between looks at the storage while other processes train the last trials

# The user attributes of trials, which Optuna keeps in the storage:
#   start        the options from which the search starts, and the rows; only trial 0 has it, which trains with them
#   parameters   all parameters with which the trial was queued, for a retry
#   retries      the number of the lost trial that this one retries
#   died         the worker process of the trial that this one retries died, so it gets no second retry
#   command      host:process that trains it;   beat: the heartbeat, a growing number
#   given_up     it was lost and is not retried;   superfluous: another process had created the last trial
#   best_epoch, note   for trials.csv


def finished(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that have ended, except those that were lost and queued again."""
    ended = [trial for trial in trials if trial.state.is_finished()]
    return [trial for trial in ended if trial.state != TrialState.FAIL or "given_up" in trial.user_attrs]


def _is_given_up(trial: FrozenTrial) -> bool:
    return bool({"given_up", "superfluous"} & trial.user_attrs.keys())


def _has_place(trial: FrozenTrial) -> bool:
    second_start = "start" in trial.user_attrs and trial.number > 0
    return not second_start and not {"retries", "superfluous"} & trial.user_attrs.keys()


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The trial of the highest score, the first of equals, among those not stopped early; None without any."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def scored_by(start: Config) -> str:
    """What trials are compared by, for a person: "accuracy", say, or "r2" where numbers are predicted."""
    return start.monitor.removeprefix("val_").replace("_", " ")


def shown(value: float | None, start: Config) -> str:
    """The score of a trial, for a person."""
    return f"{value:.2%}" if start.monitor.endswith("accuracy") else f"{value:.4f}"


def rows_of(data: Dataset) -> str:
    """What tells the rows of a search from others: how many there are to train and to validate, and a hash of them."""
    hashes = digests_of((data.x_train, data.y_train), (data.x_val, data.y_val), (data.y_train, data.weights))
    held_out = 0 if data.x_val is None else len(data.x_val)
    return f"{len(data.x_train)} to train and {held_out} to validate, hash {hashes}"


class Search:
    """Hands out trials until `total` are finished, by this and other processes, and prints a line about each.

    start: the options of the first trial; the others change the options that are searched. rows: what `rows_of` the
    data returns. Raises DataError if the study was begun with other options or rows. While it is entered as a context,
    it writes heartbeats for its trials; on leaving, it queues unfinished ones again.
    """

    def __init__(
        self,
        study: optuna.Study,
        start: Config,
        image_shape: tuple[int, int, int] | None,
        *,
        rows: str,
        total: int,
        seed: int,
    ) -> None:
        self.study, self.start, self.image_shape, self.total, self.seed = study, start, image_shape, total, seed
        self._begin(rows)
        study.pruner = optuna.pruners.MedianPruner(n_warmup_steps=start.epochs // 4)
        self._mine: set[int] = set()
        self._heart, self._watch = Heart(presence.GRACE), Watch(presence.GRACE)

    def __enter__(self) -> "Search":
        self._heart.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._heart.stop()
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if trial.number in self._mine:
                self._lose(trial)

    def _begin(self, rows: str) -> None:
        options = {n: v for n, v in dataclasses.asdict(self.start).items() if n not in _ELSEWHERE}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
        ours = {"version": fastff.__version__, **plain, "rows": rows}
        if not self.study.get_trials(deepcopy=False):
            self._queue(start_parameters(self.start, self.image_shape), start=ours)
        theirs = self.study.get_trials(deepcopy=False)[0].user_attrs.get("start", {})
        for name, value in ours.items():
            if theirs.get(name) != value:
                raise DataError(
                    f"{name}: {value!r}, but the search in this storage has {theirs.get(name)!r}; "
                    "want the same, or another --out or --storage"
                )

    def next(self) -> Task | None:
        """The next trial to train; None if enough are finished or being trained."""
        while self._is_open(self._tended()):
            trial = self.study.ask()
            if self._is_superfluous(trial.number):
                self._end(trial, state=TrialState.FAIL, superfluous=True, note="superfluous")
                continue
            self._mine.add(trial.number)
            trial.set_user_attr("command", f"{socket.gethostname()}:{os.getpid()}")
            self._heart.add(trial)
            # Seeded by the trial's number, so that no two trials draw the same, whichever processes train them.
            seed = np.random.SeedSequence([self.seed, trial.number])
            self.study.sampler = optuna.samplers.TPESampler(seed=int(seed.generate_state(1)[0]))
            if 0 < trial.number <= NEAR:
                known = near(self.start, self.image_shape, seed)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    self.study.sampler = optuna.samplers.PartialFixedSampler(known, self.study.sampler)
            return Task(trial, suggest(trial, self.start, self.image_shape))
        return None

    def wait(self) -> bool:
        """Wait for other processes' trials until one can be handed out here (True) or all are finished (False)."""
        said = False
        while len(finished(trials := self._tended())) < self.total:
            if self._is_open(trials):
                return True
            theirs = [str(trial.number) for trial in trials if trial.state == TrialState.RUNNING]
            if theirs and not said:
                self._print(f"waiting for trial{'s' * (len(theirs) > 1)} {', '.join(theirs)} of other processes")
                said = True
            time.sleep(_POLL)
        return False

    def report(self, task: Task, epoch: int, score: float) -> bool:
        """Take note of an epoch; True if the trial is to be stopped."""
        try:
            task.trial.report(score, epoch)
        except optuna.exceptions.UpdateFinishedTrialError:
            return True  # another process has taken it for lost
        # The first trial is never stopped early, because the others are judged by it.
        return task.config != self.start and bool(task.trial.should_prune())

    def finish(self, task: Task, outcome: Outcome) -> None:
        """Take note of the end of a trial. Raises an error of the start's options, as they are those of all trials."""
        if outcome.error is not None:
            diverged = isinstance(outcome.error, DivergenceError)
            if task.config == self.start and not diverged:
                raise outcome.error
            ended = self._end(task.trial, state=TrialState.PRUNED, note=str(outcome.error))
            what = "diverged" if diverged else f"failed: {outcome.error}"
        elif outcome.stopped:
            ended = self._end(task.trial, state=TrialState.PRUNED, best_epoch=outcome.epoch)
            what = f"{shown(outcome.score, self.start)}, not promising, stopped"
        else:
            ended = self._end(task.trial, outcome.score, best_epoch=outcome.epoch)
            what = f"{shown(outcome.score, self.start)} at epoch {outcome.epoch}"
        self._say(task.trial.number, what if ended else "taken over by another process, which missed its heartbeat")

    def lost(self, task: Task, reason: str) -> None:
        """Take note that the process that trained it has died."""
        # Retried only once: a trial that needs more memory than there is would kill every worker that tries it.
        again = "died" not in task.trial.user_attrs
        if self._end(task.trial, state=TrialState.FAIL, note=reason, **({} if again else {"given_up": True})) and again:
            self._queue_again(task.trial.number, died=True)
        self._say(task.trial.number, f"{reason}, {'queued again' if again else 'given up'}")

    def _tended(self) -> list[FrozenTrial]:
        """All trials, after queueing those again that other processes have lost."""
        trials = self.study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get("retries") for trial in trials}
        for trial in trials:
            running = trial.state == TrialState.RUNNING and trial.number not in self._mine
            unqueued = trial.state == TrialState.FAIL and not _is_given_up(trial) and trial.number not in retried
            sign = (trial.state, trial.user_attrs.get("beat"))
            if (running or unqueued) and self._watch.silent(trial.number, sign):
                if running:
                    self._lose(trial)
                else:  # the process that ended it died before it queued it again
                    self._queue_again(trial.number)
        return self.study.get_trials(deepcopy=False)

    def _is_open(self, trials: list[FrozenTrial]) -> bool:
        """Whether there is a trial to hand out, from the queue or a new one."""
        taken = len(finished(trials)) + sum(trial.state == TrialState.RUNNING for trial in trials)
        queued = any(trial.state == TrialState.WAITING for trial in trials)
        return taken < self.total and (queued or sum(map(_has_place, trials)) < self.total)

    def _is_superfluous(self, number: int) -> bool:
        trials = self.study.get_trials(deepcopy=False)
        attributes, before = trials[number].user_attrs, trials[:number]
        if "retries" in attributes:
            return attributes["retries"] in [trial.user_attrs.get("retries") for trial in before]
        return not _has_place(trials[number]) or sum(map(_has_place, before)) >= self.total

    def _end(self, trial: optuna.Trial | int, value: float | None = None, *, state: Any = None, **said: Any) -> bool:
        """End a trial and keep the attributes `said` with it; False if another process has ended it already."""
        number = trial if isinstance(trial, int) else trial.number
        ended = True
        try:
            for name, text in said.items():
                assert isinstance(trial, optuna.Trial)
                trial.set_user_attr(name, text)
            self.study.tell(trial, value, state)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):  # Optuna raises either, depending on timing
            ended = False
        self._mine.discard(number)
        self._heart.remove(number)
        return ended

    def _lose(self, trial: FrozenTrial) -> None:
        if self._end(trial.number, state=TrialState.FAIL) and not _is_given_up(trial):
            self._queue_again(trial.number)

    def _queue_again(self, number: int, **more: Any) -> None:
        trial = self.study.get_trials(deepcopy=False)[number]
        died = {"died": True} if "died" in trial.user_attrs else {}
        parameters = {**trial.user_attrs.get("parameters", {}), **trial.params}
        self._queue(parameters, retries=number, **died, **more)

    def _queue(self, parameters: dict[str, Any], **more: Any) -> None:
        # A trial takes its parameters from the queue one by one; the copy is for one that is lost in between.
        self.study.enqueue_trial(parameters, user_attrs={"parameters": parameters, **more})

    def _say(self, number: int, what: str) -> None:
        best = best_trial(self.study)
        ending = "" if best is None else f"; best {shown(best.value, self.start)}, trial {best.number}"
        self._print(f"trial {number}: {what}{ending}")

    def _print(self, what: str) -> None:
        say(f"{len(finished(self.study.get_trials(deepcopy=False)))}/{self.total}  {what}")
