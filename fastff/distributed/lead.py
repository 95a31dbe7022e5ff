"""Rank 0's side: the command itself, and a trainer whose steps and validations all ranks do together."""

from collections.abc import Callable
from functools import partial

import numpy as np

from fastff.data import Dataset
from fastff.data.rows import Rows
from fastff.distributed.follow import follow, found_in
from fastff.distributed.group import Group, join
from fastff.distributed.home import Home
from fastff.distributed.steps import SharedEvaluation, SharedSteps
from fastff.errors import ArgumentError
from fastff.runs.build import make_trainer
from fastff.runs.config import Config
from fastff.training.steps import Fit, Steps
from fastff.training.trainer import Trainer, Validate


def run(command: Callable[[list[str], Callable[[Config, Dataset], Trainer]], None], arguments: list[str]) -> None:
    """Run a command that makes its trainer with what it is given, on rank 0, with the others at its service."""
    group = join()
    if group.rank > 0:
        follow(group)
        return
    with group:
        command(arguments, partial(_make, group))


def _make(group: Group, options: Config, data: Dataset) -> Trainer:
    """make_trainer for all ranks, which read the data too. Raises ArgumentError for what cannot be distributed."""
    if data.task == "regress":
        raise ArgumentError(f"distributed: {data.name} holds numbers to predict, want it left out, or task classify")
    precision: str = options.precision
    if precision != "float32":
        raise ArgumentError(f"precision: {precision!r} with --distributed, want 'float32'")
    trainer = make_trainer(options, data, LeadingTrainer)
    assert isinstance(trainer, LeadingTrainer)
    trainer.group, trainer.sharded = group, options.shard_optimizer
    if options.distributed_timeout is not None:
        group.wait_for(options.distributed_timeout)
        group.tell("wait_for", options.distributed_timeout)
        group.done()
    group.tell("load", options.dataset, options.loading, found_in(data))
    group.done()
    return trainer


class LeadingTrainer(Trainer):
    """As any other trainer, but all ranks of `group` do the steps and the validation."""

    group: Group
    sharded = False
    home: Home | None = None

    def _build(
        self, fit: Fit, X_val: Rows | None, Y_val: np.ndarray | None, epochs: int
    ) -> tuple[Steps, Validate | None]:
        if fit.weights is not None or fit.criterion.task == "regress":
            found = "numbers to predict" if fit.weights is None else "sample_weight"
            raise ArgumentError(f"distributed: {found} in several processes, want a single one")
        if self.clip_norm is not None:
            raise ArgumentError(f"distributed: clip_norm {self.clip_norm} in several processes, want a single one")
        if self.home is None:
            arrays, description = self.network.contents()
            settings = {name: getattr(self, name) for name in ("optimizer", "batch_size", "seed", "threads")}
            settings["label_smoothing"] = self._settings()["label_smoothing"]
            copies = {name: np.asarray(array) for name, array in arrays.items()}
            self.group.tell("train", copies, description, self.sharded, settings)
            self.home = Home(self.group, self, sharded=self.sharded)
            self.group.done()
        validate = None
        if X_val is not None and Y_val is not None:
            validate = partial(self._validate, SharedEvaluation(self, X_val, Y_val, self.group))
        at_once = epochs if validate is None and self.monitor is None else 1  # it ends no epochs within a call
        return LeadingSteps(fit, self.group, self.home, epochs=at_once), validate

    def _validate(self, share: SharedEvaluation) -> tuple[float, float]:
        averages = self._averages  # which rank 0 alone has
        assert self.home is not None
        self.group.tell("validate", averages is not None)
        if averages is not None:
            averages.show()
            self.home.spread()
        figures = share()
        self.group.done()
        if averages is not None:
            averages.hide()
        return figures


class LeadingSteps(SharedSteps):
    """Rank 0's share of the steps, of which it tells the others."""

    def go(self, epoch: int, orders: np.ndarray, first: int, hyper: np.ndarray, threads: int) -> None:
        self.group.tell("run", epoch, len(orders), first, hyper, threads)
        try:
            self.run(epoch, orders, first, hyper, threads)
        finally:
            if self.outcome is not None:
                self.group.done()
