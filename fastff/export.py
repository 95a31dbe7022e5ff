"""python -m fastff.export RUN_DIR --out model.onnx: writes a trained network as an ONNX model, for other runtimes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fastff import command
from fastff.errors import ArgumentError
from fastff.nn.onnx_graph import onnx_bytes
from fastff.runs.model import load_model
from fastff.system.files import write_bytes
from fastff.system.paths import PATH, HasPaths
from fastff.system.streams import say


@dataclass(frozen=True)
class Options(HasPaths):
    """Write a run's best network as an ONNX model from raw rows (as in the data set) to class probabilities, or to the
    numbers that it predicts.

    The rows of a table's model are the numbers that its columns become: the metadata feature_names lists them.

    Example: python -m fastff.export runs/digits --out digits.onnx
    """

    run_dir: command.RunDir
    out: Annotated[str, tyro.conf.arg(metavar="FILE"), PATH]
    """The file to write, ending in .onnx. Needs onnx: pip install "fastff[onnx]"."""


def main(arguments: list[str]) -> None:
    options = tyro.cli(Options, args=arguments, prog="python -m fastff.export")
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
    data = onnx_bytes(model.network, model.class_names, notes)
    write_bytes(out, data)
    if model.columns is not None and model.columns.wide:
        say("rows are float32 in ONNX, which rounds whole numbers beyond 16,777,216: some columns have such")
    what = "probabilities" if model.task == "classify" else "predictions"
    print(f"{out}: rows (N, {model.network.input_dim}) to {what} (N, {model.network.output_dim})")


if __name__ == "__main__":
    command.run(main)
