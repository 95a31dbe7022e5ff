"""The folder of a run: the names of its files, where a new run gets its folder, and how one to resume is found."""

from pathlib import Path
from typing import Any

from fastff.errors import DataError
from fastff.runs import config
from fastff.runs.config import Config
from fastff.system import checkpoint

CONFIG = "config.toml"  # the options; --config reads it
METRICS = "metrics.jsonl"  # a line of figures for each epoch
CHECKPOINT = "checkpoint.safetensors"  # all that training needs to go on; --resume reads it
BEST = "best.safetensors"  # the network with the weights of the best epoch
SUMMARY = "summary.json"  # the final figures
PICTURES = CURVES, CONFUSION, EXAMPLES, WEIGHTS = "curves.png", "confusion.png", "examples.png", "weights.png"
# Of --seeds, above the folders of the single runs
ENSEMBLE = "ensemble.safetensors"  # the networks of all seeds as one model
SEEDS = "seeds.json"  # mean and standard deviation of the figures of all seeds


def find_run(options: Config) -> tuple[Path, dict[str, Any]]:
    """The folder to resume, --out or the latest of runs/DATASET, runs/DATASET-2, ..., and the options of the run in it.

    The options come from the checkpoint, because it holds the weights that were trained with them; with --seeds, from
    the checkpoint of the first seed. Raises DataError if there is no run, or its checkpoint is damaged.
    """
    folder = Path(options.out) if options.out is not None else _numbered(options.dataset)[0]
    if folder is not None and options.seeds is not None:
        several = sorted(folder.glob(f"seed-*/{CHECKPOINT}"), key=lambda path: (len(path.parent.name), path))
        if not several:
            raise DataError(f"{folder}: has no seed-*/{CHECKPOINT}, want a folder that --seeds has filled")
        return folder, _options_in(several[0])
    if folder is None or not (folder / CHECKPOINT).exists():
        where = folder or Path("runs") / label(options.dataset)
        raise DataError(f"{where}: has no {CHECKPOINT}, want the folder of a run to resume")
    return folder, _options_in(folder / CHECKPOINT)


def _options_in(path: Path) -> dict[str, Any]:
    with checkpoint.reading(path) as (_, notes):
        saved = notes.get("options")
    if not isinstance(saved, dict):
        raise DataError(f"{path}: holds no options, want the checkpoint of a run")
    return config.checked(saved, path)


def seed_folder(folder: Path, seed: int) -> Path:
    """Where the run of this seed is kept, given the folder that --seeds fills."""
    return folder / f"seed-{seed}"


def has_run(folder: Path) -> bool:
    """Whether this folder holds a run that can be resumed."""
    return (folder / CHECKPOINT).exists()


def choose_folder(options: Config) -> Path:
    """The folder for a new run: --out, or the first of runs/DATASET, runs/DATASET-2, ... that does not exist yet."""
    if options.out is not None:
        return Path(options.out)
    while True:
        folder = _numbered(options.dataset)[1]
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:  # another run has made it in this moment
            continue
        except OSError as error:
            raise DataError(f"{folder}: cannot make this folder: {error.strerror}") from None


def label(dataset: str) -> str:
    """The name of the folders of a data set's runs, given the data set's name or path."""
    return Path(dataset).stem or "run"


def _numbered(dataset: str) -> tuple[Path | None, Path]:
    """The last folder of this data set that exists, and the first that does not."""
    latest, number = None, 1
    while (folder := Path("runs") / (label(dataset) + (f"-{number}" if number > 1 else ""))).exists():
        latest, number = folder, number + 1
    return latest, folder
