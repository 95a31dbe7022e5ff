"""python -m fastff.export RUN_DIR --out model.onnx: writes a trained network as an ONNX model, for other runtimes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastff import command
from fastff.errors import ArgumentError
from fastff.nn.onnx_graph import onnx_bytes
from fastff.runs.model import load_model
from fastff.system.files import write_bytes
from fastff.system.options import Option
from fastff.system.paths import PATH, HasPaths


@dataclass(frozen=True)
class Options(HasPaths):
    """Write a run's best network as an ONNX model from raw rows (as in the data set) to class probabilities, or to the
    numbers that it predicts.

    The model of a table has an input for each column, by its name: docs/export.md says more.

    Example: fastff export runs/digits --out digits.onnx
    """

    run_dir: command.RunDir
    out: Annotated[str, Option("FILE"), PATH]
    """The file to write, ending in .onnx. Needs onnx: pip install "fastff[onnx]"."""


@command.takes(Options, "export")
def main(options: Options) -> None:
    out = Path(options.out)
    if out.suffix != ".onnx":
        raise ArgumentError(f"--out: {out.name!r}, want a name that ends in .onnx")
    model = load_model(options.run_dir)
    notes = {}
    if model.columns is not None:  # what makes rows of a table
        notes = {
            "feature_names": json.dumps(model.columns.feature_names),
            "columns": json.dumps(model.columns.description()),
        }
    if model.task == "regress":
        notes["outputs"] = json.dumps(model.outputs)
    write_bytes(out, onnx_bytes(model.network, model.class_names, notes, model.columns))
    what = "probabilities" if model.task == "classify" else "predictions"
    of = f"rows (N, {model.network.input_dim})"
    if model.columns is not None:
        of = f"{sum(bool(column.features) for column in model.columns.columns)} columns of a table"
    print(f"{out}: {of} to {what} (N, {model.network.output_dim})")


if __name__ == "__main__":
    command.run(main)
