"""python -m fastff.tune DATASET --trials N: searches for the options that suit a data set best."""

import dataclasses
import signal
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from fastff import command
from fastff.data import load_dataset
from fastff.errors import ArgumentError, FastffError, MissingExtra
from fastff.runs.build import for_data, make_trainer
from fastff.runs.command_line import option_names
from fastff.runs.config import (
    Columns,
    Config,
    Count,
    DataSet,
    File,
    Folder,
    Name,
    Share,
    Weighting,
    config_file,
    start_from,
)
from fastff.runs.folder import label
from fastff.runs.progress import announce_compiling
from fastff.system.arguments import check_seed, check_size
from fastff.system.files import make_folder
from fastff.system.limits import usable_cpus
from fastff.system.options import Option, as_words
from fastff.system.paths import PATH, HasPaths
from fastff.system.shell import command_line, program
from fastff.system.signals import Stopped, raised
from fastff.tune.workers import run_here, run_in_workers

_OF_TRAIN = (
    "data_dir", "target", "task", "drop", "categorical", "weight_column", "class_weight", "test_share", "epochs"
)  # fmt: skip
# The figures that trials are compared by: the first, or the one that the file of --config monitors
_SCORES = {"classify": ("val_accuracy", "val_balanced_accuracy", "val_auc"), "regress": ("val_r2",)}


@dataclass(frozen=True)
class Options(HasPaths):
    """Search for the network and the options with the highest accuracy on a data set's validation rows, or the highest
    r2 where numbers are predicted. The monitor in the file of --config may name another figure.

    Each trial trains a network with options that Optuna chooses: hidden layers, step size and its schedule, weight
    decay, batch size, dropout, label smoothing and, for pictures, whitening and changes in training. A trial that is
    worse than most others were at the same epoch is stopped early. The first trial is what fastff train would do, so
    that the result is at least as good. Needs optuna: pip install "fastff[tune]".

    All trials are kept in a storage. Running the same line again, with a larger --trials or after an interruption,
    continues the search. Several commands with the same --storage, on one machine or many, share one search: each ends
    and writes its files when all N trials are finished. If a command is killed, the others train its trials anew after
    a minute.

    Examples:
      fastff tune digits --trials 100     searches, into runs/tune-digits
      fastff train --config runs/tune-digits/best.toml
      fastff tune wine.csv --target quality --trials 50 --epochs 20 --jobs 4
    """

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "data": (
            "data_dir", "target", "task", "drop", "categorical", "weight_column", "class_weight", "test_share",
        ),
        "search": ("trials", "jobs", "preset", "config", "epochs", "seed"),
        "saving": ("out", "storage"),
    }  # fmt: skip
    """The options under the headings of --help."""

    dataset: DataSet
    """The name of a known data set, or a path, as for fastff train."""
    trials: int
    """The number of trials in all, including those of earlier commands and of others that run at the same time."""
    jobs: Count = None
    """How many trials to train at once, each in a process with one thread and its own copy of the data.
    By default as many as this process may use CPUs."""
    data_dir: Folder = None
    """The folder with the files of a named data set; without it they are downloaded, once."""
    target: Name = None
    """The column of a table that holds the class, or the number, to be predicted."""
    task: Literal["auto", "classify", "regress"] = "auto"
    """Of a table: whether the target holds classes or numbers to predict."""
    drop: Columns = ()
    """Of a table: columns to leave out."""
    categorical: Columns = ()
    """Of a table: columns whose values are names, also where they are numbers."""
    weight_column: Name = None
    """Of a table: the column that says how much each training row counts; it is no feature."""
    class_weight: Weighting = None
    """How much each training row counts: balanced gives every class the same weight in all, however rare it is."""
    test_share: Share = None
    """Of a table: the share of its rows that no trial sees, so that they can test the network in the end; 0 for none.
    best.toml has it, too: fastff train --config leaves out the same rows."""
    preset: Name = None
    """A named set of options of fastff train from which the search starts."""
    config: File = None
    """A TOML file of options of fastff train from which the search starts, such as a best.toml. Its monitor is what
    trials are compared by: val_accuracy, val_balanced_accuracy or val_auc; of numbers to predict, val_r2."""
    epochs: Count = None
    """How many epochs each trial trains; by default as many as fastff train would."""
    seed: int = 0
    """Decides which options are tried. With one job, the same seed tries the same options.
    With several jobs, they also depend on which trials end first."""
    storage: Annotated[str | None, Option("URL"), PATH] = None
    """Where the trials are kept: a database's URL, or a journal file that ends in .log; by default OUT/study.db.
    For several machines: a PostgreSQL or MySQL server, or a journal file on a disk that they share."""
    out: Folder = None
    """The folder for best.toml, trials.csv and the pictures; by default runs/tune-DATASET."""


@command.takes(Options, "tune", option_names)
def main(options: Options) -> None:
    check_size("trials", options.trials)
    jobs = usable_cpus() if options.jobs is None else check_size("jobs", options.jobs)
    check_seed(options.seed, required=True)
    try:
        from fastff.tune.results import closing_lines, write_results
        from fastff.tune.search import Search, rows_of
        from fastff.tune.storage import open_study
    except ImportError as error:
        if error.name is None or not error.name.startswith("optuna"):
            raise
        raise MissingExtra.of("fastff.tune needs optuna", '"fastff[tune]"', error) from None
    start = _start(options)
    data = load_dataset(start.dataset, **start.loading).with_validation()
    start = _scored(for_data(_start(options, data.task), data), options.config, data.task)
    make_trainer(start, data)  # raises for bad options before anything is written
    shape, rows = data.image_shape, rows_of(data)
    name = label(start.dataset)
    folder = Path(options.out or f"runs/tune-{name}")
    make_folder(folder)
    announce_compiling()
    with open_study(options.storage or f"sqlite:///{folder / 'study.db'}", name) as study:
        # Worker processes load the data themselves.
        train = partial(run_here, data=data) if jobs == 1 else partial(run_in_workers, jobs=jobs, source=start)
        del data
        search = Search(study, start, shape, rows=rows, total=options.trials, seed=options.seed)
        stop: BaseException | None = None
        try:
            with raised(), search:
                while search.wait():
                    train(search)
        except (KeyboardInterrupt, FastffError, MemoryError) as ended:
            stop = ended
        names = write_results(folder, study, start, shape)
        if isinstance(stop, FastffError | MemoryError):
            raise stop
        if stop is not None:
            again = command_line([*program("tune").split(), *as_words(options)])
            number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
            raise Stopped(number, f"finished trials are kept; {again} goes on")
        print(closing_lines(folder, names, study, start))


def _start(options: Options, task: str = "classify") -> Config:
    """The options that the search starts from. Raises ArgumentError for what is only for a training by itself."""
    file = config_file(options.config)
    said: dict[str, Any] = {name: getattr(options, name) for name in _OF_TRAIN}
    start = start_from(options.dataset, options.preset, file, task)
    said = {name: value for name, value in said.items() if value not in (None, (), "auto")}
    if start.on_divergence != Config.on_divergence:
        raise ArgumentError(
            f"on_divergence: {start.on_divergence!r} is for the command fastff.train, want it left out, as a trial "
            "that diverges ends there"
        )
    return dataclasses.replace(start, **said).with_split()


def _scored(start: Config, file: str | None, task: str) -> Config:
    """The start with the figure that trials are compared by as its monitor, so that best.toml has it, too.

    What a preset monitors suits one training, and may be no score; so may what a run's config.toml has, which a warning
    says. Raises ArgumentError for any other figure.
    """
    usual = _SCORES[task][0]
    monitor = config_file(file).get("monitor", usual)
    if monitor in ("val_loss", "train_loss"):
        warnings.warn(f"{file}: monitor = {monitor!r} is for one training, trials go by {usual}", stacklevel=2)
        monitor = usual
    if monitor not in _SCORES[task]:
        raise ArgumentError(f"monitor: {monitor!r}, want {' or '.join(_SCORES[task])}, by which trials are compared")
    return dataclasses.replace(start, monitor=monitor)


if __name__ == "__main__":
    command.run(main)
