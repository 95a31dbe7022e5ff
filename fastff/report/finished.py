"""Reads and checks what a report is written about: the folder of a run, of --seeds, or of a search for options.

A missing or damaged file becomes an error of one line. The data set itself is not read, so that a report can be written
on a machine that does not have it.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastff.errors import DataError
from fastff.nn.ensemble import Ensemble
from fastff.runs import config
from fastff.runs.ablation import Ablation, read_ablation
from fastff.runs.folder import BEST_OPTIONS, CONFIG, METRICS, PICTURES, SEEDS, SUMMARY, label, no_run, seed_folder
from fastff.runs.model import TrainedModel, load_model

TRIALS = "trials.csv"
SEARCH_PICTURES = ("history.png", "importances.png")


@dataclass(frozen=True)
class FinishedRun:
    """summary: from summary.json. options: from config.toml. pictures: the content of the PNG files, by name.

    epochs: the records of metrics.jsonl. ablation: of this recipe, where fastff.ablate has measured it. seeds: from
    seeds.json, of a folder of --seeds; the rest is then the run of the first seed.
    """

    folder: Path
    summary: dict[str, Any]
    options: dict[str, Any]
    model: TrainedModel
    pictures: dict[str, bytes]
    epochs: list[dict[str, Any]] = field(default_factory=list)
    ablation: Ablation | None = None
    seeds: dict[str, Any] | None = None


@dataclass(frozen=True)
class FinishedSearch:
    """options: from best.toml. trials: the rows of trials.csv that have an accuracy, the best first."""

    folder: Path
    name: str
    options: dict[str, Any]
    trials: list[dict[str, str]]
    pictures: dict[str, bytes]
    ablation: Ablation | None = None


def read_folder(folder: Path) -> FinishedRun | FinishedSearch:
    """Read a folder of any of the three kinds. Raises DataError if it is none, or a file in it is damaged."""
    if (folder / SUMMARY).is_file():
        return read_run(folder)
    if (folder / SEEDS).is_file():
        return _read_seeds(folder)
    if (folder / TRIALS).is_file() and (folder / BEST_OPTIONS).is_file():
        return _read_search(folder)
    raise no_run(folder, SUMMARY, "the folder of a finished run")


def read_run(folder: Path) -> FinishedRun:
    """Read a run's folder. Raises DataError if the run is not finished or a file in the folder is damaged."""
    if not (folder / SUMMARY).is_file():
        raise no_run(folder, SUMMARY, "the folder of a finished run")
    summary = _summary(folder / SUMMARY)
    model = load_model(folder)
    if isinstance(model.network, Ensemble):
        raise DataError(f"{folder}: holds several networks as one, want the folder of one run, such as seed-0 in it")
    options = config.read(folder / CONFIG)
    pictures, epochs = _pictures(folder, PICTURES), _epochs(folder / METRICS)
    return FinishedRun(folder, summary, options, model, pictures, epochs, _ablation(folder, options))


def _read_seeds(folder: Path) -> FinishedRun:
    path = folder / SEEDS
    figures = _json(path)
    seeds = figures.get("seeds")
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise DataError(f"{path}: seeds = {seeds!r}, want the numbers of the seeds")
    for name, figure in figures.items():
        if isinstance(figure, dict) and "values" in figure:
            values = figure["values"]
            if not isinstance(values, list) or len(values) != len(seeds) or not all(map(_is_number, values)):
                raise DataError(f"{path}: values of {name} = {values!r}, want a number for each seed")
    run = read_run(seed_folder(folder, seeds[0]))
    study = _ablation(folder, run.options) or run.ablation
    return dataclasses.replace(run, folder=folder, seeds=figures, ablation=study)


def _read_search(folder: Path) -> FinishedSearch:
    path = folder / TRIALS
    try:
        rows = list(csv.DictReader(io.StringIO(_bytes(path).decode(), newline="")))
        trials = [row for row in rows if row["val_accuracy"]]
        trials.sort(key=lambda row: (row["state"] != "complete", -float(row["val_accuracy"])))
        if not trials or None in trials[0] or any(value is None for row in trials for value in row.values()):
            raise ValueError("no trial with an accuracy, or cells without a column")
    except (ValueError, KeyError, csv.Error) as error:
        raise DataError(f"{path}: not the table of a search: {error}, want that of fastff.tune") from None
    options = config.read(folder / BEST_OPTIONS)
    name = label(options.get("dataset", config.Config.dataset))
    return FinishedSearch(folder, name, options, trials, _pictures(folder, SEARCH_PICTURES), _ablation(folder, options))


def _ablation(folder: Path, options: dict[str, Any]) -> Ablation | None:
    """The study in the folder, if it is of this recipe and finished."""
    study = read_ablation(folder)
    return study if study is not None and study.of(options) and study.complete else None


def _pictures(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    return {name: _bytes(folder / name) for name in names if (folder / name).exists()}


def _epochs(path: Path) -> list[dict[str, Any]]:
    """The records of all epochs, as far as the file is there."""
    if not path.exists():
        return []
    try:
        records = [json.loads(line) for line in _bytes(path).decode().splitlines()]
        for record in records:
            score = record["val_r2"] if record["val_accuracy"] is None else record["val_accuracy"]
            if not all(map(_is_number, (record["epoch"], record["train_loss"], record["val_loss"], score))):
                raise ValueError(f"epoch {record['epoch']} lacks a figure")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not the metrics of a run: {error}, want a record a line") from None
    return records


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        figures = json.loads(_bytes(path).decode())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file: {error}, want that of a finished run") from None
    if not isinstance(figures, dict):
        raise DataError(f"{path}: holds {type(figures).__name__}, want the figures of a finished run")
    return figures


def _summary(path: Path) -> dict[str, Any]:
    figures = _json(path)
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
