"""Programs of which each process runs its share of the rows: what stands between the way back and the update.

On one machine (MemoryProgram) the parameters lie in memory that all processes share, and each owns a part of them. A
process sums its rows' gradient for the others' parts into memory where they find it; all meet; then it computes its own
part, adds the others' sums while the tile is in registers, and lets the optimizer act on it: of a gradient, only what
others need ever touches memory, and nothing is sent. Over a network (MessageProgram) the gradient goes into one flat
buffer, and while the layers below are still at work an Allreduce, or a Reduce_scatter, runs on it bucket by bucket.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastff.distributed.group import Group
from fastff.engine import panels
from fastff.engine.panels import Panels
from fastff.engine.program import Program
from fastff.kernels import linear, processes, run
from fastff.kernels.cpu import MR, NR
from fastff.kernels.processes import FLAGS
from fastff.nn.layers import LinearLayer
from fastff.nn.optim import store_gradient

BUCKET = 1 << 18  # numbers that are worth a message of their own, 1 MB
KINDS = 3  # of each parameter: its value and two moments


@dataclass
class Parameters:
    """All parameters of a network, and as many moments, one after the other in flat memory, the last layer's first.

    flat: (3, size) float32. A layer is its weights' panels and then its bias; every length is a multiple of NR.
    """

    flat: np.ndarray

    @staticmethod
    def size(layers: list[LinearLayer]) -> int:
        return sum(panels.panel_size((layer.input_dim, layer.output_dim)) + _biases(layer) for layer in layers)

    def adopt(self, layers: list[LinearLayer], *, keep: bool) -> None:
        """Have the layers live here; with keep as they are, otherwise as this memory is."""
        at = 0
        for layer in reversed(layers):
            end = at + panels.panel_size((layer.input_dim, layer.output_dim))
            biases = slice(end, end + _biases(layer))
            layer.move([row[at:end] for row in self.flat], [row[biases] for row in self.flat], keep=keep)
            at = biases.stop


class SharedProgram(Program):
    """What both kinds share. After the network's operations, `finish` adds the last ones."""

    shared = True

    def __init__(self, rows: int, group: Group, parameters: Parameters) -> None:
        super().__init__(rows)
        self.group, self.parameters = group, parameters
        self._store = store_gradient()  # numbers for the kernels

    def linear_backward(self, g: Panels, weights: np.ndarray, n_in: int, *, barrier: bool = False) -> Panels:
        return super().linear_backward(g, weights, n_in, barrier=True)  # another process owns the rows of W

    def finish(self) -> None:
        raise NotImplementedError

    def _at(self, array: np.ndarray) -> int:
        """How many numbers from the start of the parameters an array of values lies."""
        return (array.ctypes.data - self.parameters.flat[0].ctypes.data) // 4


class MemoryProgram(SharedProgram):
    """For processes on one machine. memory: bytes that all share, `bytes_for` many."""

    @staticmethod
    def bytes_for(group: Group, size: int, threads: int) -> int:
        control = 8 * run.control_slots(group.size * threads) + 4 * FLAGS * group.size + panels.LINE
        return control + 4 * size * (KINDS + group.size - 1)

    def __init__(self, rows: int, group: Group, parameters: Parameters, rest: np.ndarray, threads: int) -> None:
        super().__init__(rows, group, parameters)
        size = parameters.flat.shape[1]
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

    def _come(self) -> None:
        # Whoever has come may gather the next batch, so this process's threads must be done with the last one
        self.add(processes.come, meeting=self.meeting, process=self.group.rank)

    def _await_others(self) -> None:
        self.add(
            processes.await_others, meeting=self.meeting, processes=self.group.size, process=self.group.rank,
            barrier=False,
        )  # fmt: skip


@dataclass
class Bucket:
    """A stretch of the parameters whose gradient is one message: where it ends, and which of it are biases."""

    start: int
    stop: int
    segments: list[tuple[int, int, bool]]  # start, stop, whether biases


class MessageProgram(SharedProgram):
    """For processes that exchange messages. With `sharded`, each keeps the moments of its part alone."""

    def __init__(self, rows: int, group: Group, parameters: Parameters, *, sharded: bool) -> None:
        super().__init__(rows, group, parameters)
        size = parameters.flat.shape[1]
        self.sharded = sharded
        self._gradient = panels.aligned(size)
        self._sum = panels.aligned(size) if sharded else self._gradient  # of all ranks; touched in its own part alone
        self._flags = panels.aligned(2)
        self._status = panels.aligned(64, np.int64)
        self._requests: list[np.ndarray] = []  # of the flags, and then one a bucket
        self.buckets: list[Bucket] = []
        self._bucket = Bucket(0, 0, [])  # that fills up
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
        values, moments = self.parameters.flat[0], self.parameters.flat[1:]
        self._ship()
        self._wait(0)
        self.add(processes.agree, flags=self._flags, processes=1, barrier=False)
        for i, bucket in enumerate(self.buckets):
            self._wait(i + 1)
            bounds = self.bounds(bucket)
            own = (bounds[self.group.rank], bounds[self.group.rank + 1]) if self.sharded else (0, len(values))
            for start, stop, biases in bucket.segments:
                lo, hi = max(start, own[0]), min(stop, own[1])
                if lo < hi:
                    g, w, m, v = (array[lo:] for array in (self._sum, values, *moments))
                    self.add(linear.apply, g=g, w=w, m=m, v=v, panels=(hi - lo) // NR, biases=int(biases))
            if self.sharded:
                kind, _, comm = self._handles
                counts, places = np.diff(bounds).astype(np.int32), bounds[:-1].astype(np.int32)
                self._call("MPI_Allgatherv", self.group.in_place, 0, kind, values, counts, places, kind, comm)

    def bounds(self, bucket: Bucket) -> np.ndarray:
        """Where each rank's part of a bucket begins, and the end of the last."""
        panels = (bucket.stop - bucket.start) // NR
        return bucket.start + panels * np.arange(self.group.size + 1) // self.group.size * NR

    def _fill(self, start: int, stop: int, *, biases: bool) -> None:
        """Take a stretch of the gradient that was just added into the bucket, and send it when it is full."""
        self._bucket.segments.append((start, stop, biases))
        self._bucket.stop = stop
        if stop - self._bucket.start >= BUCKET:
            self._ship()
        elif self.buckets:  # messages may move only while the library is called
            self._call("MPI_Test", self._requests[-1], self._status, self._status[1:], barrier=False)

    def _ship(self) -> None:
        bucket = self._bucket
        if bucket.segments:
            self.buckets.append(bucket)
            self._bucket = Bucket(bucket.stop, bucket.stop, [])
            bounds, source = self.bounds(bucket), self._gradient[bucket.start :]
            if self.sharded:
                target, counts = self._sum[bounds[self.group.rank] :], np.diff(bounds).astype(np.int32)
                self._send("MPI_Ireduce_scatter", source, target, counts)
            else:
                self._send("MPI_Iallreduce", self.group.in_place, source, bucket.stop - bucket.start)

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


def _biases(layer: LinearLayer) -> int:
    return panels.round_up(layer.output_dim, NR)
