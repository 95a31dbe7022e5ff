"""Many networks at once: a sweep of options or seeds over one data set, one network a core."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

from fastff.data import Dataset, load_dataset
from fastff.engine.bfloat16 import prepare, resolve_precision
from fastff.engine.context import ALONE, RunContext
from fastff.engine.side_by_side import SideBySide
from fastff.errors import ArgumentError, FastffError
from fastff.nn.layers import Standardize
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.whiten import Whiten
from fastff.runs.build import make_trainer, preprocessing
from fastff.runs.config import Config
from fastff.system.arguments import check_size
from fastff.system.limits import usable_cpus
from fastff.training.history import History


@dataclass
class Fitted:
    """What became of one config of fit_many: a network with its best epoch's weights, or an error.

    history: every batch and epoch. best_epoch: counted from 1. best: the config's `monitor` then, by default the
    accuracy (0..1) on the validation rows. Where there is an error, the rest is None.
    """

    config: Config
    network: FeedForwardNeuralNetwork | None = None
    history: History | None = None
    best_epoch: int | None = None
    best: float | None = None
    error: FastffError | None = None


def fit_many(
    configs: Sequence[Config], data: Dataset | str | PathLike[str], *, jobs: int | None = None
) -> list[Fitted]:
    """Train a network for each config on the same data, `jobs` at a time, and return what became of them, in order.

    configs: as fastff.train would train them; what they say of data, folders and logs does not matter here, and a loss
    that is not finite ends that training, whatever on_divergence says. data: a Dataset, or what load_dataset takes;
    without validation rows a tenth of the training rows is held out. jobs: by default the CPUs that this process may
    use; with several, each network has one thread. The data are not copied, and the same seeds give the same bits with
    any number of jobs.

    A config that cannot be trained, or diverges, has its error in the list and costs the others nothing. Ctrl-C ends
    all. Raises ArgumentError for what are no configs or jobs, DataError for data that cannot be used.
    """
    configs = list(configs)
    for i, config in enumerate(configs):
        if not isinstance(config, Config):
            raise ArgumentError(f"configs[{i}]: {type(config).__name__}, want a fastff.Config")
    jobs = usable_cpus() if jobs is None else check_size("jobs", jobs)
    data = (data if isinstance(data, Dataset) else load_dataset(data)).with_validation()
    fitted = [Fitted(config) for config in configs]
    fronts = _Fronts(data)
    todo = [item for item in fitted if fronts.prepare(item)]

    work = SideBySide()
    context = ALONE if jobs == 1 else RunContext(beside=work)

    def fit(item: Fitted) -> None:
        try:
            _fit(item, data, fronts, context)
        except FastffError as error:
            item.error = error

    if jobs == 1:
        for item in todo:
            fit(item)
    else:
        work.run(fit, todo, jobs)
    return fitted


class _Fronts:
    """The layers that are fitted to the training rows, once for all configs that agree on them."""

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._made: dict[tuple[bool, int], list[Standardize | Whiten]] = {}

    def prepare(self, item: Fitted) -> bool:
        """Fit them, and compile the kernels, before others wait for it; False where the config does not allow it."""
        try:
            prepare(resolve_precision(item.config.precision))
            self.of(item.config)
        except FastffError as error:
            item.error = error
        return item.error is None

    def of(self, config: Config) -> list[Standardize | Whiten]:
        key = config.standardize, config.whiten
        if key not in self._made:
            self._made[key] = preprocessing(config, self._data)
        return self._made[key]


def _fit(item: Fitted, data: Dataset, fronts: _Fronts, context: RunContext) -> None:
    trainer = make_trainer(item.config, data, front=fronts.of(item.config))
    trainer.context = context
    history = trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=item.config.epochs)
    trainer.restore_best()
    item.network, item.history = trainer.network, history
    if trainer.best is not None:
        item.best_epoch, item.best = trainer.best.epoch, trainer.best.value
