"""Everything that decides a training run, as one dataclass: the options of `python -m fastff.train` and config.toml.

What is not said is taken from the first place that says it: the command line, --config, --preset or without one what
suits the data set (presets.py), the defaults here. Imports no other part of fastff but errors, files and presets.
"""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tomli_w
import tyro

from fastff.errors import ArgumentError, DataError
from fastff.runs.presets import PRESETS, own_options
from fastff.system.files import write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


# What is None unless it is said needs no "(default: None)" in the help.
Folder = Annotated[str | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")]
File = Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
Name = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
Minutes = Annotated[float | None, tyro.conf.arg(metavar="F", help_behavior_hint="")]
Count = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]
Log = Annotated[
    Literal["tensorboard", "mlflow"] | None, tyro.conf.arg(metavar="{tensorboard,mlflow}", help_behavior_hint="")
]
Distributed = Annotated[Literal["mpi"] | None, tyro.conf.arg(metavar="{mpi}", help_behavior_hint="")]


@dataclass(frozen=True)
class Config:
    """Train a feed-forward network on DATASET and write everything about the run into a folder.

    DATASET is digits (the default; needs no download), cifar10-hst, cifar10, mnist, fashion-mnist, or the path of an
    .npz file, a folder of .npy or .parquet files, of shards too (docs/scaling.md), the course's pickles, CIFAR-10's
    archive, IDX files, or a .csv or .parquet file.

    Examples: python -m fastff.train                                         (digits, into runs/digits)
              python -m fastff.train cifar10-hst --data-dir pictures --preset course
              python -m fastff.train wine.csv --target quality --hidden 64 32

    The named data sets start from values of their own where these suit them better than the defaults below, .csv and
    .parquet files from the preset tabular; config.toml in the folder of the run says what was used.
    """

    dataset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET")] = "digits"
    """A known name or a path."""
    data_dir: Folder = None
    """The folder that holds a named data set's files; without it they are downloaded once."""
    target: Name = None
    """The column of a .csv or .parquet file that is the class."""
    preset: Name = None
    """A named set of options, which other options override. Of cifar10-hst: course (the homework's network and Adam),
    fast (most of it in seconds) and best. Of other data: tabular, digits, mnist, fashion-mnist, cifar10 (and -hst)."""
    config: File = None
    """A TOML file of options, such as the config.toml of an earlier run; other options override it."""
    out: Folder = None
    """The folder of the run; by default runs/DATASET, with a number where that is taken."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Go on with the run in --out (by default the latest of this data set) until it has had --epochs in all."""
    log: Log = None
    """Show epochs in TensorBoard (tensorboard --logdir runs) or MLflow (mlflow ui) too: pip install 'fastff[NAME]'."""

    distributed: Distributed = None
    """Train in all processes that mpiexec has started, each with its rows of a batch: pip install 'fastff[mpi]'."""
    shard_optimizer: tyro.conf.FlagCreatePairsOff[bool] = False
    """--distributed over a network: each process keeps its part of the optimizer's moments alone."""

    seeds: Count = None
    """Train N networks, with --seed and the seeds after it, one a core, each in a folder of its own: mean and standard
    deviation of their figures, and all of them as one model."""

    checkpoint_epochs: Count = None
    """Save every N epochs; by default after every epoch, unless saving would then take more than 2% of the time."""
    checkpoint_minutes: Minutes = None
    """Save within long epochs too, F minutes after the last time; by default 10, or more if that would take over 2%."""
    on_divergence: Literal["stop", "backoff"] = "stop"
    """When the loss is no longer finite: stop, or go back an epoch and halve the step size, 5 times at most."""

    hidden: tuple[int, ...] = (256, 256)
    """The widths of the hidden layers, from the first to the last."""
    activation: Literal["relu", "sigmoid", "tanh"] = "relu"
    """The function after each hidden layer."""
    dropout: float = 0.0
    """The share of hidden values that is set to 0 in each step of training, below 1."""
    standardize: bool = True
    """Put a layer first that gives every feature mean 0 and deviation 1 over the training rows."""
    whiten: int = 0
    """Turn the rows into so many principal components of equal variance first; 0 leaves them as they are."""
    mirror: bool = False
    """Pictures: show half of them mirrored left to right, in training."""
    shift: int = 0
    """Pictures: shift them by up to so many pixels each way, in training."""

    epochs: int = 30
    """How often to go through the training rows."""
    batch_size: int = 128
    """How many rows each step of the optimizer looks at."""
    step_size: float = 0.001
    """The learning rate."""
    schedule: Literal["constant", "step", "cosine", "one-cycle"] = "constant"
    """How the step size changes over all epochs: not, by tenths at 1/2 and 3/4, to 0 along a cosine, or up first."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """The rule that moves the weights."""
    beta1: float = 0.9
    """Adam: how much of the mean gradient it keeps in a step, below 1."""
    beta2: float = 0.999
    """Adam: how much of the mean squared gradient it keeps in a step, below 1."""
    epsilon: float = 1e-8
    """Adam: added to the root of the mean square."""
    bias_correction: Literal["standard", "constant"] = "standard"
    """Adam: standard divides by 1 - beta^t (Kingma & Ba), constant by 1 - beta (the course's equations 13-17)."""
    decay: Literal["l2", "decoupled"] = "l2"
    """How weight decay works: l2 adds it to the gradient, decoupled shrinks the weights (AdamW)."""
    weight_decay: float = 0.0
    """The strength of weight decay; biases are never decayed."""
    momentum: float = 0.9
    """SGD: how much of the last step's direction it keeps, below 1."""
    label_smoothing: float = 0.0
    """How much of each row's target is spread evenly over all classes, below 1."""
    patience: Count = None
    """Stop after so many epochs without a better --monitor; without it, never."""
    monitor: Literal["val_accuracy", "val_loss", "train_accuracy", "train_loss"] = "val_accuracy"
    """The figure that the best epoch, whose weights are kept, is best in."""

    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """The numbers that the layers multiply; auto takes bfloat16 where the CPU is faster with it (docs/bfloat16.md)."""
    threads: Count = None
    """Threads at most; by default as many as are useful. The result does not depend on it."""
    seed: int = 0
    """Decides initial weights, shuffling and dropout."""


LARGEST = 1 << 20  # bytes of a config file; one has about 700
# Where a run is kept and runs, not what it is: not in config.toml
_PLACES = ("config", "out", "resume", "log", "seeds", "distributed", "shard_optimizer")
_HINTS = get_type_hints(Config)
_PROGRAM = "python -m fastff.train"


def parse(arguments: list[str], find_run: Callable[[Config], tuple[Path, dict[str, Any]]]) -> Config:
    """The Config that a command line asks for; with --resume, the run that find_run finds says the rest.

    find_run: the folder of the run, and its options as `checked` returns them.

    Exits with 2 on bad usage and with 0 after --help, as tyro does. Raises ArgumentError for an unknown preset and
    DataError for a config file that cannot be used.
    """
    tyro.cli(Config, args=arguments, prog=_PROGRAM)  # for --help and bad usage
    said = tyro.cli(Config, args=arguments, prog=_PROGRAM, default=Config(dataset=""))  # "": not said
    file = {} if said.config is None else read(Path(said.config))
    dataset = said.dataset or file.get("dataset", Config.dataset)
    if said.resume:
        run, saved = find_run(dataclasses.replace(said, dataset=dataset))
        file = {**saved, **file, "out": str(run)}
        dataset = said.dataset or file.get("dataset", Config.dataset)
    return tyro.cli(Config, args=arguments, prog=_PROGRAM, default=start_from(dataset, said.preset, file))


def start_from(dataset: str, preset: str | None, file: dict[str, Any]) -> Config:
    """The Config of a data set before the command line says more: `file` (see read) over a preset, named or its own.

    Raises ArgumentError for an unknown preset.
    """
    name = preset or file.get("preset")
    options = {**(own_options(dataset) if name is None else _preset(name)), **file, "dataset": dataset}
    return dataclasses.replace(Config(), **options)


def read(path: Path) -> dict[str, Any]:
    """The options in a TOML file, checked by name and type; DataError, in one line, for what does not fit."""
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
    except (ValueError, RecursionError) as error:  # also of numbers of thousands of digits, lists in lists in lists
        raise DataError(f"{path}: not a TOML file: {error}") from None
    return checked(options, path)


def checked(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """`settings` as they come back from the file at path, as options; DataError, in one line, for what does not fit."""
    options = dict(values)
    for name, value in values.items():
        if name not in _HINTS or name in _PLACES:
            raise DataError(
                f"{path}: unknown option {name!r}, want one of {', '.join(n for n in _HINTS if n not in _PLACES)}"
            )
        if not _fits(value, _HINTS[name]):
            raise DataError(f"{path}: {name} = {_shown(value)}, want {_wanted(_HINTS[name])}")
        if isinstance(value, list):
            options[name] = tuple(value)
        elif _HINTS[name] is float:
            options[name] = float(value)
    return options


def settings(config: Config) -> dict[str, Any]:
    """What a run is: every option that has a value but the places, tuples as lists."""
    options = {name: value for name, value in dataclasses.asdict(config).items() if name not in _PLACES}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    return {name: value for name, value in plain.items() if value is not None}


def write(values: dict[str, Any], path: Path) -> None:
    """Write config.toml from a run's settings, so that --config gives the same run again."""
    write_text(path, tomli_w.dumps(values))


def _preset(name: str) -> dict[str, Any]:
    if name not in PRESETS:
        raise ArgumentError(f"--preset: {name!r}, want one of {', '.join(PRESETS)}")
    return {**PRESETS[name], "preset": name}


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if get_args(hint):  # X | None; TOML has no None
        return any(_fits(value, option) for option in get_args(hint) if option is not type(None))
    if isinstance(value, bool):
        return hint is bool
    if isinstance(value, int) and abs(value) >= 1 << 63:  # TOML has none; Python reads them and can't print them
        return False
    return isinstance(value, (int, float) if hint is float else hint)


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return "a number of thousands of digits"


def _wanted(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    if get_origin(hint) is tuple:
        return "a list of whole numbers"
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names[next(option for option in (get_args(hint) or (hint,)) if option is not type(None))]
