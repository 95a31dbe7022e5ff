"""The ranks other than 0: each has the data and the network, and does what rank 0 tells it.

A rank that fails says why in one line, and ends the whole job: the others would wait for it.
"""

import signal
import traceback
import warnings
from typing import Any

import numpy as np

from fastff.data import Dataset, load_dataset
from fastff.data.rows import Rows, Shards, check_labels, check_rows
from fastff.data.splits import digests_of
from fastff.distributed.group import DistributedError, Group, abort, say
from fastff.distributed.home import Home
from fastff.distributed.steps import SharedEvaluation, SharedSteps
from fastff.errors import FastffError
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.training.trainer import Trainer

SHARD_ROWS = 1000  # rows of shards that ranks compare


def follow(group: Group, data: Dataset | None = None) -> None:
    """Serve rank 0 until it says that this is the end. data: where rank 0 does not tell what to load."""
    for number in (signal.SIGINT, signal.SIGTERM):  # launchers pass them to all; rank 0 ends the run, and saves it
        signal.signal(number, signal.SIG_IGN)
    try:
        follower = Follower(group, data)
        while True:
            name, *arguments = group.told()
            if name == "end":
                break
            getattr(follower, name)(*arguments)
            group.done()
    except (FastffError, MemoryError) as error:
        say(group, error)
        abort(1)
    except BaseException:
        say(group, traceback.format_exc())
        abort(1)
    group.part(together=True)


class Follower:
    """What rank 0 can tell the others, a method each."""

    trainer: Trainer
    home: Home
    steps: SharedSteps
    evaluation: SharedEvaluation

    def __init__(self, group: Group, data: Any) -> None:
        self.group, self.data = group, data

    def load(self, dataset: str, loading: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Read the data set that rank 0 has read, of which the same must be found as there: see `found_in`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rank 0 has said them
            self.data = load_dataset(dataset, **loading).with_validation()
        for what, found in found_in(self.data).items():
            if found != wanted[what]:
                raise DistributedError(f"{dataset}: holds {what} {found}, want {wanted[what]} as on rank 0")

    def wait_for(self, seconds: float) -> None:
        """Take over how long silence may last."""
        self.group.wait_for(seconds)

    def train(self, arrays: dict[str, np.ndarray], layers: list[Any], sharded: bool, settings: dict[str, Any]) -> None:
        """Make the network and what trains it."""
        network = FeedForwardNeuralNetwork.holding(arrays, layers, "rank 0's network")
        self.trainer, data = Trainer(network, **settings), self.data
        home = self.home = Home(self.group, self.trainer, sharded=sharded)
        fit = self.trainer.what_to_fit(*self._checked(data.x_train, data.y_train))
        self.steps = SharedSteps(fit, self.group, home)
        if data.x_val is not None and data.y_val is not None:
            self.evaluation = SharedEvaluation(self.trainer, *self._checked(data.x_val, data.y_val), self.group)

    def run(self, epoch: int, count: int, first: int, hyper: np.ndarray, threads: int) -> None:
        """Steps of `count` epochs from this one on, from step `first` of it."""
        rows = len(self.data.x_train)
        orders = np.array([self.trainer.order(e, rows) for e in range(epoch, epoch + count)])
        self.steps.run(epoch, orders, first, hyper, threads)

    def validate(self, spread: bool) -> None:
        """Take part in a validation; spread: of weights that rank 0 has put in the place of those that are trained."""
        if spread:
            self.home.spread()
        self.evaluation()

    def _checked(self, X: Rows, Y: np.ndarray) -> tuple[Rows, np.ndarray]:
        network = self.trainer.network
        return check_rows(X, "X", features=network.input_dim), check_labels(
            Y, "Y", rows=len(X), classes=network.output_dim
        )


def found_in(data: Dataset) -> dict[str, Any]:
    """What must be the same on all ranks, by name: the shapes and types of what is trained and validated on, what the
    classes are called, and a hash of the values. Of rows that stay in their files, SHARD_ROWS are hashed."""
    pairs = [(x, y) for x, y in ((data.x_train, data.y_train), (data.x_val, data.y_val)) if x is not None]
    arrays = [(array.shape, array.dtype.name) for pair in pairs for array in pair if array is not None]
    return {
        "arrays": arrays,
        "classes": list(data.class_names),
        "values with the hash": digests_of(*((_some(x), y) for x, y in pairs)),
    }


def _some(X: Rows) -> np.ndarray:
    """All rows, or of Shards a few evenly spaced ones."""
    return X[np.linspace(0, len(X) - 1, SHARD_ROWS).astype(np.int64)] if isinstance(X, Shards) else X
