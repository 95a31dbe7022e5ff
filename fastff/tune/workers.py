"""Trains trials, either in this process or several at once in worker processes, each of which loads the data itself.

Only the parent uses the storage. A worker receives a Config through a pipe, sends (epoch, score) after each epoch
and an Outcome at the end. Both sides notice when the other dies: the trial of a killed worker is queued again, and
workers end with their parent. They go on training while the parent decides whether to stop them, so that they need not
wait for a slow storage. This module does not import optuna, because workers do not need it and it takes long.
"""

import contextlib
import dataclasses
import multiprocessing
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any

from fastff.data import Dataset, load_dataset
from fastff.errors import ArgumentError, DivergenceError, FastffError, NoRoom
from fastff.runs.build import make_trainer, row_weights
from fastff.runs.config import Config
from fastff.system.signals import STOPPING
from fastff.training.history import EpochRecord

STOP = "stop"
_OF_TERMINALS = [number for number in STOPPING if number != signal.SIGTERM]


@dataclass(frozen=True)
class Outcome:
    """How a training ended: the best value of what it monitors, in which epoch, and whether it stopped early.

    error: what ended it, for which its own options may be the reason, or None.
    """

    score: float = 0.0
    epoch: int = 0
    stopped: bool = False
    error: FastffError | None = None


@dataclass(frozen=True)
class Task:
    """An Optuna trial and the options to train for it."""

    trial: Any
    config: Config


def train_trial(config: Config, data: Dataset, on_epoch: Callable[[int, float], bool]) -> Outcome:
    """Train in one thread until on_epoch(epoch, the figure that the config monitors) is True.

    Errors that any options would meet, such as those of the data, are raised.
    """
    stopped = False

    def look(record: EpochRecord) -> bool:
        nonlocal stopped
        stopped = on_epoch(record.epoch, getattr(record, config.monitor)) and record.epoch < config.epochs
        return stopped

    try:
        trainer = make_trainer(dataclasses.replace(config, threads=1), data)
        splits, weights = (data.x_train, data.y_train, data.x_val, data.y_val), row_weights(config, data)
        trainer.fit(*splits, epochs=config.epochs, on_epoch=look, sample_weight=weights)
    except (ArgumentError, DivergenceError, NoRoom) as error:
        return Outcome(error=error)
    assert trainer.best is not None
    return Outcome(trainer.best.value, trainer.best.epoch, stopped)


def run_here(search: Any, data: Dataset) -> None:
    """Train all trials of a fastff.tune.search.Search one after the other in this process."""
    while (task := search.next()) is not None:
        search.finish(task, train_trial(task.config, data, partial(search.report, task)))


def run_in_workers(search: Any, jobs: int, source: Config) -> None:
    """Train all trials of a Search, up to `jobs` at once, each in a process of its own, on the data of `source`.

    Raises what a worker raises (FastffError, MemoryError). No worker process is left afterwards, also after an error.
    """
    busy: dict[Any, Task] = {}
    processes: dict[Any, Any] = {}
    try:
        while True:
            while len(busy) < jobs and (task := search.next()) is not None:
                idle = processes.keys() - busy.keys()
                connection = idle.pop() if idle else _start(processes, source)
                with contextlib.suppress(OSError):  # it was killed while idle, which _hear notices
                    connection.send(task.config)
                busy[connection] = task
            if not busy:
                return
            for connection in wait(list(busy)):
                _hear(connection, busy, processes, search)
    finally:
        for connection, process in processes.items():
            connection.close()  # an idle worker ends when its pipe is closed
            if connection in busy:
                process.terminate()
        for process in processes.values():
            process.join()


def _start(processes: dict[Any, Any], source: Config) -> Any:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, source), daemon=True)
    # Ctrl-C and the end of a terminal reach every process of it. Workers ignore them, and the parent ends the workers.
    # They inherit this from the parent, so that it holds from their start.
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _OF_TERMINALS}
    try:
        process.start()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    theirs.close()  # so that the pipe ends when the worker, which has the other copy, dies
    processes[ours] = process
    return ours


def _hear(connection: Any, busy: dict[Any, Task], processes: dict[Any, Any], search: Any) -> None:
    task = busy[connection]
    try:
        message = connection.recv()
    except (EOFError, OSError):
        process = processes.pop(connection)
        connection.close()
        process.join()
        del busy[connection]
        search.lost(task, f"its process ended with status {process.exitcode}")
        return
    if isinstance(message, BaseException):
        raise message
    if isinstance(message, Outcome):
        del busy[connection]
        search.finish(task, message)
    elif search.report(task, *message):
        with contextlib.suppress(OSError):
            connection.send(STOP)


def _work(connection: Any, source: Config) -> None:
    for number in _OF_TERMINALS:
        signal.signal(number, signal.SIG_IGN)  # for systems where it is not inherited

    def on_epoch(epoch: int, score: float) -> bool:
        connection.send((epoch, score))
        return connection.poll() and connection.recv() == STOP

    with contextlib.suppress(EOFError, ConnectionError):  # the parent has gone
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the parent has said them
                data = load_dataset(source.dataset, **source.loading).with_validation()
            while True:
                message = connection.recv()
                if message != STOP:  # STOP came too late for the last trial, which had ended
                    connection.send(train_trial(message, data, on_epoch))
        except (FastffError, MemoryError) as error:
            connection.send(error)
