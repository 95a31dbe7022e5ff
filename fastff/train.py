"""python -m fastff.train: train a network on a data set, and write it with its figures and pictures into a folder."""

import dataclasses
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from fastff import command, distributed
from fastff.data import Dataset, load_dataset
from fastff.distributed import lead
from fastff.errors import ArgumentError, DivergenceError
from fastff.runs.build import for_data, make_trainer, row_weights
from fastff.runs.command_line import option_names, train_help
from fastff.runs.config import Config, parse
from fastff.runs.drawing import Drawing, drawing_beside
from fastff.runs.folder import find_run
from fastff.runs.log import Log, make_log
from fastff.runs.progress import TrainingProgress, announce_compiling, doing
from fastff.runs.run import Run
from fastff.runs.seeds import train_seeds
from fastff.runs.summary import closing_lines, draw, summarise
from fastff.system.options import asks_for_help, naming
from fastff.system.shell import command_line, program
from fastff.system.signals import HeldSignals, SaveDue, Stopped, StoppedAtOnce
from fastff.system.streams import Lossy, say
from fastff.training.history import EpochRecord
from fastff.training.trainer import Trainer


def main(arguments: list[str]) -> None:
    if asks_for_help(arguments):
        print(train_help(arguments), end="")
        return
    with naming(lambda: option_names(Config, arguments)):
        if distributed.asked(arguments):
            lead.run(_train, arguments)
        else:
            _train(arguments, make_trainer)


def _train(arguments: list[str], make: Callable[[Config, Dataset], Trainer]) -> None:
    """The whole command; make: builds the trainer that the options describe, which is another one under MPI."""
    options = parse(arguments, find_run).with_split()
    for name in ("shard_optimizer", "distributed_timeout"):
        if getattr(options, name) and options.distributed is None:
            raise ArgumentError(f"{name}: there is only one process, want --distributed mpi with it")
    data = load_dataset(options.dataset, **options.loading).with_validation()
    if data.task == "regress":
        options = parse(arguments, find_run, data.task).with_split()
        if options.monitor == Config.monitor:
            raise ArgumentError(f"monitor: {options.monitor} for numbers to predict, want val_r2 or val_loss")
    options = for_data(options, data)
    if options.seeds is not None:
        print(train_seeds(options, data, _train_run))
        return
    # a process beside MPI's is a risk that not every MPI bears
    with drawing_beside() if options.distributed is None else nullcontext(Drawing()) as drawing:
        _train_one(options, data, make, drawing)


def _train_one(options: Config, data: Dataset, make: Callable[[Config, Dataset], Trainer], drawing: Drawing) -> None:
    with doing("whitening ..." if options.whiten else ""):
        trainer = make(options, data)
    if data.columns is not None and options.task == "auto":
        print(f"task {data.columns.reason}")
    run = Run(options, trainer, data)
    log = make_log(run, data.name)
    with run.start(resume=options.resume):
        if run.complete:
            print(f"{run.folder}: {run.how_it_ended}, nothing was trained")
            return
        if not Lossy(sys.stderr).isatty():  # where the bar says it
            announce_compiling(run.trainer.precision)
        summary = _train_run(run, data, log, drawing)
    print(closing_lines(run, summary))


def _train_run(run: Run, data: Dataset, log: Log, drawing: Drawing) -> dict[str, Any]:
    """Train the epochs that are left, write the summary and the pictures, and return the summary."""
    with log:
        _fit(run, data, log)
        run.trainer.restore_best()
        summary, answers = summarise(run, data)
        with doing("drawing ..." if run.trainer.context.beside is None else ""):
            draw(run, data, summary, answers, drawing)
            drawing.finish()
        run.write_summary(summary)
        log.summary(summary)
    return summary


def _fit(run: Run, data: Dataset, log: Log) -> None:
    """Train the epochs that are left, saving on the way.

    Ctrl-C, SIGTERM or SIGHUP saves and raises Stopped, whose message says how to go on; a second one stops at
    once, without saving.
    """
    if run.finished:
        return
    trainer, context, weights = run.trainer, run.trainer.context, row_weights(run.options, data)
    with (
        TrainingProgress(run.options.epochs, trainer.progress.epoch, alone=context.beside is None) as progress,
        HeldSignals(run.save_due) as signals,
    ):
        trainer.context = dataclasses.replace(context, signals=signals, compiling=progress.compiling)

        def on_epoch(record: EpochRecord) -> None:
            log.epoch(record)
            progress.show(record)
            run.save_now_and_then()
            signals.check()

        try:
            while not run.finished:
                left = run.options.epochs - trainer.progress.epoch
                try:
                    signals.check()
                    splits = data.x_train, data.y_train, data.x_val, data.y_val
                    trainer.fit(*splits, epochs=left, on_epoch=on_epoch, sample_weight=weights)
                except SaveDue:
                    run.save()
                except DivergenceError as error:
                    say(run.back_off(error))
        except StoppedAtOnce:
            raise
        except KeyboardInterrupt as stop:
            if run.save_rest():
                log_too = ["--log", run.options.log] if run.options.log else []
                again = command_line(["--resume", "--out", str(run.folder), *log_too])
                text = f"saved in {run.folder}; {program('train')} {again} goes on"
            else:
                text = f"nothing was trained yet, {run.folder} is as it was"
            raise Stopped(getattr(stop, "number", signal.SIGINT), text) from None
        finally:
            trainer.context = context


if __name__ == "__main__":
    command.run(main)
