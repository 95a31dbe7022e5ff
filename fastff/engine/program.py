"""A program for the kernels: the operations of a network, or of one layer, on memory of its own.

Layers add their operations with `add`, which turns arrays into addresses and keeps the arrays alive. Activations travel
from layer to layer as `Lanes`: a batch in the kernels' panels, that only kernels read. fastff.kernels.spmd says
what the operations are, and why a program is data.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastff.data.rows import Rows, Shards
from fastff.engine import panels
from fastff.engine.context import ALONE, RunContext
from fastff.engine.readahead import Stream
from fastff.engine.threads import run_threads
from fastff.errors import DataError
from fastff.kernels import compiler, spmd
from fastff.kernels.lanes import FLOAT32, FLOAT64, UINT8
from fastff.kernels.pointwise import IDENTITY, RELU
from fastff.kernels.softmax import RESULT
from fastff.kernels.target import LANES
from fastff.system.limits import check_room, usable_cpus

_DTYPES = {np.dtype(np.float32): FLOAT32, np.dtype(np.uint8): UINT8, np.dtype(np.float64): FLOAT64}
# Work that a thread must have to be worth its barriers, and to be worth starting: floating-point operations of a step,
# and of a run
FLOPS_PER_STEP = 400_000
FLOPS_PER_START = 40_000_000
# A call this small runs in the caller's thread: starting another would take longer, and Ctrl-C can wait as long
FLOPS_INLINE = 100_000_000


@dataclass(eq=False)
class Lanes:
    """A batch of `features` values a row, in panels, and the operation that made it."""

    memory: np.ndarray
    features: int
    maker: list[int] | None = None
    rounded: np.ndarray | None = None  # the right form, of bfloat16 (fastff.engine.bfloat16)


class Program:
    """Operations for batches of at most `rows` rows. One program is used by one thread at a time."""

    _FORWARD, _BACKWARD = spmd.FORWARD, spmd.BACKWARD

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.flops = 0  # of a full batch
        self._classes = 0  # that the labels need
        self._room = 0  # bytes of activations and gradients
        self._table: list[list[int]] = []
        self._kept: list[np.ndarray] = []
        self._stream: Stream | None = None  # the rows, where they are read from files
        self.outcome: Outcome | None = None  # of the last run, or the run under way
        self.control = np.zeros(spmd.control_slots(1), np.int64)  # of that run

    # --- building ---

    def add(self, code: int, *arguments: "np.ndarray | Lanes | int", barrier: bool = True) -> list[int]:
        row = [code, int(barrier)]
        for argument in arguments:
            if isinstance(argument, Lanes):
                argument = argument.memory
            if isinstance(argument, np.ndarray):
                self._kept.append(argument)
                argument = argument.ctypes.data
            row.append(argument)
        row += [0] * (spmd.COLUMNS - len(row))
        self._table.append(row)
        return row

    def lanes(self, features: int) -> Lanes:
        self._room += 4 * features * self.rows
        check_room(f"a batch of {self.rows:,} rows", self._room)
        return Lanes(panels.lanes(features, self.rows), features)

    def gather(
        self,
        rows: Rows,
        mean: np.ndarray | None = None,
        scale: np.ndarray | None = None,
        *,
        in_batch: bool = False,
    ) -> Lanes:
        """The batch of rows (N, D), uint8, float32 or float64, as (rows - mean) * scale; mean float64, scale float32.

        in_batch says that rows are the batch itself, in its order, and not what the run's index picks from. Shards are
        read from their files while the program runs.
        """
        if isinstance(rows, Shards):
            rows, in_batch = self._read(rows), True
        x = self.lanes(rows.shape[1])
        zeros, ones = _neutral(rows.shape[1])
        mean = zeros if mean is None else np.asarray(mean, np.float64)
        own_index = _counting(self.rows) if in_batch else 0
        x.maker = self.add(spmd.GATHER, rows, _DTYPES[rows.dtype], *rows.strides, mean,
                 ones if scale is None else scale, rows.shape[1], x, own_index)  # fmt: skip
        return x

    def augment(
        self, rows: Rows, shape: tuple[int, int, int], *, mirror: bool, shift: int, key: np.ndarray
    ) -> np.ndarray:
        """The batch of pictures rows (N, D), changed at random: an array to gather from with in_batch."""
        own_index: np.ndarray | int = 0
        if isinstance(rows, Shards):
            rows, own_index = self._read(rows), _counting(self.rows)
        rows = rows if rows.strides[1] == rows.itemsize else np.ascontiguousarray(rows)
        batch = panels.aligned(self.rows * rows.shape[1], rows.dtype.type).reshape(self.rows, -1)
        numbers = np.array([*shape, mirror, shift], np.int64)
        self.add(spmd.AUGMENT, rows, _DTYPES[rows.dtype], rows.strides[0], key, numbers, batch, own_index)
        return batch

    def _read(self, rows: Shards) -> np.ndarray:
        """The batch of rows as they are in their files."""
        stream = self._stream = Stream(rows)
        batch = panels.aligned(self.rows * rows.shape[1], rows.dtype.type).reshape(self.rows, -1)
        picked = 0 if stream.picked is None else stream.picked
        self.add(spmd.READ, stream.table, len(rows.files), picked, stream.width, batch, stream.state)
        return batch

    def scatter(self, x: Lanes, rows: int) -> np.ndarray:
        """A new array (rows, features), float32, that the program fills batch by batch."""
        check_room(f"an array of {rows:,} x {x.features:,} values", 4 * rows * x.features)
        out = np.empty((rows, x.features), np.float32)
        self.add(spmd.SCATTER, x, x.features, out)
        return out

    def linear(self, x: Lanes, weights: np.ndarray, bias: np.ndarray, n_out: int) -> Lanes:
        y = self.lanes(n_out)
        self.flops += 2 * self.rows * x.features * n_out
        y.maker = self.add(spmd.FORWARD, x, y, weights, bias, x.features, n_out, IDENTITY)
        return y

    def activate(self, x: Lanes, function: int) -> Lanes:
        """function(x). Behind a linear layer it overwrites the layer's output; a ReLU becomes part of the layer."""
        if x.maker is None or x.maker[spmd.CODE] != self._FORWARD:
            y = self.lanes(x.features)
        else:
            y = Lanes(x.memory, x.features)
            if function == RELU:
                x.maker[spmd.ARGUMENTS + 6] = RELU
                return y
        self.add(spmd.ACTIVATE, x, y, function, x.features)
        return y

    def derive(self, g: Lanes, h: Lanes, function: int) -> Lanes:
        """g * function'(z) in place, from h = function(z); a ReLU's becomes part of the product that made g."""
        if function == RELU and g.maker is not None and g.maker[spmd.CODE] == self._BACKWARD:
            g.maker[spmd.ARGUMENTS + 2] = h.memory.ctypes.data
            g.maker[spmd.ARGUMENTS + 6] = RELU
            self._kept.append(h.memory)
        else:
            self.add(spmd.DERIVE, g, h, function, g.features)
        return Lanes(g.memory, g.features)

    def transpose(self, g: Lanes) -> np.ndarray:
        """g as the update reads it."""
        gt = panels.lanes(g.features, self.rows)
        self.add(spmd.TRANSPOSE, g, gt, g.features)
        return gt

    def linear_backward(self, g: Lanes, weights: np.ndarray, n_in: int, *, barrier: bool = False) -> Lanes:
        """The input's gradient. An update that follows needs no barrier: a rank has the same rows in both."""
        dx = self.lanes(n_in)
        self.flops += 2 * self.rows * g.features * n_in
        dx.maker = self.add(spmd.BACKWARD, g, dx, dx, weights, n_in, g.features, IDENTITY, barrier=barrier)
        return dx

    def update(
        self, x: Lanes, gt: np.ndarray, weights: Sequence[np.ndarray], bias: Sequence[np.ndarray], n_out: int
    ) -> None:
        """The optimizer's step; weights and bias are each the values and their two moments."""
        self.flops += 2 * self.rows * x.features * n_out
        self.add(spmd.UPDATE_BIAS, gt, *bias, n_out, barrier=False)
        self.add(spmd.UPDATE, x, gt, *weights, x.features, n_out)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """The labels (N,) int64 of the batch, in its order; put this before the gather, whose barrier it shares."""
        self._classes = int(labels.max()) + 1
        batch = panels.aligned(panels.round_up(self.rows, LANES), np.int32)
        self.add(spmd.LABELS, labels, batch, barrier=False)
        return batch

    def cross_entropy(
        self,
        z: Lanes,
        labels: np.ndarray,
        smoothing: float,
        *,
        gradient: bool,
        halt: bool = False,
        weights: Lanes | None = None,
    ) -> Lanes | None:
        """The loss, and its gradient if asked for; with halt, a loss that is not finite ends the run there.

        weights: one feature, the weight of each row; the gradient is that of the weighted mean.
        """
        if self._classes > z.features:  # where the network did not say how wide it is: the kernel would read beyond it
            raise DataError(f"labels: {self._classes - 1}, want class numbers below the {z.features} of the network")
        g = self.lanes(z.features) if gradient else None
        self.add(spmd.LOSS, z, 0 if g is None else g, z.features, labels, np.array([smoothing], np.float32),
                 *self._loss_ends(halt, weights))  # fmt: skip
        return g

    def target_loss(self, z: Lanes, targets: Lanes, kind: int, *, halt: bool, weights: Lanes | None = None) -> Lanes:
        """The gradient of a loss of fastff.kernels.targets, whose value the run leaves; the rest as cross_entropy."""
        g = self.lanes(z.features)
        self.add(spmd.TARGET_LOSS, z, g, z.features, targets, kind, *self._loss_ends(halt, weights))
        return g

    def _loss_ends(self, halt: bool, weights: Lanes | None) -> "tuple[np.ndarray | Lanes | int, ...]":
        scratch = panels.aligned(panels.round_up(self.rows, LANES) // LANES * RESULT, np.uint8)
        return scratch, int(halt), np.ones(LANES, np.float32) if weights is None else weights, int(weights is not None)

    def end_epochs(
        self,
        order: np.ndarray,
        program: "Program | None",
        losses: np.ndarray,
        hits: np.ndarray,
        copies: list[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """After each epoch run another program over the rows that order names, and then make copies; the last to add.

        losses (float64), hits (int64): (epochs, batches of that program). copies: pairs of an array and a place for it
        after each epoch, (epochs, size). The epochs are those of a run.
        """
        self.add(spmd.EPOCH, order, len(order), 1 if program is None else program.rows, losses, hits)
        if program is not None:
            self._table += program._table
            self._kept += program._kept
        for array, places in copies:
            self.add(spmd.KEEP, array, array.nbytes, places)

    # --- running ---

    @property
    def streams(self) -> bool:
        """Whether rows are read from files as it runs."""
        return self._stream is not None

    @staticmethod
    def call(*arguments: "int | np.ndarray") -> None:
        """One rank's part of a run: fastff.kernels.spmd.run."""
        spmd.run(*arguments)

    def begin(self) -> None:
        """What a run does before its steps."""

    @property
    def table(self) -> np.ndarray:
        """The operations as the kernels read them: (operations, COLUMNS) int64."""
        return np.array(self._table, np.int64)

    def threads_for(self, wanted: int | None, steps: int, context: RunContext = ALONE) -> int:
        """`wanted`, or as many threads as have work enough in a run of so many steps; one beside other trainings."""
        if context.beside is not None:
            return 1
        if wanted is not None:
            return wanted
        most = min(self.flops // FLOPS_PER_STEP, self.flops * steps // FLOPS_PER_START)
        return max(1, min(usable_cpus(), most))

    def runner(self) -> Callable[[int], None]:
        """A function that runs the first rows of one batch, as many as it is told, at once and in the caller's thread.

        For programs without a loss or an update, which `run` would have to make room for.
        """
        table, control, index = self.table, np.zeros(spmd.control_slots(1), np.int64), _counting(self.rows)
        addresses = control.ctypes.data, index.ctypes.data
        compile_kernels()

        def run(count: int, kept: object = (self, table, control, index)) -> None:
            spmd.run(0, 1, addresses[0], table, addresses[1], count, count, 0, 1, 0, 0, 0)

        return run

    def run(
        self,
        index: np.ndarray | None = None,
        *,
        first_step: int = 0,
        hyper: np.ndarray | None = None,
        threads: int | None = None,
        context: RunContext = ALONE,
    ) -> "Outcome":
        """Run over the rows that index names, a batch a step, from first_step to the end.

        index: int64, (rows,), or (epochs, rows) for several epochs one after the other, whose steps are counted
        through; None takes rows 0, 1, ... of one batch. hyper: the optimizer's numbers, a row a step from first_step
        on. Raises KeyboardInterrupt after the step during which Ctrl-C came; `outcome` says how far it came.
        """
        self.outcome = None
        index = _counting(self.rows) if index is None else index
        total = index.shape[-1]
        steps = index.size // total * -(-total // self.rows)
        table = self.table
        losses, hits = np.zeros(steps), np.zeros(steps, np.int64)
        size = self.threads_for(threads, steps - first_step, context)
        control = self.control = np.zeros(spmd.control_slots(size), np.int64)
        control[spmd.STEP] = first_step
        outcome = self.outcome = Outcome(losses, hits, control[spmd.STEP : spmd.STEP + 1], steps)
        numbers = 0 if hyper is None else hyper.ctypes.data

        def call(rank: int) -> None:
            self.call(rank, size, control.ctypes.data, table, index.ctypes.data, total, self.rows, first_step, steps,
                     numbers, losses.ctypes.data, hits.ctypes.data)  # fmt: skip

        def stop(abandon: bool) -> None:
            control[spmd.ABANDON if abandon else spmd.STOP] = 1

        compile_kernels(self.call)
        self.begin()
        an_epoch = -(-total // self.rows)

        def position() -> int:
            epoch, step = divmod(outcome.done, an_epoch)
            return epoch * total + step * self.rows

        with nullcontext() if self._stream is None else self._stream.running(index.reshape(-1), position):
            if context.beside is not None:
                context.beside.native(call, stop)
            elif size == 1 and self.flops * (steps - first_step) < FLOPS_INLINE:
                call(0)
            else:
                run_threads(call, size, stop, control[spmd.SEEN :: spmd.LINE], context.signals)
        return outcome


@dataclass
class Outcome:
    """What a run left: losses (summed over each batch's rows) and hits, a step each, and how far it came."""

    losses: np.ndarray
    hits: np.ndarray
    _done: np.ndarray
    steps: int

    @property
    def done(self) -> int:
        """The step that comes next: `steps` unless the loss was not finite, or a stop was asked for."""
        return int(self._done[0])


@lru_cache
def compile_kernels(call: Callable[..., None] = Program.call) -> float:
    """Compile the kernels that a kind of program calls, or load them; the seconds it took. Once a process."""
    start = time.perf_counter()
    nothing = np.zeros((0, spmd.COLUMNS), np.int64)
    call(0, 1, 0, nothing, 0, 0, 1, 0, 0, 0, 0, 0)
    return time.perf_counter() - start


def kernels_cached(module: str = "spmd") -> bool:
    """True where compile_kernels will find its work done; module: which of the kernels' modules has the `run`."""
    return any(compiler.cache_dir().glob(f"{module}.run*.nbi"))


@lru_cache(maxsize=32)
def _neutral(features: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(features), np.ones(features, np.float32)


@lru_cache(maxsize=32)
def _counting(rows: int) -> np.ndarray:
    return np.arange(rows)
