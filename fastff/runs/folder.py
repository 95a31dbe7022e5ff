"""The folder of a run: the names of its files, where a new run gets its folder, and how one to resume is found."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastff.data.load import NAMES
from fastff.errors import DataError
from fastff.runs import config
from fastff.runs.config import Config
from fastff.system import checkpoint

DATA = ("dataset", "data_dir", "test")  # the options that may be paths of data
CONFIG = "config.toml"  # the options; --config reads it
METRICS = "metrics.jsonl"  # a line of figures for each epoch
CHECKPOINT = "checkpoint.safetensors"  # all that training needs to go on; --resume reads it
BEST = "best.safetensors"  # the network with the weights of the best epoch
SUMMARY = "summary.json"  # the final figures
PICTURES = CURVES, CONFUSION, EXAMPLES, WEIGHTS, PREDICTED, RESIDUALS, IMPORTANCE = (
    "curves.png", "confusion.png", "examples.png", "weights.png", "predicted.png", "residuals.png", "importance.png"
)  # fmt: skip
ABLATION = "ablation.json"  # what fastff.ablate measured: what each part of the recipe is worth
ABLATION_PICTURE = "ablation.png"
BEST_OPTIONS = "best.toml"  # of fastff.tune: the best options, for fastff.train --config
# Of --seeds, above the folders of the single runs
ENSEMBLE = "ensemble.safetensors"  # the networks of all seeds as one model
SEEDS = "seeds.json"  # mean and standard deviation of the figures of all seeds


def find_run(options: Config) -> tuple[Path, dict[str, Any]]:
    """The folder to resume, --out or the latest of runs/DATASET, runs/DATASET-2, ..., and the options of the run in it.

    The options come from the checkpoint, because it holds the weights that were trained with them; with --seeds, from
    the checkpoint of the first seed. Raises DataError if there is no run, or its checkpoint is damaged.
    """
    several = options.seeds is not None
    folder = Path(options.out) if options.out is not None else _latest(options.dataset, several=several)
    if folder is not None and several:
        checkpoints = _of_seeds(folder)
        if not checkpoints:
            raise DataError(f"{folder}: has no seed-*/{CHECKPOINT}, want a folder that --seeds has filled")
        return folder, _options_in(checkpoints[0])
    if folder is None or not (folder / CHECKPOINT).exists():
        where = folder or Path("runs") / label(options.dataset)
        filled = " (--seeds N --resume goes on with the runs in it)" if _of_seeds(where) else ""
        raise DataError(f"resume: {where} has no {CHECKPOINT}{filled}, want --out with the folder of a run to resume")
    return folder, _options_in(folder / CHECKPOINT)


def recipe(folder: Path) -> dict[str, Any]:
    """The options of the run, of the first run of --seeds, or of the best trial of a search, whichever is in a folder.

    Raises DataError if there is none of these, or its file is damaged.
    """
    for path in ([folder / CHECKPOINT] if has_run(folder) else _of_seeds(folder))[:1]:
        return _options_in(path)
    for name in (CONFIG, BEST_OPTIONS):
        if (folder / name).exists():
            return config.read(folder / name)
    raise no_run(folder, CONFIG)


def no_run(place: str | os.PathLike[str], file: str, wanted: str = "the folder of a run") -> DataError:
    """The error for a place without this file of a run: it says what is there, and which folders hold runs."""
    path = Path(place)
    what = f"has no {file}"
    if str(place) in NAMES:
        what = "is a data set"
    elif path.is_file():
        what = "is a file"
    elif not path.exists():
        what = "no such file" if path.suffix else "no such folder"
    runs = sorted(str(folder.parent) for folder in Path("runs").glob(f"*/{file}"))[:3]
    there = f"; there {'are' if len(runs) > 1 else 'is'} {', '.join(runs)}" if runs else ""
    return DataError(f"{place}: {what}, want {wanted}{there}")


def _options_in(path: Path) -> dict[str, Any]:
    """The options in a checkpoint; the data is looked for where it was when the run was saved, and then as written."""
    with checkpoint.reading(path) as (_, notes):
        saved, places = notes.get("options"), notes.get("data_places", {})
    if not isinstance(saved, dict) or not isinstance(places, dict):
        raise DataError(f"{path}: holds no options, want the checkpoint of a run")
    options = config.checked(saved, path)
    for name, place in places.items():
        if name in DATA and name in options and isinstance(place, str) and os.path.exists(place):
            options[name] = place
    return options


def data_places(options: dict[str, Any]) -> dict[str, str]:
    """The absolute paths of the options that say where the data is; a known data set's name is no path."""
    named = {name: options[name] for name in DATA if name in options}
    return {name: os.path.abspath(path) for name, path in named.items() if path not in NAMES and os.path.exists(path)}


def seed_folder(folder: Path, seed: int) -> Path:
    """Where the run of this seed is kept, given the folder that --seeds fills."""
    return folder / f"seed-{seed}"


def has_run(folder: Path) -> bool:
    """Whether this folder holds a run that can be resumed."""
    return (folder / CHECKPOINT).exists()


def choose_folder(options: Config) -> Path:
    """The folder for a new run: --out, or the first of runs/DATASET, runs/DATASET-2, ... that does not exist yet."""
    if options.out is not None:
        if Path(options.out).is_file():
            raise DataError(f"out: {options.out} is a file, want a folder")
        return Path(options.out)
    while True:
        folder = _numbered(options.dataset, len(list(_existing(options.dataset))) + 1)
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:  # another run has made it in this moment
            continue
        except OSError as error:
            raise DataError(f"{folder}: cannot make this folder: {error.strerror}") from None


def _latest(dataset: str, *, several: bool) -> Path | None:
    """The last folder of this data set that can be resumed, with `several` one of --seeds; else the last there is."""
    folders = list(_existing(dataset))
    can = [folder for folder in folders if (_of_seeds(folder) if several else has_run(folder))]
    return next(reversed(can or folders), None)


def _of_seeds(folder: Path) -> list[Path]:
    """The checkpoints of the runs in a folder that --seeds has filled, that of the first seed first."""
    return sorted(folder.glob(f"seed-*/{CHECKPOINT}"), key=lambda path: (len(path.parent.name), path))


def label(dataset: str) -> str:
    """The name of the folders of a data set's runs, given the data set's name or path."""
    return Path(dataset).stem or "run"


def _numbered(dataset: str, number: int) -> Path:
    return Path("runs") / (label(dataset) + (f"-{number}" if number > 1 else ""))


def _existing(dataset: str) -> Iterator[Path]:
    """The folders runs/DATASET, runs/DATASET-2, ... up to the first that does not exist."""
    number = 1
    while (folder := _numbered(dataset, number)).exists():
        yield folder
        number += 1
