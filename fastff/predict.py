"""python -m fastff.predict RUN_DIR INPUT --out FILE: writes a trained network's predictions for new rows."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from fastff import command
from fastff.data.arrays import read_array
from fastff.data.labels import printable
from fastff.data.rows import check_finite, check_rows
from fastff.data.tables import ENDINGS, is_table, read_rows, read_table
from fastff.errors import ArgumentError, DataError
from fastff.runs.model import TrainedModel, load_model
from fastff.runs.progress import announce_compiling
from fastff.system.files import replacing, write_text
from fastff.system.options import Option
from fastff.system.paths import PATH, HasPaths

_WRITTEN = (".csv", ".npy", ".npz")
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and their full-width forms


@dataclass(frozen=True)
class Options(HasPaths):
    """Write the class and the probabilities that a run's best network gives to each row of INPUT, or the numbers that
    it predicts.

    Example: fastff predict runs/digits new.npy --out guesses.csv
    """

    run_dir: command.RunDir
    input: Annotated[str, Option("INPUT", positional=True), PATH]
    """New rows: for a model of a table a table, whose columns go by name, the target or not. For others an .npy file
    (rows, features), an .npz with one such array or one called x, or a table of as many numbers."""
    out: Annotated[str, Option("FILE"), PATH]
    """The file to write: .csv (class and all probabilities of each row), .npy (classes) or .npz (both, as arrays).
    Of predicted numbers: .csv (a column for each target), .npy or .npz (predictions).
    So that no spreadsheet runs the name of a class, one that begins with = + - @ and is no number gets a ' before it in
    the .csv, and control characters are written as in Python (\\n)."""


@command.takes(Options, "predict")
def main(options: Options) -> None:
    out = Path(options.out)
    if out.suffix not in _WRITTEN:
        raise ArgumentError(f"--out: {out.name!r}, want a name that ends in {', '.join(_WRITTEN)}")
    model = load_model(options.run_dir)
    rows = _rows(Path(options.input), model)
    announce_compiling()
    if model.task == "classify":
        found = model.network.predict_proba(rows)
        lines = _class_lines(found, model.class_names)
        arrays = {"classes": found.argmax(1), "probabilities": found}
    else:
        found = model.network.predict(rows)
        lines, arrays = _number_lines(found, model.outputs), {"predictions": found}
    del rows  # which may be mapped from the file that is to be replaced: Windows would refuse
    _write(out, lines, arrays)
    print(f"{len(found):,} rows written to {out}")


def _rows(path: Path, model: TrainedModel) -> np.ndarray:
    """The rows in a file as the model takes them: of a table by the names of its columns, if the model knows names."""
    table = is_table(path)
    if not table and path.suffix.lower() not in (".npy", ".npz"):
        raise DataError(f"{path}: a file of an unknown kind, want {', '.join((*ENDINGS, '.npy', '.npz'))}")
    if model.columns is None:
        rows = check_rows(read_rows(path) if table else read_array(path), str(path), features=model.network.input_dim)
        check_finite(rows, str(path))
        return rows
    if not table:
        raise DataError(f"{path}: an array, whose columns have no names, want a table as the model was trained on one")
    return model.columns.rows(read_table(path, model.columns.texts, model.columns.decimal), path)


def _class_lines(probabilities: np.ndarray, names: tuple[str, ...]) -> Iterator[list[Any]]:
    shown = [_cell(name) for name in names]
    yield ["row", "class", "name", *(f"p_{printable(name)}" for name in names)]
    for i, (row, guess) in enumerate(zip(probabilities, probabilities.argmax(1), strict=True)):
        yield [i, guess, shown[guess], *map(str, row)]  # the fewest digits that give the float32 back


def _number_lines(predictions: np.ndarray, names: tuple[str, ...]) -> Iterator[list[Any]]:
    yield ["row", *map(_cell, names)]
    for i, row in enumerate(predictions.reshape(len(predictions), -1)):
        yield [i, *row.tolist()]  # which csv writes by repr, the fewest digits that give the number back


def _cell(name: str) -> str:
    """The name of a class as a cell of text that spreadsheets do not take for a formula."""
    text = printable(name)
    try:
        float(text)  # -1 is no formula
    except ValueError:
        return "'" + text if text.lstrip().startswith(FORMULA) else text
    return text


def _write(path: Path, lines: Iterator[list[Any]], arrays: dict[str, np.ndarray]) -> None:
    """Write the lines into a .csv file, all arrays into an .npz file, or the first of them into an .npy file."""
    if path.suffix == ".csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        write_text(path, text.getvalue())
        return
    with replacing(path) as temporary, open(temporary, "wb") as file:
        if path.suffix == ".npy":
            np.save(file, next(iter(arrays.values())))
        else:
            np.savez(file, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    command.run(main)
