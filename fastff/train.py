"""python -m fastff.train: data in, a trained network, its figures and its pictures out."""

import dataclasses
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastff
from fastff import command, distributed, plots
from fastff.data import Dataset, load_dataset
from fastff.distributed import lead
from fastff.engine.batches import Batches
from fastff.errors import ArgumentError, DivergenceError
from fastff.nn.whiten import Whiten
from fastff.runs.build import make_trainer
from fastff.runs.config import Config, parse
from fastff.runs.folder import find_run
from fastff.runs.log import Log, make_log
from fastff.runs.progress import TrainingProgress, prepare_kernels
from fastff.runs.run import Run
from fastff.runs.seeds import train_seeds
from fastff.system.blocks import Sliceable
from fastff.system.signals import HeldSignals, SaveDue, Stopped, StoppedAtOnce
from fastff.training.history import EpochRecord
from fastff.training.trainer import Trainer


def main(arguments: list[str]) -> None:
    if distributed.asked(arguments):
        lead.run(_train, arguments)
    else:
        _train(arguments, make_trainer)


def _train(arguments: list[str], make: Callable[[Config, Dataset], Trainer]) -> None:
    options = parse(arguments, find_run)
    if options.shard_optimizer and options.distributed is None:
        raise ArgumentError("shard_optimizer: there is but one process, want --distributed mpi with it")
    data = load_dataset(options.dataset, data_dir=options.data_dir, target=options.target).with_validation()
    if options.seeds is not None:
        print(train_seeds(options, data, _train_run))
        return
    trainer = make(options, data)
    run = Run(options, trainer, data)
    log = make_log(run, data.name)
    with run.start(resume=options.resume):
        compile_seconds = prepare_kernels(run.trainer.precision)
        summary = _train_run(run, data, log, compile_seconds)
    print(_closing_lines(run, summary))


def _train_run(run: Run, data: Dataset, log: Log, compile_seconds: float) -> dict[str, Any]:
    """Train what is left, write the rest of the run's files and return its summary."""
    with log:
        _fit(run, data, log)
        run.trainer.restore_best()
        summary = _summarise(run, data, compile_seconds)
        _draw(run, data, summary)
        run.write_summary(summary)
        log.summary(summary)
    return summary


def _fit(run: Run, data: Dataset, log: Log) -> None:
    """Train what is left, saved; a signal saves too and ends it with Stopped, which says how to go on."""
    if run.finished:
        return
    trainer, context = run.trainer, run.trainer.context
    with (
        TrainingProgress(run.options.epochs, trainer.progress.epoch, alone=context.beside is None) as progress,
        HeldSignals(run.save_due) as signals,
    ):
        trainer.context = dataclasses.replace(context, signals=signals)

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
                    trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=left, on_epoch=on_epoch)
                except SaveDue:
                    run.save()
                except DivergenceError as error:
                    print(run.back_off(error), file=sys.stderr)
        except StoppedAtOnce:
            raise
        except KeyboardInterrupt as stop:
            if run.save_rest():
                again = f"--resume --out {run.folder}" + (f" --log {run.options.log}" if run.options.log else "")
                text = f"saved in {run.folder}; python -m fastff.train {again} goes on"
            else:
                text = f"nothing was trained yet, {run.folder} is as it was"
            raise Stopped(getattr(stop, "number", signal.SIGINT), text) from None
        finally:
            trainer.context = context


def _summarise(run: Run, data: Dataset, compile_seconds: float) -> dict[str, Any]:
    """The final figures, of the best weights."""
    trainer, epochs = run.trainer, run.trainer.history.epochs
    splits = {
        "train": (data.x_train, data.y_train),
        "val": (data.x_val, data.y_val),
        "test": (data.x_test, data.y_test),
    }
    figures = {
        name: trainer.evaluate(x, y) if x is not None and y is not None else (None, None)
        for name, (x, y) in splits.items()
    }
    seconds = sum(record.seconds for record in epochs)
    return {
        "dataset": data.name,
        "test_rows": None if data.x_test is None else len(data.x_test),
        "epochs": len(epochs),
        "best_epoch": None if trainer.best is None else trainer.best.epoch,
        "train_accuracy": figures["train"][1],
        "val_accuracy": figures["val"][1],
        "test_accuracy": figures["test"][1],
        "test_loss": figures["test"][0],
        "train_seconds": seconds,
        "compile_seconds": compile_seconds,
        "examples_per_second": len(data.x_train) * len(epochs) / seconds,
        "parameters": trainer.network.parameter_count,
        "precision": trainer.precision,
        "threads": trainer.threads_used,
        "seed": trainer.seed,
        "version": fastff.__version__,
    }


def _draw(run: Run, data: Dataset, summary: dict[str, Any]) -> None:
    folder, trainer, history = run.folder, run.trainer, run.trainer.history
    title = f"{data.name}: validation {summary['val_accuracy']:.1%}"
    if summary["test_accuracy"] is not None:
        title += f", test {summary['test_accuracy']:.1%}"
    plots.draw_curves(
        folder / "curves.png",
        history.batch_losses,
        history.batch_accuracies,
        history.epochs,
        title=title,
        batches_per_epoch=len(Batches(len(data.x_train), trainer.batch_size)),
    )
    rows, labels = (data.x_test, data.y_test) if data.x_test is not None else (data.x_val, data.y_val)
    assert rows is not None
    assert labels is not None
    probabilities = trainer.network.predict_proba(rows, context=trainer.context)
    guesses = probabilities.argmax(1)
    matrix = np.zeros((data.n_classes, data.n_classes), np.int64)
    np.add.at(matrix, (labels, guesses), 1)
    plots.draw_confusion(folder / "confusion.png", matrix, class_names=data.class_names)
    if data.image_shape is not None:
        weights: Sliceable = trainer.network.linear_layers[0].state()[0]
        for layer in trainer.network.layers:
            if isinstance(layer, Whiten):  # as what they see of a picture
                weights = layer.projection @ np.asarray(weights)
        plots.draw_weights(folder / "weights.png", weights, image_shape=data.image_shape)
        some = np.random.default_rng(0).permutation(len(rows))[:40]
        plots.draw_examples(
            folder / "examples.png",
            rows[some],
            labels[some],
            guesses[some],
            class_names=data.class_names,
            image_shape=data.image_shape,
            confidences=probabilities[some].max(1),
        )


def _closing_lines(run: Run, summary: dict[str, Any]) -> str:
    names = [("test", "test_accuracy"), ("validation", "val_accuracy"), ("training", "train_accuracy")]
    accuracies = ", ".join(f"{name} {summary[key]:.2%}" for name, key in names if summary[key] is not None)
    files = sorted(path.name for path in run.folder.iterdir() if not path.name.startswith("."))
    return (
        f"{summary['dataset']}: accuracy {accuracies}, of epoch {summary['best_epoch']}, "
        f"the best in {run.options.monitor}\n"
        f"{summary['epochs']} epochs of training in {summary['train_seconds']:.2f} s, "
        f"{summary['examples_per_second']:,.0f} rows/s, {summary['parameters']:,} parameters\n"
        f"written to {run.folder}: {', '.join(files)}"
    )


if __name__ == "__main__":
    command.run(main)
