"""The folder of a run: where it is, and the files that training leaves there.

config.toml            the options, for --config        curves.png, examples.png, confusion.png, weights.png
metrics.jsonl          a line an epoch                  checkpoint.safetensors   the last state, for --resume
summary.json           the final figures                best.safetensors         the best network
"""

import dataclasses
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from fastff import checkpoint, config
from fastff.config import Config
from fastff.data import Dataset
from fastff.errors import DataError
from fastff.files import make_folder, write_text
from fastff.network import FeedForwardNeuralNetwork, layers_from
from fastff.state import restore_trainer, trainer_state
from fastff.trainer import Trainer

SAVING_SHARE = 0.02  # of the time that saving may take


def find_run(options: Config) -> Path:
    """The folder to resume: --out, or the latest of runs/DATASET, runs/DATASET-2, ...; DataError if there is none."""
    folder = Path(options.out) if options.out is not None else _numbered(options.dataset)[0]
    if folder is None or not (folder / "checkpoint.safetensors").exists():
        where = folder or Path("runs") / label(options.dataset)
        raise DataError(f"{where}: has no checkpoint.safetensors, want the folder of a run to resume")
    return folder


def choose_folder(options: Config) -> Path:
    """The folder for a new run: --out, or the first free one of runs/DATASET, runs/DATASET-2, ..."""
    return Path(options.out) if options.out is not None else _numbered(options.dataset)[1]


def label(dataset: str) -> str:
    """What a data set's folders are called, given its name or path."""
    return Path(dataset).stem or "run"


class Run:
    """Writes a training run's files as it goes on; each appears whole or not at all.

    Raises DataError where the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, options: Config, trainer: Trainer, data: Dataset) -> None:
        self.folder, self.options, self.trainer = folder, options, trainer
        self._description = {"dataset": data.name, "class_names": data.class_names, "image_shape": data.image_shape}
        self._due = 0.0

    def start(self, *, resume: bool) -> None:
        """Make the folder, and with resume put the trainer where the checkpoint left it, before anything is written."""
        path = self.folder / "checkpoint.safetensors"
        if resume:
            restore_trainer(self.trainer, *checkpoint.load(path), path)
        make_folder(self.folder)
        config.write(self.options, self.folder / "config.toml")

    def save_now_and_then(self) -> None:
        """Save, unless that was so short a time ago that saving would take a noticeable share of it."""
        if time.monotonic() >= self._due:
            self.save()

    def save(self) -> None:
        """Write checkpoint, best network and metrics as they are now."""
        start = time.monotonic()
        checkpoint.save(self.folder / "checkpoint.safetensors", *trainer_state(self.trainer))
        best = self.trainer.best
        arrays, layers = self.trainer.network.state()
        arrays |= {} if best is None else best.arrays
        checkpoint.save(self.folder / "best.safetensors", arrays, {"layers": layers, **self._description})
        lines = [json.dumps(dataclasses.asdict(record)) + "\n" for record in self.trainer.history.epochs]
        write_text(self.folder / "metrics.jsonl", "".join(lines))
        self._due = time.monotonic() + (time.monotonic() - start) / SAVING_SHARE

    def write_summary(self, figures: dict[str, Any]) -> None:
        write_text(self.folder / "summary.json", json.dumps(figures, indent=2) + "\n")


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A run's best network, and what its rows and classes are."""

    network: FeedForwardNeuralNetwork
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None


def load_model(folder: str | os.PathLike[str]) -> TrainedModel:
    """The best network of a run's folder. Raises DataError where it is missing or damaged."""
    path = Path(folder) / "best.safetensors"
    if not path.exists():
        raise DataError(f"{folder}: has no best.safetensors, want the folder of a run")
    arrays, metadata = checkpoint.load(path)
    network = FeedForwardNeuralNetwork.__new__(FeedForwardNeuralNetwork)
    network.layers = layers_from(arrays, metadata.get("layers"), path)
    names, shape = metadata.get("class_names"), metadata.get("image_shape")
    if not isinstance(names, list) or len(names) != network.output_dim:
        raise DataError(f"{path}: class_names {names!r}, want {network.output_dim} names")
    if shape is not None and not _is_shape(shape, network.input_dim):
        raise DataError(f"{path}: image_shape {shape!r}, want (channels, height, width) of {network.input_dim} values")
    return TrainedModel(network, tuple(names), None if shape is None else (shape[0], shape[1], shape[2]))


def _is_shape(shape: Any, values: int | None) -> bool:
    whole = isinstance(shape, list) and len(shape) == 3 and all(isinstance(side, int) for side in shape)
    return whole and math.prod(shape) == values


def _numbered(dataset: str) -> tuple[Path | None, Path]:
    """The latest folder of this data set that is there, and the first that is not."""
    latest, number = None, 1
    while (folder := Path("runs") / (label(dataset) + (f"-{number}" if number > 1 else ""))).exists():
        latest, number = folder, number + 1
    return latest, folder
