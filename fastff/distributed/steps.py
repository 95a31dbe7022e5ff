"""The batches of epochs, of which each process does its share of the rows: with one result, whoever counts them.

A batch's rows are dealt out one after the other: rank 0 has the first of them, the last rank the last. A rank whose
share of a small last batch is empty goes through one row that counts nothing, because all must meet at every step.
"""

import math

import numpy as np

from fastff.data.rows import Rows, Shards
from fastff.distributed.group import DistributedError, Group
from fastff.distributed.home import Home
from fastff.distributed.programs import SharedProgram
from fastff.engine.batches import Batches
from fastff.engine.program import Program
from fastff.engine.run import Outcome
from fastff.kernels import optimizer, run
from fastff.system.signals import SaveDue
from fastff.training.evaluation import EVALUATION_ROWS, Evaluation, behind_whitening
from fastff.training.steps import Fit, ProgramSteps
from fastff.training.trainer import Trainer


class Shares:
    """Which rows of each of an epoch's batches are this rank's. sizes, firsts: (batches,), the batch's rows `whole`."""

    def __init__(self, batches: Batches, rank: int, size: int) -> None:
        starts, self.whole = batches.starts, batches.sizes
        self.firsts = self.whole // size * rank + np.minimum(self.whole % size, rank)
        self.sizes = self.whole // size + (rank < self.whole % size)
        # a row that counts nothing where there is none
        self._taken = np.maximum(self.sizes, 1)
        lo = np.where(self.sizes > 0, starts + self.firsts, starts)
        stretches = zip(lo, lo + self._taken, strict=True)
        self._places = np.concatenate([np.arange(a, b, dtype=np.int64) for a, b in stretches])
        self.rows = int(self._taken[0])

    def pick(self, orders: np.ndarray) -> np.ndarray:
        """This rank's rows (epochs, own rows) of whole epochs' (epochs, rows)."""
        return np.ascontiguousarray(orders[:, self._places])

    def mark(self, hyper: np.ndarray, first: int) -> np.ndarray:
        """The optimizer's numbers of steps from `first` on, with what this rank's rows count and where they begin."""
        steps = np.arange(first, first + len(hyper), dtype=np.int64) % len(self.whole)
        hyper = hyper.copy()
        hyper[..., optimizer.SCALE] = np.where(self.sizes > 0, 1 / self.whole, 0.0)[steps, None]
        hyper[..., optimizer.OFFSET] = self.firsts[steps, None]
        return hyper


class SharedSteps(ProgramSteps):
    """One process's share of the steps; all processes must call `run` alike."""

    program: SharedProgram

    def __init__(self, fit: Fit, group: Group, home: Home, *, epochs: int = 1) -> None:
        self.group, self.home = group, home
        self.shares = Shares(fit.batches, group.rank, group.size)
        super().__init__(fit, epochs=epochs)

    def make_program(self) -> Program:
        return self.home.program(self.shares.rows)

    def threads_for(self, steps: int) -> int:
        """The threads of each process, which is what rank 0 says."""
        useful = super().threads_for(steps)
        return useful if self.fit.threads else min(useful, self.group.threads)

    def run(self, epoch: int, orders: np.ndarray, first: int, hyper: np.ndarray, threads: int) -> None:
        """Do this rank's part; `outcome` then has what all of them together have done."""
        self.outcome = None
        self.fit.reseed(epoch, epochs=len(orders))
        own, numbers = self.shares.pick(orders), self.shares.mark(hyper, first)
        self.program.begin()
        try:
            self.program.run(own, first_step=first, hyper=numbers, threads=threads, context=self.fit.context)
        except (KeyboardInterrupt, SaveDue):  # which all have seen, and ended at the same step
            self._end(len(orders))
            raise
        self._end(len(orders))

    def _end(self, epochs: int) -> None:
        failed = int(self.program.control[run.FAILED])
        if failed:
            raise DistributedError(f"MPI has failed: {self.group.mpi.Get_error_string(failed)}")
        own, there = self.program.outcome, np.resize(self.shares.sizes > 0, epochs * len(self.shares.sizes))
        assert own is not None
        sums = self.group.comm.allgather((own.done, own.losses * there, own.hits * there))
        ends, losses, hits = zip(*sums, strict=True)
        self.program.end()
        if len(set(ends)) > 1:
            raise DistributedError(f"the ranks ended at different steps: {', '.join(map(str, ends))}")
        # in the ranks' order, so that all have the same bits
        self.outcome = Outcome(sum(losses), sum(hits), np.array(ends[:1], np.int64), own.steps)


class SharedEvaluation:
    """Loss and accuracy of a network over all rows, of which each process does its share."""

    def __init__(self, trainer: Trainer, X: Rows, Y: np.ndarray, group: Group) -> None:
        self.group, self.threads = group, trainer.threads or group.threads
        lo, hi = (len(X) * rank // group.size for rank in (group.rank, group.rank + 1))
        self.rows, self.all_rows = hi - lo, len(X)
        part = X.select(np.arange(lo, hi)) if isinstance(X, Shards) else X[lo:hi]
        self.own: Evaluation | None = None
        if self.rows:
            network, part = behind_whitening(trainer.network, part, self.threads)
            self.own = Evaluation(network, part, Y[lo:hi], EVALUATION_ROWS)

    def __call__(self) -> tuple[float, float]:
        """The mean loss and the accuracy, the same on every rank."""
        loss, accuracy = (0.0, 0.0) if self.own is None else self.own.run(self.threads)
        losses, hits = zip(*self.group.comm.allgather((loss * self.rows, round(accuracy * self.rows))), strict=True)
        return math.fsum(losses) / self.all_rows, sum(hits) / self.all_rows
