"""The search as Optuna sees it: which trial comes next, goes on, or is stopped, with other processes doing the same.

They share nothing but the storage, in which two things alone are decided by one of them for good: the numbers of
trials, and that a trial has left the queue, or has ended. So what must hold for all follows from these. A search of N
trials is N places, the first N trials that are not a second try; a trial that finds N places before its own is
superfluous, and nothing is trained for it. Who ends a lost trial queues it again; the first such second try is the one.
"""

import dataclasses
import os
import socket
import sys
import time
from types import TracebackType
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

import fastff
from fastff.errors import DataError
from fastff.runs.config import Config
from fastff.tune import presence
from fastff.tune.presence import Heart, Watch
from fastff.tune.space import start_parameters, suggest
from fastff.tune.workers import Outcome, Task

# Options that change no trial's result
_ELSEWHERE = ("data_dir", "config", "out", "resume", "threads")
_POLL = 1.0  # seconds between two looks for what other processes may leave to be done

# What is kept with a trial, in Optuna's user attributes:
#   start       the options that the search starts from; trial 0, which tries them
#   parameters  all that it was queued with, also what it has not come to take
#   retries     the number of the lost trial that it is a second try of; died where its worker process had ended
#   command     who trains it, host:process; and beat, a number that grows while it does
#   given_up    lost, and not to be tried again; or superfluous: another process was quicker
#   best_epoch, note  for the table of results


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count: those at their end, but not those that were lost and queued again."""
    return _finished(study.get_trials(deepcopy=False))


def _finished(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    def ended(trial: FrozenTrial) -> bool:
        return trial.state.is_finished() and (trial.state != TrialState.FAIL or "given_up" in trial.user_attrs)

    return [trial for trial in trials if ended(trial)]


def _is_given_up(trial: FrozenTrial) -> bool:
    return bool({"given_up", "superfluous"} & trial.user_attrs.keys())


def _has_place(trial: FrozenTrial) -> bool:
    second_start = "start" in trial.user_attrs and trial.number > 0
    return not second_start and not {"retries", "superfluous"} & trial.user_attrs.keys()


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial of the highest accuracy, the first of equals; None where no trial is complete."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


class Search:
    """Hands out trials until `total` are finished, those of other calls counted, and says a line about each.

    start: the first trial, and all that is not searched for. Raises DataError where the study began from another.
    As a context it shows other processes that its trials are under way, and leaves to them what it has not finished.
    """

    def __init__(
        self, study: optuna.Study, start: Config, image_shape: tuple[int, int, int] | None, *, total: int, seed: int
    ) -> None:
        self.study, self.start, self.image_shape, self.total, self.seed = study, start, image_shape, total, seed
        self._begin()
        study.pruner = optuna.pruners.MedianPruner(n_warmup_steps=start.epochs // 4)
        self._mine: set[int] = set()
        self._heart, self._watch = Heart(presence.GRACE), Watch(presence.GRACE)

    def __enter__(self) -> "Search":
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heart.stop()
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if trial.number in self._mine:
                self._lose(trial)

    def _begin(self) -> None:
        options = {n: v for n, v in dataclasses.asdict(self.start).items() if n not in _ELSEWHERE}
        ours = {"version": fastff.__version__, **options, "hidden": list(self.start.hidden)}
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
        while self._is_open(self._tended()):
            trial = self.study.ask()
            if self._is_superfluous(trial.number):
                self._end(trial, state=TrialState.FAIL, superfluous=True, note="superfluous")
                continue
            self._mine.add(trial.number)
            trial.set_user_attr("command", f"{socket.gethostname()}:{os.getpid()}")
            self._heart.add(trial)
            # By number, so that no two draw the same, in whichever process or call they are.
            seed = np.random.SeedSequence([self.seed, trial.number]).generate_state(1)
            self.study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]))
            return Task(trial, suggest(trial, self.start, self.image_shape))
        return None

    def wait(self) -> bool:
        """Wait for the trials of other processes: False when all are finished, True when there is one to hand out."""
        said = False
        while len(_finished(trials := self._tended())) < self.total:
            if self._is_open(trials):
                return True
            theirs = [str(trial.number) for trial in trials if trial.state == TrialState.RUNNING]
            if theirs and not said:
                self._print(f"waiting for trial{'s' * (len(theirs) > 1)} {', '.join(theirs)} of other processes")
                said = True
            time.sleep(_POLL)
        return False

    def report(self, task: Task, epoch: int, accuracy: float) -> bool:
        try:
            task.trial.report(accuracy, epoch)
        except optuna.exceptions.UpdateFinishedTrialError:
            return True  # another process took it for lost
        # The start is the mark that the others must reach: it is never stopped.
        return task.config != self.start and bool(task.trial.should_prune())

    def finish(self, task: Task, outcome: Outcome) -> None:
        if outcome.diverged is not None:
            ended = self._end(task.trial, state=TrialState.PRUNED, note=outcome.diverged)
            what = "diverged"
        elif outcome.stopped:
            ended = self._end(task.trial, state=TrialState.PRUNED, best_epoch=outcome.epoch)
            what = f"{outcome.accuracy:.2%}, not promising, stopped"
        else:
            ended = self._end(task.trial, outcome.accuracy, best_epoch=outcome.epoch)
            what = f"{outcome.accuracy:.2%} at epoch {outcome.epoch}"
        self._say(task.trial.number, what if ended else "taken over by another process, to which this one seemed lost")

    def lost(self, task: Task, reason: str) -> None:
        # Once: what needs more memory than there is would kill its worker for ever.
        again = "died" not in task.trial.user_attrs
        if self._end(task.trial, state=TrialState.FAIL, note=reason, **({} if again else {"given_up": True})) and again:
            self._queue_again(task.trial.number, died=True)
        self._say(task.trial.number, f"{reason}, {'queued again' if again else 'given up'}")

    def _tended(self) -> list[FrozenTrial]:
        """All trials, after those that other processes have left behind were queued again."""
        trials = self.study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get("retries") for trial in trials}
        for trial in trials:
            running = trial.state == TrialState.RUNNING and trial.number not in self._mine
            unqueued = trial.state == TrialState.FAIL and not _is_given_up(trial) and trial.number not in retried
            sign = (trial.state, trial.user_attrs.get("beat"))
            if (running or unqueued) and self._watch.silent(trial.number, sign):
                if running:
                    self._lose(trial)
                else:  # whoever ended it was gone before it could queue it again
                    self._queue_again(trial.number)
        return self.study.get_trials(deepcopy=False)

    def _is_open(self, trials: list[FrozenTrial]) -> bool:
        """Whether there is something to hand out: what is queued, or else a new trial."""
        taken = len(_finished(trials)) + sum(trial.state == TrialState.RUNNING for trial in trials)
        queued = any(trial.state == TrialState.WAITING for trial in trials)
        return taken < self.total and (queued or sum(map(_has_place, trials)) < self.total)

    def _is_superfluous(self, number: int) -> bool:
        trials = self.study.get_trials(deepcopy=False)
        attributes, before = trials[number].user_attrs, trials[:number]
        if "retries" in attributes:
            return attributes["retries"] in [trial.user_attrs.get("retries") for trial in before]
        return not _has_place(trials[number]) or sum(map(_has_place, before)) >= self.total

    def _end(self, trial: optuna.Trial | int, value: float | None = None, *, state: Any = None, **said: Any) -> bool:
        """End a trial with what is to be kept of it. False where another process has ended it before."""
        number = trial if isinstance(trial, int) else trial.number
        ended = True
        try:
            for name, text in said.items():
                assert isinstance(trial, optuna.Trial)
                trial.set_user_attr(name, text)
            self.study.tell(trial, value, state)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):  # Optuna has either, as the moment has it
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
        # Kept beside the queue's own record, for a trial that is lost before it has taken them all.
        self.study.enqueue_trial(parameters, user_attrs={"parameters": parameters, **more})

    def _say(self, number: int, what: str) -> None:
        best = best_trial(self.study)
        ending = "" if best is None else f"; best {best.value:.2%}, trial {best.number}"
        self._print(f"trial {number}: {what}{ending}")

    def _print(self, what: str) -> None:
        print(f"{len(finished(self.study))}/{self.total}  {what}", file=sys.stderr, flush=True)
