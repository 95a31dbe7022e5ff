"""How a program is started: its table made, its operations compiled, its threads run, and what the run leaves."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastff.engine.side_by_side import SideBySide
from fastff.engine.threads import run_ranks
from fastff.errors import ArgumentError
from fastff.kernels import compiler, operation
from fastff.kernels import run as driver
from fastff.kernels.optimizer import HYPER

if TYPE_CHECKING:
    from fastff.engine.program import Program

# A call this small runs in the caller's thread: starting another would take longer, and Ctrl-C can wait as long
FLOPS_INLINE = 100_000_000
_STEP_SLOTS = 32  # int64 that a thread has for what a step gives: no two threads share a cache line


@dataclass
class Outcome:
    """What a run left: losses (summed over each batch's rows) and hits, a step each, and how far it came."""

    losses: np.ndarray
    hits: np.ndarray
    _next: np.ndarray
    steps: int

    @property
    def done(self) -> int:
        """The step that comes next: `steps` unless the loss was not finite, or a stop was asked for."""
        return int(self._next[0])


@dataclass
class EpochEnd:
    """What is run on other rows at an epoch's end: their order, the rows of a batch, and where its figures go."""

    order: np.ndarray
    rows: int
    losses: np.ndarray
    hits: np.ndarray


class Table:
    """The rows of a program as the kernels read them, and the plan of a run over them."""

    def __init__(self, program: "Program") -> None:
        sections = program.sections()
        rows = [row for section in sections for row in section]
        start = time.perf_counter()
        for row in rows:
            _ = row.operation.address
        driver.run.load()
        self.seconds = time.perf_counter() - start  # of compiling or loading
        try:
            encoded = [row.encode() for row in rows]
        except operation.FieldError as error:
            raise ArgumentError(str(error)) from None
        width = max(map(len, encoded), default=1)
        self.memory = np.zeros((len(rows), width), np.int64)
        for line, values in zip(self.memory, encoded, strict=True):
            line[: len(values)] = values
        self.plan = np.zeros(driver.PLAN, np.int64)
        self.plan[driver.TABLE], self.plan[driver.COLUMNS] = _address(self.memory), width
        self.plan[driver.BEFORE : driver.AFTER + 1] = np.cumsum([len(section) for section in sections])
        self.plan[driver.OTHER_BATCH] = 1
        if program.epoch_end is not None:
            end, other = program.epoch_end, slice(driver.OTHER_INDEX, driver.OTHER_HITS + 1)
            self.plan[other] = _address(end.order), len(end.order), end.rows, _address(end.losses), _address(end.hits)
        # Arrays that belong to a user, who may do with them what he likes between two runs
        self._indexed = [(a, _address(a), a.shape, a.strides) for a in program.indexed if isinstance(a, np.ndarray)]

    def check_index(self, index: Any, program: "Program") -> np.ndarray:
        """index, which must be int64 and name rows that there are; ArgumentError otherwise."""
        if not isinstance(index, np.ndarray) or index.dtype != np.int64 or index.ndim not in (1, 2) or not index.size:
            found = f"{index.dtype} {index.shape}" if isinstance(index, np.ndarray) else type(index).__name__
            raise ArgumentError(f"the order of the rows: {found}, want int64 row numbers, (rows,) or (epochs, rows)")
        for array, *before in self._indexed:
            if [_address(array), array.shape, array.strides] != before:
                raise ArgumentError(
                    f"an array of {len(array)} rows was resized while it was in use, want it left alone"
                )
        rows = min((len(array) for array in program.indexed), default=None)
        if rows is not None and (index.min() < 0 or index.max() >= rows):
            raise ArgumentError(
                f"the order of the rows: goes from {index.min()} to {index.max()}, want row numbers below {rows}"
            )
        if any(len(array) < index.shape[-1] for array in program.filled):
            raise ArgumentError(f"the order of the rows: {index.shape[-1]} rows, want at most {len(program.filled[0])}")
        epochs = index.shape[0] if index.ndim == 2 else 1
        if epochs > program.most_epochs:
            raise ArgumentError(
                f"the order of the rows: {epochs} epochs, want at most {program.most_epochs} in one run"
            )
        return np.ascontiguousarray(index)


def run(
    program: "Program", index: np.ndarray, *, first_step: int, hyper: np.ndarray | None, threads: int | None
) -> Outcome:
    """Program.run, which see."""
    program.outcome = None
    table = program.table()
    index = table.check_index(index, program)
    total = index.shape[-1]
    in_epoch = -(-total // program.rows)
    steps = index.size // total * in_epoch
    losses, hits = np.zeros(steps), np.zeros(steps, np.int64)
    size = program.threads_for(threads, steps - first_step)
    control = program.control = np.zeros(driver.control_slots(size), np.int64)
    control[driver.NEXT] = first_step
    outcome = program.outcome = Outcome(losses, hits, control[driver.NEXT : driver.NEXT + 1], steps)
    numbers = 0 if hyper is None else _address(_checked(hyper, steps - first_step))
    plan, own = table.plan, np.zeros((size, _STEP_SLOTS), np.int64)
    plan[driver.INDEX : driver.HITS + 1] = (
        _address(index), total, program.rows, first_step, steps, numbers, _address(losses), _address(hits)
    )  # fmt: skip
    addresses = [_address(array) for array in (control, plan, *own)]

    def call(thread: int) -> None:
        driver.run(thread, size, addresses[0], addresses[1], addresses[2 + thread])

    def stop(abandon: bool) -> None:
        control[driver.ABANDON if abandon else driver.STOP] = 1

    def position() -> int:
        epoch, step = divmod(outcome.done, in_epoch)
        return epoch * total + step * program.rows

    others = SideBySide.in_force()
    with nullcontext() if program.stream is None else program.stream.running(index.reshape(-1), position):
        if others is not None:
            others.native(call, stop)
        elif size == 1 and program.flops * (steps - first_step) < FLOPS_INLINE:
            call(0)
        else:
            run_ranks(call, size, stop, control[driver.SEEN :: driver.LINE])
    return outcome


def runner(program: "Program", index: np.ndarray) -> Callable[[int], None]:
    """Program.runner, which see; index: the numbers of the batch's rows."""
    table, control, own = program.table(), np.zeros(driver.control_slots(1), np.int64), np.zeros(_STEP_SLOTS, np.int64)
    plan = table.plan
    plan[driver.INDEX], plan[driver.LAST] = _address(index), 1
    addresses = _address(control), _address(plan), _address(own)

    def run_rows(count: int, kept: object = (program, table, control, own, index)) -> None:
        plan[driver.TOTAL] = plan[driver.BATCH] = count
        driver.run(0, 1, *addresses)

    return run_rows


def kernels_cached(name: str = "run.run") -> bool:
    """Whether the machine code of the driver, or of what is called so, is in the cache already."""
    folder = compiler.cache_dir()
    return folder is not None and any(folder.glob(f"{name}*.nbi"))


def _checked(hyper: np.ndarray, steps: int) -> np.ndarray:
    if hyper.dtype != np.float32 or hyper.shape != (steps, 2, HYPER) or not hyper.flags.c_contiguous:
        raise ArgumentError(
            f"the optimizer's numbers: {hyper.dtype} {hyper.shape}, want float32 ({steps}, 2, {HYPER}), contiguous"
        )
    return hyper


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
