"""Programs of which each process runs its share of the rows: what stands between the way back and the update.

On one machine (MemoryProgram) the parameters lie in memory that all processes share, and each owns a part of them. A
process sums its rows' gradient for the others' parts into memory where they find it; all meet; then it computes its own
part, adds the others' sums while the tile is in registers, and lets the optimizer act on it: of a gradient, only what
others need ever touches memory, and nothing is sent. Over a network (MessageProgram) the gradient goes into one flat
buffer, and while the layers below are still at work an Allreduce, or a Reduce_scatter, runs on it bucket by bucket.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastff.distributed.group import DistributedError, Group
from fastff.engine import panels
from fastff.engine.panels import Panels
from fastff.engine.program import Program
from fastff.kernels import linear, processes, run
from fastff.kernels.cpu import MR, NR
from fastff.kernels.processes import FLAGS
from fastff.nn.optim import store_gradient

BUCKET = 1 << 18  # numbers that are worth a message of their own, 1 MB
KINDS = 3  # of each parameter: its value and two moments
# A stretch of the parameters whose gradient is one message, in segments: (start, stop, whether biases)
Bucket = list[tuple[int, int, bool]]


class SharedProgram(Program):
    """What both kinds share. After the network's operations, `finish` adds the last ones. flat: see Home."""

    shared = True

    def __init__(self, rows: int, group: Group, flat: np.ndarray) -> None:
        super().__init__(rows)
        self.group, self.flat = group, flat
        self._store = store_gradient()  # numbers for the kernels

    def linear_backward(self, g: Panels, weights: np.ndarray, n_in: int, *, barrier: bool = False) -> Panels:
        return super().linear_backward(g, weights, n_in, barrier=True)  # another process owns the rows of W

    def finish(self) -> None:
        raise NotImplementedError

    def begin(self) -> None:
        """Have everybody start from what rank 0 has."""
        raise NotImplementedError

    def end(self) -> None:
        """Have rank 0 know all, and see that all have the same bits."""

    def _at(self, array: np.ndarray) -> int:
        """How many numbers from the start of the parameters an array of values lies."""
        return (array.ctypes.data - self.flat.ctypes.data) // 4


class MemoryProgram(SharedProgram):
    """For processes on one machine. memory: bytes that all share, `bytes_for` many."""

    @staticmethod
    def bytes_for(group: Group, size: int, threads: int) -> int:
        control = 8 * run.control_slots(group.size * threads) + 4 * FLAGS * group.size + panels.LINE
        return control + 4 * size * (KINDS + group.size - 1)

    def __init__(self, rows: int, group: Group, flat: np.ndarray, rest: np.ndarray, threads: int) -> None:
        super().__init__(rows, group, flat)
        size = flat.shape[1]
        self._gradients = rest[: 4 * size * (group.size - 1)].view(np.float32).reshape(-1, size)
        rest = rest[self._gradients.nbytes :]
        self._flags = rest[: 4 * FLAGS * group.size].view(np.float32).reshape(group.size, -1)
        self.meeting = rest[4 * FLAGS * group.size :][: 8 * run.control_slots(group.size * threads)].view(np.int64)
        self._begun = False
        self._own: list[tuple[Panels, np.ndarray, Sequence[np.ndarray], Sequence[np.ndarray], int]] = []

    def linear(self, x: Panels, weights: np.ndarray, bias: np.ndarray, n_out: int) -> Panels:
        if not self._begun:  # all have updated their parts in the step before; batches are gathered without waiting
            self._begun = True
            self._await_others()
        return super().linear(x, weights, bias, n_out)

    def update(
        self, x: Panels, gt: np.ndarray, weights: Sequence[np.ndarray], bias: Sequence[np.ndarray], n_out: int
    ) -> None:
        """Sums for the others' parts now; this process's own part when all have come as far."""
        self.flops += 2 * self.rows * x.features * n_out
        rank, size = self.group.rank, self.group.size
        for owner in (*range(rank + 1, size), *range(rank)):
            room = self._gradients[(rank - owner - 1) % size]
            w, b = (room[self._at(values[0]) :] for values in (weights, bias))
            share = {"part": owner, "parts": size, "numbers": self._store, "barrier": False}
            self.update_bias(gt, [b] * 3, n_out, **share)
            self.update_weights(x, gt, [w] * 3, n_out, **share)
        self._own.append((x, gt, weights, bias, n_out))

    def finish(self) -> None:
        rank, size, gradients = self.group.rank, self.group.size, self._gradients
        self.add(processes.flag, flags=self._flags[rank], barrier=False)
        self._come()
        self._await_others()
        self.add(processes.agree, flags=self._flags.reshape(-1), processes=size, barrier=False)
        for x, gt, weights, bias, n_out in self._own:
            share = {"part": rank, "parts": size, "count": size - 1, "stride": gradients.strides[0], "barrier": False}
            w, b = (gradients.reshape(-1)[self._at(values[0]) :] for values in (weights, bias))
            self.update_bias(gt, bias, n_out, more=b, **share)
            self.update_weights(x, gt, weights, n_out, more=w, **share)
        self._come()

    def before_averages(self) -> None:
        self._await_others()  # the others' parts of the parameters; none changes before this process comes again

    def begin(self) -> None:
        if self.group.rank == 0:
            self.meeting[:] = 0
        self.group.comm.Barrier()

    def _come(self) -> None:
        # Whoever has come may gather the next batch, so this process's threads must be done with the last one
        self.add(processes.come, meeting=self.meeting, processes=self.group.size, process=self.group.rank)

    def _await_others(self) -> None:
        self.add(
            processes.await_others, meeting=self.meeting, processes=self.group.size, process=self.group.rank,
            barrier=False,
        )  # fmt: skip


class MessageProgram(SharedProgram):
    """For processes that exchange messages. With `sharded`, each keeps the moments of its part alone."""

    def __init__(self, rows: int, group: Group, flat: np.ndarray, *, sharded: bool) -> None:
        super().__init__(rows, group, flat)
        size = flat.shape[1]
        self.sharded = sharded
        self._gradient = panels.aligned(size)
        self._sum = panels.aligned(size) if sharded else self._gradient  # of all ranks; touched in its own part alone
        self._flags = panels.aligned(2)
        self._status = panels.aligned(64, np.int64)
        self._requests: list[np.ndarray] = []  # of the flags, and then one a bucket
        self.buckets: list[Bucket] = []
        self._bucket: Bucket = []  # that fills up
        self._handles = [group.handle(name) for name in ("FLOAT", "SUM", "comm")]

    def update(
        self, x: Panels, gt: np.ndarray, weights: Sequence[np.ndarray], bias: Sequence[np.ndarray], n_out: int
    ) -> None:
        """The gradient into the flat buffer, each bucket of it sent as soon as it is full."""
        self.flops += 2 * self.rows * x.features * n_out
        if not self._requests:
            self.add(processes.flag, flags=self._flags, barrier=False)
            self._send("MPI_Iallreduce", self.group.in_place, self._flags, 2)
        panel_size, at = panels.round_up(x.features, MR) * NR, self._at(weights[0])
        together = max(1, BUCKET // panel_size)
        last = panels.round_up(n_out, NR) // NR
        to = [self._gradient[at:]] * 3
        for first in range(0, last, together):
            end = min(last, first + together)
            self.update_weights(x, gt, to, n_out, numbers=self._store, first=first, last=end)
            self._fill(at + panel_size * first, at + panel_size * end, biases=False)
        at = self._at(bias[0])
        self.update_bias(gt, [self._gradient[at:]] * 3, n_out, numbers=self._store, barrier=True)
        self._fill(at, at + len(bias[0]), biases=True)

    def finish(self) -> None:
        values, *moments = self.flat
        self._ship()
        self._wait(0)
        self.add(processes.agree, flags=self._flags, processes=1, barrier=False)
        for i, bucket in enumerate(self.buckets):
            self._wait(i + 1)
            bounds = self.bounds(bucket)
            own = (bounds[self.group.rank], bounds[self.group.rank + 1]) if self.sharded else (0, len(values))
            for start, stop, biases in bucket:
                lo, hi = max(start, own[0]), min(stop, own[1])
                if lo < hi:
                    g, w, m, v = (array[lo:] for array in (self._sum, values, *moments))
                    self.add(linear.apply, g=g, w=w, m=m, v=v, panels=(hi - lo) // NR, biases=int(biases))
            if self.sharded:
                kind, _, comm = self._handles
                counts, places = np.diff(bounds).astype(np.int32), bounds[:-1].astype(np.int32)
                self._call("MPI_Allgatherv", self.group.in_place, 0, kind, values, counts, places, kind, comm)

    def begin(self) -> None:
        comm, (values, *moments) = self.group.comm, self.flat
        comm.Bcast(values)
        for row in moments:
            self._each_part(row, comm.Scatterv) if self.sharded else comm.Bcast(row)

    def end(self) -> None:
        comm, (values, *moments) = self.group.comm, self.flat
        sums = comm.allgather(zlib.crc32(values))
        if len(set(sums)) > 1:
            raise DistributedError(f"the ranks' weights differ (checksums {', '.join(f'{s:08x}' for s in sums)})")
        if self.sharded:
            for row in moments:
                self._each_part(row, comm.Gatherv)

    def _each_part(self, row: np.ndarray, move: Callable[..., Any]) -> None:
        """Scatter or gather every bucket of `row`, of which each rank has its own part."""
        rank, mpi = self.group.rank, self.group.mpi
        for bounds in map(self.bounds, self.buckets):
            own = row[bounds[rank] : bounds[rank + 1]] if rank else mpi.IN_PLACE
            whole = (row, np.diff(bounds).tolist(), bounds[:-1].tolist(), mpi.FLOAT) if rank == 0 else None
            move(*((whole, own) if move.__name__ == "Scatterv" else (own, whole)))

    def bounds(self, bucket: Bucket) -> np.ndarray:
        """Where each rank's part of a bucket begins, and the end of the last."""
        start, stop = bucket[0][0], bucket[-1][1]
        return start + (stop - start) // NR * np.arange(self.group.size + 1, dtype=np.int64) // self.group.size * NR

    def _fill(self, start: int, stop: int, *, biases: bool) -> None:
        """Take a stretch of the gradient that was just added into the bucket, and send it when it is full."""
        self._bucket.append((start, stop, biases))
        if stop - self._bucket[0][0] >= BUCKET:
            self._ship()
        elif self.buckets:  # messages may move only while the library is called
            self._call("MPI_Test", self._requests[-1], self._status, self._status[1:], barrier=False)

    def _ship(self) -> None:
        if not self._bucket:
            return
        self.buckets.append(self._bucket)
        bounds, self._bucket = self.bounds(self._bucket), []
        source, counts = self._gradient[bounds[0] :], np.diff(bounds).astype(np.int32)
        if self.sharded:
            self._send("MPI_Ireduce_scatter", source, self._sum[bounds[self.group.rank] :], counts)
        else:
            self._send("MPI_Iallreduce", self.group.in_place, source, int(counts.sum()))

    def _send(self, function: str, source: "np.ndarray | int", target: np.ndarray, count: "np.ndarray | int") -> None:
        self._requests.append(np.zeros(1, np.int64))
        self._call(function, source, target, count, *self._handles, self._requests[-1], barrier=False)

    def _wait(self, request: int) -> None:
        self._call("MPI_Wait", self._requests[request], self._status)

    def _call(self, function: str, *arguments: "np.ndarray | int", barrier: bool = True) -> None:
        """Call a function of the MPI library; with a barrier the run ends where it has failed."""
        places = {f"a{i}": arguments[i] if i < len(arguments) else 0 for i in range(8)}
        self.add(processes.call, function=self.group.function(function), **places, barrier=barrier)
        if barrier:
            self.add(processes.check_calls, barrier=False)
