"""Training trials: in this process, or several at once in processes that each load the data for themselves.

Only the parent talks to the storage. A worker knows a pipe: a Config comes in, and out go (epoch, accuracy) after each
epoch and an Outcome at the end. Either side sees at once when the other is gone: a killed worker's trial is put back
into the queue, and workers end when the parent does. They train on while the parent decides whether to stop them, so
that a slow storage costs them nothing. Imports no optuna, which takes long.
"""

import contextlib
import dataclasses
import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any, Protocol

from fastff.data import Dataset, load_dataset
from fastff.errors import DivergenceError, FastffError
from fastff.runs.build import make_trainer
from fastff.runs.config import Config
from fastff.training.history import EpochRecord

STOP = "stop"


@dataclass(frozen=True)
class Outcome:
    """How a training ended: its best validation accuracy (0..1) and that one's epoch, whether it was told to stop.

    diverged: what made it end without any, or None.
    """

    accuracy: float = 0.0
    epoch: int = 0
    stopped: bool = False
    diverged: str | None = None


@dataclass(frozen=True)
class Task:
    """A trial of Optuna's, and what is to be trained for it."""

    trial: Any
    config: Config


class Tasks(Protocol):
    """Who hands out what is to be trained and wants to know how it went: fastff.tune.search.Search."""

    def next(self) -> Task | None:
        """The next to train, None when enough are finished or under way."""

    def report(self, task: Task, epoch: int, accuracy: float) -> bool:
        """Take note of an epoch; True when no more of them are worth while."""

    def finish(self, task: Task, outcome: Outcome) -> None:
        """Take note of the end."""

    def lost(self, task: Task, reason: str) -> None:
        """Take note that whoever trained it has gone."""


def train_trial(config: Config, data: Dataset, on_epoch: Callable[[int, float], bool]) -> Outcome:
    """Train in one thread until on_epoch(epoch, validation accuracy) says True. Raises what make_trainer raises."""
    trainer = make_trainer(dataclasses.replace(config, threads=1, monitor="val_accuracy"), data)
    stopped = False

    def look(record: EpochRecord) -> bool:
        nonlocal stopped
        assert record.val_accuracy is not None
        stopped = on_epoch(record.epoch, record.val_accuracy) and record.epoch < config.epochs
        return stopped

    try:
        trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=config.epochs, on_epoch=look)
    except DivergenceError as error:
        return Outcome(diverged=str(error))
    assert trainer.best is not None
    return Outcome(trainer.best.value, trainer.best.epoch, stopped)


def run_here(tasks: Tasks, data: Dataset) -> None:
    """Train one after the other in this process."""
    while (task := tasks.next()) is not None:
        tasks.finish(task, train_trial(task.config, data, partial(tasks.report, task)))


def run_in_workers(tasks: Tasks, jobs: int, source: Config) -> None:
    """Train up to `jobs` at once, each in a process of its own, on the data that `source` names.

    Raises what a worker raises (FastffError, MemoryError). However this ends, no process is left.
    """
    busy: dict[Any, Task] = {}
    processes: dict[Any, Any] = {}
    try:
        while True:
            while len(busy) < jobs and (task := tasks.next()) is not None:
                idle = processes.keys() - busy.keys()
                connection = idle.pop() if idle else _start(processes, source)
                with contextlib.suppress(OSError):  # it may have been killed while idle, which is seen below
                    connection.send(task.config)
                busy[connection] = task
            if not busy:
                return
            for connection in wait(list(busy)):
                _hear(connection, busy, processes, tasks)
    finally:
        for connection, process in processes.items():
            connection.close()  # the sign for an idle worker to leave
            if connection in busy:
                process.terminate()
        for process in processes.values():
            process.join()


def _start(processes: dict[Any, Any], source: Config) -> Any:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, source), daemon=True)
    # Ctrl-C reaches every process of the terminal: the parent's part is to end the workers, theirs to say nothing.
    # Ignoring a signal is inherited, so that they do also before their first line.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, handler)
    theirs.close()  # else nobody would see the end of the pipe when the worker is gone
    processes[ours] = process
    return ours


def _hear(connection: Any, busy: dict[Any, Task], processes: dict[Any, Any], tasks: Tasks) -> None:
    task = busy[connection]
    try:
        message = connection.recv()
    except (EOFError, OSError):
        process = processes.pop(connection)
        connection.close()
        process.join()
        del busy[connection]
        tasks.lost(task, f"its process ended with status {process.exitcode}")
        return
    if isinstance(message, BaseException):
        raise message
    if isinstance(message, Outcome):
        del busy[connection]
        tasks.finish(task, message)
    elif tasks.report(task, *message):
        with contextlib.suppress(OSError):
            connection.send(STOP)


def _work(connection: Any, source: Config) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is not inherited

    def on_epoch(epoch: int, accuracy: float) -> bool:
        connection.send((epoch, accuracy))
        return connection.poll() and connection.recv() == STOP

    with contextlib.suppress(EOFError, ConnectionError):  # the parent has gone
        try:
            data = load_dataset(source.dataset, data_dir=source.data_dir, target=source.target).with_validation()
            while True:
                message = connection.recv()
                if message != STOP:  # that was for the last trial, which had ended by itself
                    connection.send(train_trial(message, data, on_epoch))
        except (FastffError, MemoryError) as error:
            connection.send(error)
