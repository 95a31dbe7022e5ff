"""A run of a program: its threads are started, watched and stopped, and its losses and hits are kept."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastff.engine.context import RunContext
from fastff.engine.readahead import Stream
from fastff.engine.table import Table
from fastff.engine.threads import run_threads
from fastff.errors import ArgumentError
from fastff.kernels import run as driver
from fastff.kernels import team
from fastff.kernels.operation import address
from fastff.kernels.optimizer import HYPER
from fastff.system.hold import check_whole

_STEP_SLOTS = 32  # int64 that a thread has for what a step gives: no two threads share a cache line


@dataclass
class Outcome:
    """What a run left: losses (summed over each batch's rows) and hits, a step each, and how far it came.

    hits: how many rows are right, or for a loss on target values the sum of their squared errors.
    """

    losses: np.ndarray
    hits: np.ndarray
    _next: np.ndarray
    steps: int

    @property
    def done(self) -> int:
        """The step that comes next: `steps` unless the loss was not finite, or a stop was asked for."""
        return int(self._next[0])


# The team and its pause at the end of the last run of this process that had several threads (fastff.kernels.team)
_account = np.zeros(team.KEPT, np.int64)


class Run:
    """Steps from first_step on over the rows that index names, in batches of `rows`; Program.run says more.

    hyper: the optimizer's numbers, float32 (steps, 2, HYPER), or None. threads: how many take part.
    """

    def __init__(
        self, table: Table, index: np.ndarray, rows: int, *, first_step: int, hyper: np.ndarray | None, threads: int
    ) -> None:
        self._index, self._rows, self._threads, self._plan = index.reshape(-1), rows, threads, table.plan
        self._total = index.shape[-1]
        self._in_epoch = -(-self._total // rows)
        steps = index.size // self._total * self._in_epoch
        if not 0 <= first_step <= steps:
            raise ArgumentError(f"the first step: {first_step}, want 0 to {steps}")
        # one piece of memory, of which the address is asked once: the control block, each thread's steps, losses, hits
        slots = driver.control_slots(threads)
        ends = slots, slots + threads * _STEP_SLOTS, slots + threads * _STEP_SLOTS + steps
        memory = np.zeros(ends[2] + steps, np.int64)
        self._at = address(memory)
        self._given, losses, hits = (self._at + 8 * end for end in ends)
        self.control = memory[:slots]
        self.control[driver.NEXT] = first_step
        next_step = memory[driver.NEXT : driver.NEXT + 1]
        self.outcome = Outcome(
            memory[ends[1] : ends[2]].view(np.float64), memory[ends[2] :].view(np.float64), next_step, steps
        )
        self._hyper = hyper if hyper is None else check_hyper(hyper, steps - first_step)
        if threads > 1:  # how busy the machine was in the last run, whichever program that ran
            account = self._plan[driver.ACCOUNT : driver.PLAN]
            before, account[: team.KEPT] = account[team.TEAM], _account
            self._plan[driver.FIRST_TEAM] = account[team.TEAM] = min(int(account[team.TEAM]) or threads, threads)
            if account[team.TEAM] != before:
                account[team.LEAST :] = 0
        self._plan[driver.INDEX : driver.HITS + 1] = (
            address(index), self._total, rows, first_step, steps, 0 if hyper is None else address(hyper), losses, hits,
        )  # fmt: skip

    def go(self, stream: Stream | None, context: RunContext, *, inline: bool) -> None:
        """Do the steps. stream: where rows are read from files. inline: in the caller's thread, with Ctrl-C to wait."""
        plan = address(self._plan)

        def call(thread: int) -> None:
            driver.run(thread, self._threads, self._at, plan, self._given + 8 * _STEP_SLOTS * thread)

        def stop(abandon: bool) -> None:
            self.control[team.ABANDON if abandon else driver.STOP] = 1

        with nullcontext() if stream is None else stream.running(self._index, self._position):
            if context.beside is not None:
                context.beside.native(call, stop)
            elif inline:
                call(0)
            else:
                run_threads(call, self._threads, stop, self.control[team.SEEN :: team.LINE], context.signals)
                if self._threads > 1 and self._plan[driver.ELASTIC]:
                    _account[:] = self._plan[driver.ACCOUNT :][: team.KEPT]

    def _position(self) -> int:
        """How many rows are done."""
        epoch, step = divmod(self.outcome.done, self._in_epoch)
        return epoch * self._total + step * self._rows


def runner(table: Table, index: np.ndarray, kept: Any) -> Callable[[int], None]:
    """Program.runner, which see. index: the numbers of the batch's rows. kept: what must live as long."""
    control, given, plan = np.zeros(driver.control_slots(1), np.int64), np.zeros(_STEP_SLOTS, np.int64), table.plan
    plan[driver.INDEX], plan[driver.LAST] = address(index), 1
    run, places = driver.run.load(), (address(control), address(plan), address(given))

    def run_rows(count: int, kept: object = (kept, table, control, given, index)) -> None:
        plan[driver.TOTAL] = plan[driver.BATCH] = count
        run(0, 1, *places)

    return run_rows


def check_hyper(hyper: Any, steps: int) -> np.ndarray:
    """The optimizer's numbers of so many steps; ArgumentError for what they could not be."""
    check_whole(hyper, "the optimizer's numbers")
    right = type(hyper) is np.ndarray and hyper.dtype == np.float32 and hyper.shape == (steps, 2, HYPER)
    if not right or not hyper.flags.c_contiguous:
        found = f"{hyper.dtype} {hyper.shape}" if type(hyper) is np.ndarray else type(hyper).__name__
        raise ArgumentError(f"the optimizer's numbers: {found}, want float32 ({steps}, 2, {HYPER}), contiguous")
    return hyper
