"""What a finished run says about itself: the content of summary.json, the pictures, and a command's last lines."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fastff
from fastff.data import Dataset
from fastff.data.rows import Rows
from fastff.engine.batches import Batches
from fastff.nn.preprocessing import Whiten
from fastff.runs import regression
from fastff.runs.config import Config
from fastff.runs.drawing import Drawing
from fastff.runs.folder import CONFUSION, CURVES, EXAMPLES, IMPORTANCE, PREDICTED, RESIDUALS, WEIGHTS
from fastff.runs.importance import can_measure, column_importances
from fastff.runs.regression import all_figures, output_names
from fastff.runs.run import Run
from fastff.system import clock, elementary
from fastff.system.blocks import Sliceable
from fastff.system.shell import command_line, program
from fastff.training.figures import class_figures, majority_share

FIGURES: tuple[str, ...] = (  # of classes; regression.SUMMARY has those of numbers
    "train_accuracy", "val_accuracy", "test_accuracy", "test_loss", "majority_share", "val_balanced_accuracy",
    "val_auc", "test_balanced_accuracy", "test_auc",
)  # fmt: skip
MOST_BARS = 20  # columns in the picture of importances
_SPLITS = {"test": "test", "val": "validation", "train": "training"}  # and what a person calls them


def evaluate_splits(
    evaluate: Callable[[Rows, np.ndarray], tuple[float, float]], data: Dataset, splits: Sequence[str]
) -> dict[str, float]:
    """What evaluate(rows, labels) gives of the splits that there are, under names such as val_loss and val_accuracy."""
    figures = {}
    for split in splits:
        rows, labels = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
        if rows is not None:
            figures[f"{split}_loss"], figures[f"{split}_accuracy"] = evaluate(rows, labels)
    return figures


def summarise(run: Run, data: Dataset) -> tuple[dict[str, Any], np.ndarray]:
    """The content of summary.json, for the weights that the trainer holds now: those of the best epoch.

    And what the network says of the rows that `draw` shows: probabilities (N, classes), or numbers as predict gives
    them. All rows go through the network once.
    """
    trainer, epochs = run.trainer, run.trainer.history.epochs
    classes = data.task == "classify"
    names, find = (FIGURES, _class_figures) if classes else (regression.SUMMARY, _regression_figures)
    figures, answers = find(run, data)
    seconds = sum(record.seconds for record in epochs)
    summary = {
        "dataset": data.name,
        "task": data.task,
        "test_rows": None if data.x_test is None else len(data.x_test),
        "epochs": len(epochs),
        "best_epoch": None if trainer.best is None else trainer.best.epoch,
        **{name: figures.get(name) for name in names},
        "train_seconds": seconds,
        "prepare_seconds": trainer.prepare_seconds,
        "compile_seconds": trainer.compile_seconds,
        "examples_per_second": clock.per_second(len(data.x_train) * len(epochs), seconds),
        "parameters": trainer.network.parameter_count,
        "precision": trainer.precision,
        "threads": trainer.threads_used,
        "seed": trainer.seed,
        "version": fastff.__version__,
    }
    return summary, answers


def _drawn(data: Dataset) -> str:
    """The split whose rows are drawn."""
    return "val" if data.x_test is None else "test"


def _class_figures(run: Run, data: Dataset) -> tuple[dict[str, Any], np.ndarray]:
    """The figures of all splits, and the probabilities of the rows that are drawn."""
    trainer, figures, answers = run.trainer, dict[str, Any](), np.zeros((0, 0), np.float32)
    figures["train_loss"], figures["train_accuracy"] = trainer.evaluate(data.x_train, data.y_train)
    for split in ("val", "test"):
        rows, labels = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
        if rows is None:
            continue
        figures[f"{split}_loss"], figures[f"{split}_accuracy"], logits = trainer.evaluate_rows(rows, labels)
        probabilities = elementary.softmax(logits)
        figures |= {f"{split}_{name}": figure for name, figure in class_figures(labels, probabilities).items()}
        figures["majority_share"] = majority_share(labels)
        if split == _drawn(data):
            answers = probabilities
    return figures, answers


def _regression_figures(run: Run, data: Dataset) -> tuple[dict[str, Any], np.ndarray]:
    """The figures of all splits, and the predictions for the rows that are drawn."""
    network, figures, answers = run.trainer.network, dict[str, Any](), np.zeros(0)
    for split in _SPLITS:
        rows, targets = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
        if rows is None:
            continue
        predictions = network.predict(rows, context=run.trainer.context)
        found = all_figures(network, run.options.loss, targets, predictions)
        figures |= {f"{split}_{name}": figure for name, figure in found.items()}
        if split == _drawn(data):
            answers = predictions
    return figures, answers


def draw(run: Run, data: Dataset, summary: dict[str, Any], answers: np.ndarray, drawing: Drawing) -> None:
    """Draw the run's pictures into its folder; those of single rows only where rows are pictures themselves.

    answers: as summarise has them. drawing: what draws.
    """
    folder, trainer, history = run.folder, run.trainer, run.trainer.history
    drawing(
        "draw_curves",
        folder / CURVES,
        history.batch_losses,
        history.batch_accuracies,
        history.epochs,
        title=_title(summary, "test"),  # the validation figure stands below, with the best epoch
        best=None if trainer.best is None else trainer.best.epoch,
        lifted_by=_only_in_training(run.options),
        batches_per_epoch=len(Batches(len(data.x_train), trainer.batch_size)),
    )
    split = _drawn(data)
    rows, labels = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
    if data.columns is not None and can_measure():
        found = column_importances(trainer.network, data.columns, rows, labels)
        top = dict(sorted(found.items(), key=lambda pair: -pair[1])[:MOST_BARS])
        score, form = ("accuracy", "{:.2%}") if data.task == "classify" else ("r2", "{:.3f}")
        heading = f"{data.name}: {score} lost where a column is shuffled ({_SPLITS[split]} rows)"
        drawing("draw_importances", folder / IMPORTANCE, top, title=heading, shown=form.format)
    if data.task == "regress":
        columns = None if data.columns is None else data.columns.target
        names = output_names(columns, trainer.network.output_dim or 0)
        of = _title(summary, split)
        drawing("draw_predicted", folder / PREDICTED, labels, answers, names=names, title=of)
        drawing("draw_residuals", folder / RESIDUALS, labels, answers, names=names, title=of)
        return
    guesses = answers.argmax(1)
    matrix = np.zeros((data.n_classes, data.n_classes), np.int64)
    np.add.at(matrix, (labels, guesses), 1)
    heading = f"{data.name}: true and predicted classes of {_SPLITS[split]} rows"
    drawing("draw_confusion", folder / CONFUSION, matrix, title=heading, class_names=data.class_names)
    if data.image_shape is not None:
        weights: Sliceable = trainer.network.linear_layers[0].arrays()["weight"]
        for layer in trainer.network.layers:
            if isinstance(layer, Whiten):  # from weights of the principal components to weights of the pixels
                weights = layer.projection @ np.asarray(weights)
        if not run.options.bins:  # then no weight belongs to a single pixel
            heading = f"{data.name}: weights of the first layer"
            drawing("draw_weights", folder / WEIGHTS, np.asarray(weights), title=heading, image_shape=data.image_shape)
        some = np.random.default_rng(0).permutation(len(rows))[:20]
        drawing(
            "draw_examples",
            folder / EXAMPLES,
            rows[some],
            labels[some],
            guesses[some],
            title=f"{data.name}: some {_SPLITS[split]} rows",
            class_names=data.class_names,
            image_shape=data.image_shape,
            confidences=answers[some].max(1),
        )


def _only_in_training(options: Config) -> list[str]:
    """What makes training harder than validation."""
    there = {
        "dropout": options.dropout,
        "label smoothing": options.label_smoothing,
        "mirroring": options.mirror,
        "shifting": options.shift,
        "rotating": options.rotate,
        "zooming": options.zoom,
        "cutting out": options.cutout,
    }
    return [name for name, value in there.items() if value]


def _title(summary: Mapping[str, Any], split: str) -> str:
    """The heading of pictures: the data set, and its score on the rows of a split, if there are any."""
    score, form = ("accuracy", ".1%") if summary["task"] == "classify" else ("r2", ".3f")
    value = summary[f"{split}_{score}"]
    return summary["dataset"] + ("" if value is None else f": {_SPLITS[split]} {score} {value:{form}}")


def scores(figures: Mapping[str, Any], splits: Sequence[str] = ("test", "val")) -> str:
    """The accuracies among the figures, for a person: "test 97.50%, validation 98.00%"; of a regression r2 and rmse."""
    if any(f"{split}_r2" in figures for split in splits):
        return regression.said(figures, splits, _SPLITS)
    found = {_SPLITS[split]: figures.get(f"{split}_accuracy") for split in splits}
    return ", ".join(f"{name} {accuracy:.2%}" for name, accuracy in found.items() if accuracy is not None)


def _beside_accuracy(summary: Mapping[str, Any]) -> str:
    """What says how much an accuracy is worth, of the test rows or else of validation's; a line, or none."""
    if summary.get("majority_share") is None:
        return ""
    split = "val" if summary["test_balanced_accuracy"] is None else "test"
    area = summary[f"{split}_auc"]
    said = [f"majority class {summary['majority_share']:.1%}", "" if area is None else f"AUC {area:.4f}"]
    said.append(f"balanced accuracy {summary[f'{split}_balanced_accuracy']:.2%}")
    return f"{_SPLITS[split]}: {', '.join(filter(None, reversed(said)))}\n"


def closing_lines(run: Run, summary: dict[str, Any]) -> str:
    """What the command prints at the end: the scores, the time, where the files are, and where to look next."""
    score = "accuracy" if summary["task"] == "classify" else "r2"
    return (
        f"{summary['dataset']}: {score} {scores(summary, ('test', 'val', 'train'))}\n"
        f"{_beside_accuracy(summary)}"
        f"epoch {summary['best_epoch']} of {summary['epochs']}, the best in {run.options.monitor}; "
        f"training {summary['train_seconds']:.2f} s, this command {clock.since(clock.STARTED):.1f} s\n"
        f"{summary['examples_per_second']:,.0f} rows/s, {summary['parameters']:,} parameters; written to {run.folder}\n"
        f"next: {what_next(run.folder)}"
    )


def what_next(folder: Path) -> str:
    """Two commands that use what a run has left."""
    where = command_line([str(folder)])
    return f"{program('report')} {where}, or {program('predict')} {where} ..."
