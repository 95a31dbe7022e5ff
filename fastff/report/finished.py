"""Reads and checks the folder of a finished run; a missing or damaged file becomes an error of one line.

The data set itself is not read, so that a report can be written on a machine that does not have it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastff.errors import DataError
from fastff.nn.ensemble import Ensemble
from fastff.runs import config
from fastff.runs.folder import CONFIG, PICTURES, SUMMARY
from fastff.runs.model import TrainedModel, load_model


@dataclass(frozen=True)
class FinishedRun:
    """summary: from summary.json. options: from config.toml. pictures: the content of the PNG files, by name."""

    summary: dict[str, Any]
    options: dict[str, Any]
    model: TrainedModel
    pictures: dict[str, bytes]


def read_run(folder: Path) -> FinishedRun:
    """Read a run's folder. Raises DataError if the run is not finished or a file in the folder is damaged."""
    if not (folder / SUMMARY).is_file():
        raise DataError(f"{folder}: has no {SUMMARY}, want the folder of a finished run")
    summary = _summary(folder / SUMMARY)
    model = load_model(folder)
    if isinstance(model.network, Ensemble):
        raise DataError(f"{folder}: holds several networks as one, want the folder of one run, such as seed-0 in it")
    pictures = {name: _bytes(folder / name) for name in PICTURES if (folder / name).exists()}
    return FinishedRun(summary, config.read(folder / CONFIG), model, pictures)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _summary(path: Path) -> dict[str, Any]:
    try:
        figures = json.loads(_bytes(path).decode())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file: {error}, want that of a finished run") from None
    if not isinstance(figures, dict):
        raise DataError(f"{path}: holds {type(figures).__name__}, want the figures of a finished run")
    if figures.setdefault("task", "classify") not in ("classify", "regress"):
        raise DataError(f"{path}: task = {figures['task']!r}, want classify or regress")
    score, other = ("accuracy", "r2") if figures["task"] == "classify" else ("r2", "accuracy")
    for name, wanted in _FIGURES.items():
        if name.endswith(other):
            continue
        if name not in figures:
            raise DataError(f"{path}: has no {name}, want that of a finished run")
        kind = wanted.removesuffix(", or null")
        if not (_KINDS[kind](figures[name]) or (kind != wanted and figures[name] is None)):
            raise DataError(f"{path}: {name} = {figures[name]!r}, want {wanted}")
    if (figures["test_rows"] is None) != (figures[f"test_{score}"] is None):
        raise DataError(f"{path}: test_rows = {figures['test_rows']!r}, want it exactly where there is a test_{score}")
    return figures


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_KINDS: dict[str, Callable[[Any], bool]] = {
    "a text": lambda value: isinstance(value, str),
    "a number": _is_number,
    "a number from 0 to 1": lambda value: _is_number(value) and 0 <= value <= 1,
    "a whole number of at least 1": lambda value: _is_number(value) and isinstance(value, int) and value >= 1,
}
# The figures of summary.json that the report uses, and what each must be
_FIGURES = {
    "dataset": "a text",
    "test_rows": "a whole number of at least 1, or null",
    "epochs": "a whole number of at least 1",
    "best_epoch": "a whole number of at least 1",
    "train_accuracy": "a number from 0 to 1",
    "val_accuracy": "a number from 0 to 1",
    "test_accuracy": "a number from 0 to 1, or null",
    "train_r2": "a number",
    "val_r2": "a number",
    "test_r2": "a number, or null",
    "train_seconds": "a number",
    "examples_per_second": "a number",
    "parameters": "a whole number of at least 1",
    "threads": "a whole number of at least 1",
    "version": "a text",
}
