"""Every option of a training run in one dataclass, Config: what `python -m fastff.train` takes and config.toml holds.

An option's value comes from the first of these that gives one: the command line, the file of --config, the preset (the
one named, or else the data set's own, see presets.py), and last the defaults in Config.
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np
import tomli_w

from fastff.data.load import NAMES
from fastff.data.splits import TEST_SHARE
from fastff.data.tables import is_table
from fastff.errors import ArgumentError, DataError
from fastff.runs.presets import PRESETS, for_task, own_options
from fastff.system.arguments import shown
from fastff.system.files import write_text
from fastff.system.options import Flag, Option, meant
from fastff.system.options import read as read_options
from fastff.system.paths import PATH, HasPaths, expanded

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


Folder = Annotated[str | None, Option("DIR"), PATH]
File = Annotated[str | None, Option("FILE"), PATH]
Name = Annotated[str | None, Option("NAME")]
Number = Annotated[float | None, Option("F")]
Count = Annotated[int | None, Option("N")]
Columns = Annotated[tuple[str, ...], Option("COLUMN")]
Share = Annotated[float | None, Option("F", unset=f"{TEST_SHARE:g}")]
Weighting = Literal["balanced"] | None
DataSet = Annotated[str, Option("DATASET", positional=True), PATH]


@dataclass(frozen=True)
class Config(HasPaths):
    """Train a feed-forward network on DATASET and write everything about the run into a folder.

    DATASET is a name: digits (the default; needs no download), cifar10-hst, cifar10, mnist or fashion-mnist. Or it is
    a path: of a table (.csv, .tsv, .csv.gz, .parquet), of an .npz file, of a folder of .npy or .parquet files or of
    shards (docs/scaling.md), of the course's pickles, of CIFAR-10's archive, or of IDX files.

    Examples:
      fastff train                       trains on the digits, into runs/digits
      fastff train cifar10-hst --data-dir pictures --preset course
      fastff train wine.csv --target quality --hidden 64 32

    config.toml in the folder of the run lists the values that were used.
    """

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "data": (
            "data_dir", "target", "task", "drop", "categorical", "weight_column", "class_weight", "test_share", "test",
            "split_seed",
        ),
        "network": ("hidden", "activation", "dropout", "standardize", "whiten", "bins"),
        "training": (
            "epochs", "batch_size", "step_size", "schedule", "optimizer", "beta1", "beta2", "epsilon",
            "bias_correction", "decay", "weight_decay", "momentum", "loss", "clip_norm", "ema_decay", "label_smoothing",
            "mirror", "shift", "rotate", "zoom", "cutout", "patience", "monitor", "on_divergence",
        ),
        "run": ("preset", "config", "resume", "seed", "seeds"),
        "saving": ("out", "log", "checkpoint_epochs", "checkpoint_minutes"),
        "machine": ("threads", "precision", "distributed", "distributed_timeout", "shard_optimizer"),
    }  # fmt: skip
    """The options under the headings of --help."""

    dataset: DataSet = "digits"
    """The name of a known data set, or a path."""
    data_dir: Folder = None
    """The folder with the files of a named data set; without it they are downloaded, once."""
    target: Name = None
    """The column of a table that holds the class, or the number, to be predicted."""
    task: Literal["auto", "classify", "regress"] = "auto"
    """Whether the target holds classes or numbers to predict; of a table, auto says which it chose, and why."""
    drop: Columns = ()
    """Of a table: columns to leave out."""
    categorical: Columns = ()
    """Of a table: columns whose values are names, also where they are numbers."""
    weight_column: Name = None
    """Of a table: the column that says how much each training row counts; it is no feature."""
    class_weight: Weighting = None
    """How much each training row counts: balanced gives every class the same weight in all, however rare it is.
    Then --monitor val_balanced_accuracy suits, as the other figures of validation count all rows alike."""
    test_share: Share = None
    """Of a table: the share of its rows that is held out to test the network in the end; 0 for none."""
    test: File = None
    """Of a table: another table with the test rows; then none are held out."""
    split_seed: Count = None
    """Of a table: chooses the rows that are held out to validate and to test; by default --seed."""
    preset: Name = None
    """A named set of options; options given beside it override it.
    For horses, ships and trucks: course (the homework's network and Adam), fast (good within seconds), best.
    For other data: tabular, digits, mnist, fashion-mnist, cifar10, cifar10-hst."""
    config: File = None
    """A TOML file of options, such as the config.toml of an earlier run; options given beside it override it."""
    out: Folder = None
    """The folder for this run's files; by default runs/DATASET, or runs/DATASET-2 and so on if that exists already."""
    resume: Flag = False
    """Continue the run in --out, by default the latest of this data set, until --epochs epochs are done in all."""
    log: Literal["tensorboard", "mlflow"] | None = None
    """Log epochs for TensorBoard (tensorboard --logdir runs) or MLflow (mlflow ui) too: pip install "fastff[NAME]"."""

    distributed: Literal["mpi"] | None = None
    """Train in all processes that mpiexec started, each on a part of every batch: pip install "fastff[mpi]"."""
    distributed_timeout: Number = None
    """With --distributed on several machines: the run ends when one of them has not been heard of for so many seconds,
    by default 120. If the network is mended before, it goes on."""
    shard_optimizer: Flag = False
    """With --distributed on several machines: split the optimizer's moments over the processes, to save memory."""

    seeds: Count = None
    """Train N networks with the seeds --seed, --seed + 1, ..., one on each core, each in a folder of its own.
    This gives the mean and standard deviation of their accuracies, and all of them as one model."""

    checkpoint_epochs: Count = None
    """Save a checkpoint every N epochs; by default after each, or less often where that takes over 2% of the time."""
    checkpoint_minutes: Number = None
    """In long epochs, also save every F minutes; by default 10, or more where saving takes over 2% of the time."""
    on_divergence: Literal["stop", "backoff"] = "stop"
    """If the loss is NaN or infinite: stop, or backoff: redo the epoch with half the step size, at most 5 times."""

    hidden: tuple[int, ...] = (256, 256)
    """The number of units of each hidden layer, from the first to the last."""
    activation: Literal["relu", "sigmoid", "tanh"] = "relu"
    """The function after each hidden layer."""
    dropout: float = 0.0
    """The share of the hidden layers' outputs that each training step sets to 0 at random, from 0 to below 1."""
    standardize: bool = True
    """Scale every feature to mean 0 and standard deviation 1 over the training rows; the network includes this step."""
    whiten: int = 0
    """Replace the features by this many principal components, scaled to equal variance; 0 keeps the features."""
    bins: int = 0
    """The ranges that each number of a row is divided into, with an input of its own for each (docs/tables.md); 0 for
    none, and not together with --whiten."""
    mirror: bool = False
    """For pictures: in training, mirror each one left to right with probability 1/2."""
    shift: int = 0
    """For pictures: in training, shift each one by a random number of pixels, at most this many in each direction."""
    rotate: float = 0.0
    """For pictures: in training, rotate each one by up to this many degrees."""
    zoom: float = 0.0
    """For pictures: in training, enlarge or shrink each one by up to this share, and stretch it by half of it."""
    cutout: int = 0
    """For pictures: in training, cover a square of each one, with this many pixels a side, by its mean colour."""

    epochs: int = 30
    """How many times training goes through all training rows."""
    batch_size: int = 128
    """How many rows each step of the optimizer averages the gradient over."""
    step_size: Annotated[float, Option(aliases=("--lr",))] = 0.001
    """The learning rate."""
    schedule: Literal["constant", "step", "cosine", "one-cycle"] = "constant"
    """How the step size changes in training. step: divided by 10 after 1/2 and again after 3/4 of all epochs.
    cosine: falls to 0 along a cosine. one-cycle: rises over the first 30% of training, then falls to 0."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """The rule that updates the weights."""
    beta1: float = 0.9
    """Adam: the decay rate of its running mean of the gradient, from 0 to below 1."""
    beta2: float = 0.999
    """Adam: the decay rate of its running mean of the squared gradient, from 0 to below 1."""
    epsilon: float = 1e-8
    """Adam: added to the square root of that mean, so that no step divides by 0."""
    bias_correction: Literal["standard", "constant"] = "standard"
    """Adam: what its two means are divided by. standard: by 1 - beta^t in step t (Kingma & Ba).
    constant: by 1 - beta in every step (the course's equations 13-17)."""
    decay: Literal["l2", "decoupled"] = "l2"
    """How weight decay works: l2 adds it to the gradient, decoupled shrinks the weights directly (AdamW)."""
    weight_decay: float = 0.0
    """The strength of weight decay, 0 for none; biases are never decayed."""
    momentum: float = 0.9
    """SGD: the share of the previous step that each step repeats, from 0 to below 1."""
    loss: Literal["auto", "cross_entropy", "squared_error", "absolute_error", "poisson"] = "auto"
    """What training makes small. auto: cross_entropy for classes, squared_error for numbers to predict.
    Those also have absolute_error, and poisson for counts; predictions are in their own units."""
    clip_norm: Number = None
    """Scale the gradients of a step down where their norm, of all layers together, is above this."""
    ema_decay: float = 0.0
    """Average the weights over the steps with this decay, 0.999 say, and validate and keep the averages; 0 for none."""
    label_smoothing: float = 0.0
    """The share of each row's label that is spread evenly over all classes, from 0 to below 1."""
    patience: Count = None
    """Stop once N epochs in a row have not improved --monitor; by default, train all epochs."""
    monitor: Literal[
        "val_accuracy", "val_loss", "val_balanced_accuracy", "val_auc", "val_r2", "train_accuracy", "train_loss",
        "train_r2",
    ] = "val_accuracy"  # fmt: skip
    """The figure by which the best epoch is chosen; the network keeps that epoch's weights.
    Numbers to predict have r2 in the place of the accuracy, and val_loss by default."""

    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """The format of the numbers that layers multiply; auto is bfloat16 where that is faster (docs/bfloat16.md)."""
    threads: Count = None
    """The most threads to use; by default as many as are useful. The result does not depend on it."""
    seed: int = 0
    """Decides everything random: initial weights, the order of rows, dropout, changes of pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, hint in _HINTS.items():
            value = getattr(self, name)
            if isinstance(value, os.PathLike):
                value = os.fspath(value)
            elif isinstance(value, np.generic):
                value = value.item()
            if get_origin(hint) is tuple:
                alone = isinstance(value, get_args(hint)[0])
                value = [value] if alone else list(value) if isinstance(value, tuple | list) else value
            if not (value is None and type(None) in get_args(hint)) and not _fits(value, hint):
                raise ArgumentError(f"{name}: {_shown(value)}, want {_wanted(hint)}")
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)

    @property
    def loading(self) -> dict[str, Any]:
        """What load_dataset takes beside the data set. Of tables the commands hold out rows to test."""
        options = {name: getattr(self, name) for name in _LOADING}
        if self.dataset not in NAMES and is_table(Path(self.dataset)):
            if self.test_share is None and self.test is None:
                options["test_share"] = TEST_SHARE
            if self.split_seed is None:
                options["split_seed"] = self.seed
        return options

    def with_split(self) -> "Config":
        """These options with what is held out of a table, so that a run with another --seed holds out the same rows.

        Returns
        -------
        Config
            With test_share and split_seed as load_dataset takes them.
        """
        return dataclasses.replace(self, test_share=self.loading["test_share"], split_seed=self.loading["split_seed"])


LARGEST = 1 << 20  # bytes of a config file; one has about 700
# Options that say where a run is kept and which processes train it; config.toml does not have them
_PLACES = ("config", "out", "resume", "log", "seeds", "distributed", "distributed_timeout", "shard_optimizer")
_HINTS = {name: hint for name, hint in get_type_hints(Config).items() if name != "GROUPS"}
_LOADING = (
    "data_dir", "target", "task", "drop", "categorical", "weight_column", "test_share", "test", "split_seed"
)  # fmt: skip


def parse(
    arguments: list[str], find_run: Callable[[Config], tuple[Path, dict[str, Any]]], task: str = "classify"
) -> Config:
    """The Config that a command line asks for; with --resume, options that it leaves out are those of the earlier run.

    find_run: returns the folder of the run to resume, and that run's options as `checked` returns them. task: what the
    data are for, which presets differ by.

    Raises ArgumentError for bad usage and an unknown preset, and DataError for a config file that cannot be used.
    """
    said = read_options(Config, arguments).values
    file = config_file(said.get("config"))
    dataset = said.get("dataset") or file.get("dataset", Config.dataset)
    if said.get("resume"):
        run, saved = find_run(Config(**{**said, "dataset": dataset}))
        begun, name = saved.get("preset"), said.get("preset") or file.get("preset")
        if name is not None and name != begun:  # its options would not count beside the run's own
            how = "without one" if begun is None else f"with {begun!r}"
            raise ArgumentError(f"preset: {name!r} for {run}, which has begun {how}, want it left out")
        file = {**saved, **file, "out": str(run)}
        dataset = said.get("dataset") or file.get("dataset", Config.dataset)
    start = start_from(dataset, said.get("preset"), file, task)
    return dataclasses.replace(start, **{**said, "dataset": dataset})


def start_from(dataset: str, preset: str | None, file: dict[str, Any], task: str = "classify") -> Config:
    """The Config of a data set without the command line's options: those of `file`, then the preset's, then defaults.

    preset: its name; if None, the one in the file, or else the data set's own. file: as `read` returns it. Raises
    ArgumentError for an unknown preset.
    """
    name = preset or file.get("preset")
    own = own_options(dataset) if name is None else _preset(name)
    options = {**for_task(own, task), **file, "dataset": dataset}
    return dataclasses.replace(Config(), **options)


def config_file(path: str | None) -> dict[str, Any]:
    """The options in the file of --config, none without one. Raises DataError as `read` does."""
    if path is None:
        return {}
    if not expanded(path).is_file():
        raise DataError(f"config: {path} is no file, want a TOML file of options, such as a run's config.toml")
    return read(expanded(path))


def read(path: Path) -> dict[str, Any]:
    """The options in a TOML file. Raises DataError where it is not TOML, or as `checked` does."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise DataError(f"{path}: more than {LARGEST:,} bytes, want a config.toml")
        options = tomllib.loads(text.decode())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}, want a config.toml") from None
    except DataError:
        raise
    except (ValueError, RecursionError) as error:  # also for integers of thousands of digits and for deep nesting
        raise DataError(f"{path}: not a TOML file: {error}") from None
    return checked(options, path)


def checked(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """Options that were read from the file at path: lists become tuples, whole numbers floats where floats are wanted.

    Raises DataError for an unknown name or a value of another type; path is what the message starts with.
    """
    options, known = dict(values), [name for name in _HINTS if name not in _PLACES]
    for name, value in values.items():
        if name not in known:
            near = meant(name, known) or f", want one of {', '.join(known)}"
            raise DataError(f"{path}: unknown option {name!r}{near}")
        if not _fits(value, _HINTS[name]):
            raise DataError(f"{path}: {name} = {_shown(value)}, want {_wanted(_HINTS[name])}")
        if isinstance(value, list):
            options[name] = tuple(value)
        elif _HINTS[name] is float:
            options[name] = float(value)
    return options


def settings(config: Config) -> dict[str, Any]:
    """The options for config.toml and the checkpoint: all that are set and not in _PLACES, with tuples as lists."""
    options = {name: value for name, value in dataclasses.asdict(config).items() if name not in _PLACES}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    return {name: value for name, value in plain.items() if value is not None}


def write(values: dict[str, Any], path: Path) -> None:
    """Write config.toml from a run's settings, so that --config gives the same run again."""
    write_text(path, tomli_w.dumps(values))


def _preset(name: str) -> dict[str, Any]:
    if name not in PRESETS:
        raise ArgumentError(f"preset: {name!r}, want one of {', '.join(PRESETS)}{meant(name, [*PRESETS])}")
    return {**PRESETS[name], "preset": name}


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if get_args(hint):  # X | None; TOML has no None
        return any(_fits(value, option) for option in get_args(hint) if option is not type(None))
    if isinstance(value, bool):
        return hint is bool
    if isinstance(value, int) and abs(value) >= 1 << 63:  # TOML's have 64 bits; tomllib reads longer ones
        return False
    return isinstance(value, (int, float) if hint is float else hint)


def _shown(value: Any) -> str:
    try:
        return shown(value)
    except (ValueError, RecursionError):
        return "a number of thousands of digits"


def _wanted(hint: Any) -> str:
    if type(None) in get_args(hint):  # X | None
        return _wanted(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    if get_origin(hint) is tuple:
        return "a list of texts" if get_args(hint)[0] is str else "a list of whole numbers"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[hint]
