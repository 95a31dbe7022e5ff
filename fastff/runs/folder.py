"""The folder of a run: where it is, which files are in it, and how the one to go on with is found.

config.toml            the options, for --config        curves.png, examples.png, confusion.png, weights.png
metrics.jsonl          a line an epoch                  checkpoint.safetensors   the last state, for --resume
summary.json           the final figures                best.safetensors         the best network
"""

from pathlib import Path
from typing import Any

from fastff.errors import DataError
from fastff.runs import config
from fastff.runs.config import Config
from fastff.system import checkpoint

CHECKPOINT = "checkpoint.safetensors"
ENSEMBLE = "ensemble.safetensors"


def find_run(options: Config) -> tuple[Path, dict[str, Any]]:
    """The folder to resume and its options: --out, or the latest of runs/DATASET, runs/DATASET-2, ...

    The options are those in the checkpoint, which is written in one piece with the state that they led to; of --seeds,
    the first one's. Raises DataError if there is no run, or its checkpoint is damaged.
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
    """The folder of one of several seeds' runs."""
    return folder / f"seed-{seed}"


def has_run(folder: Path) -> bool:
    """Whether there is a run in this folder that can be gone on with."""
    return (folder / CHECKPOINT).exists()


def choose_folder(options: Config) -> Path:
    """The folder for a new run: --out, or a new one, the first free of runs/DATASET, runs/DATASET-2, ..."""
    if options.out is not None:
        return Path(options.out)
    while True:
        folder = _numbered(options.dataset)[1]
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:  # another run took it just now
            continue
        except OSError as error:
            raise DataError(f"{folder}: cannot make this folder: {error.strerror}") from None


def label(dataset: str) -> str:
    """What a data set's folders are called, given its name or path."""
    return Path(dataset).stem or "run"


def _numbered(dataset: str) -> tuple[Path | None, Path]:
    """The latest folder of this data set that is there, and the first that is not."""
    latest, number = None, 1
    while (folder := Path("runs") / (label(dataset) + (f"-{number}" if number > 1 else ""))).exists():
        latest, number = folder, number + 1
    return latest, folder
