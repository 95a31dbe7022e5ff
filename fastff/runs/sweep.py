"""fit_many: trains many networks on one data set, each with its own options or seed, and each on one core."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from textwrap import shorten
from typing import Any

from fastff.data import Dataset, load_dataset
from fastff.engine.bfloat16 import resolve_precision
from fastff.engine.context import ALONE, RunContext
from fastff.engine.side_by_side import SideBySide
from fastff.errors import ArgumentError, FastffError
from fastff.nn.layers import Layer
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.runs.build import FRONT, make_trainer, preprocessing, row_weights
from fastff.runs.config import Config
from fastff.system.arguments import check_list, check_size
from fastff.system.limits import usable_cpus
from fastff.training.history import History

# What fit_many does not do, or is told otherwise
COMMAND_ONLY = (
    "dataset", "data_dir", "target", "task", "drop", "categorical", "weight_column", "test_share", "test",
    "split_seed", "preset", "config", "out", "resume", "log",
    "distributed", "distributed_timeout", "shard_optimizer", "seeds", "checkpoint_epochs", "checkpoint_minutes",
    "on_divergence",
)  # fmt: skip


@dataclass(repr=False)
class Fitted:
    """The result of one config of fit_many: a network with the weights of its best epoch, or an error.

    If there is an error, all but the config and the error are None.

    Parameters
    ----------
    config : Config
        The options of the training.
    network : FeedForwardNeuralNetwork, optional
        The network.
    history : History, optional
        The figures of every batch and epoch.
    best_epoch : int, optional
        Counted from 1.
    best : float, optional
        The value of `monitor` in that epoch, by default the validation accuracy (0..1), or for numbers to predict the
        validation loss.
    error : FastffError, optional
        Why there is no network.
    monitor : str, optional
        What the best epoch was chosen by.
    """

    config: Config
    network: FeedForwardNeuralNetwork | None = None
    history: History | None = None
    best_epoch: int | None = None
    best: float | None = None
    error: FastffError | None = None
    monitor: str | None = None

    def __repr__(self) -> str:
        """The options that are not as by default, and the best epoch, or the error."""
        options = ((field.name, repr(getattr(self.config, field.name)), field.default) for field in fields(Config))
        said = [f"{name}={value}" for name, value, default in options if value != repr(default)]
        if self.error is not None:
            said.append(shorten(f"{type(self.error).__name__}: {self.error}", 120))
        elif self.best is not None:
            said.append(f"{self.monitor} {self.best:.3f} in epoch {self.best_epoch}")
        return f"Fitted({', '.join(said)})"


def fit_many(
    configs: Sequence[Config],
    data: Dataset | str | PathLike[str],
    *,
    jobs: int | None = None,
    on_fitted: Callable[[Fitted], Any] | None = None,
) -> list[Fitted]:
    """Train a network for each config on the same data, `jobs` at a time.

    The jobs share the data without copies, and the same seed gives the same bits with any number of jobs. A config that
    cannot be trained, or diverges, has its error in the list, and the others are trained all the same. Ctrl-C ends all.

    Parameters
    ----------
    configs : sequence of Config
        The options that fastff.train has; those about data, folders, logs and divergence are refused. A loss that is
        not finite ends that network's training.
    data : Dataset, str or path-like
        A Dataset, or what load_dataset takes; without validation rows a tenth of the training rows is held out.
    jobs : int, optional
        By default the number of CPUs that this process may use; with several jobs, each network is trained by one
        thread.
    on_fitted : callable, optional
        Called with each result as soon as there is one, never twice at the same time.

    Returns
    -------
    list of Fitted
        The results in the order of configs.

    Raises
    ------
    ArgumentError
        For bad configs or jobs.
    DataError
        For data that cannot be used.

    Examples
    --------
    >>> from fastff import Config, fit_many
    >>> fitted = fit_many([Config(hidden=(32,), epochs=10, step_size=0.01, seed=seed) for seed in range(3)], "digits")
    >>> len(fitted), fitted[0].best > 0.5
    (3, True)
    """
    configs = check_list("configs", configs, "a sequence of fastff.Config")
    for i, config in enumerate(configs):
        _check(config, f"configs[{i}]")
    jobs = usable_cpus() if jobs is None else check_size("jobs", jobs)
    data = (data if isinstance(data, Dataset) else load_dataset(data)).with_validation()
    fitted = [Fitted(config) for config in configs]
    fronts = _Fronts(data)
    todo = [item for item in fitted if fronts.prepare(item)]
    if on_fitted is not None:
        for item in fitted:
            if item.error is not None:
                on_fitted(item)

    work = SideBySide()
    context = ALONE if jobs == 1 else RunContext(beside=work)

    def fit(item: Fitted) -> None:
        try:
            _fit(item, data, fronts, context)
        except FastffError as error:
            item.error = error
        if on_fitted is not None:
            on_fitted(item)

    if jobs == 1:
        for item in todo:
            fit(item)
    else:
        work.run(fit, todo, jobs)
    return fitted


def _check(config: Config, name: str) -> None:
    """ArgumentError unless this is a config of which every option means something here."""
    if not isinstance(config, Config):
        raise ArgumentError(f"{name}: {type(config).__name__}, want a fastff.Config")
    for option in COMMAND_ONLY:
        value = getattr(config, option)
        if value != getattr(Config, option):
            raise ArgumentError(f"{name}: {option} {value!r} is for the command fastff.train, want it left out")


class _Fronts:
    """The layers that standardise and whiten, fitted once for all configs with the same options for them."""

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._made: dict[tuple[int, ...], list[Layer]] = {}

    def prepare(self, item: Fitted) -> bool:
        """Compile the kernels and fit the layers for a config before training starts; False if it is in error."""
        try:
            resolve_precision(item.config.precision)
            self.of(item.config)
        except FastffError as error:
            item.error = error
        return item.error is None

    def of(self, config: Config) -> list[Layer]:
        key = tuple(getattr(config, name) for name in FRONT)
        if key not in self._made:
            self._made[key] = preprocessing(config, self._data)
        return self._made[key]


def _fit(item: Fitted, data: Dataset, fronts: _Fronts, context: RunContext) -> None:
    trainer = make_trainer(item.config, data, front=fronts.of(item.config))
    trainer.context = context
    splits, weights = (data.x_train, data.y_train, data.x_val, data.y_val), row_weights(item.config, data)
    history = trainer.fit(*splits, epochs=item.config.epochs, sample_weight=weights)
    trainer.restore_best()
    item.network, item.history = trainer.network, history
    if trainer.best is not None:
        item.best_epoch, item.best, item.monitor = trainer.best.epoch, trainer.best.value, trainer.monitor
