"""Where the parameters live while several processes train them, and how they come there and back."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fastff.distributed.group import DistributedError, Group
from fastff.distributed.programs import KINDS, MemoryProgram, MessageProgram, Parameters, SharedProgram
from fastff.engine import panels
from fastff.training.trainer import Trainer


class Home:
    """The parameters of a trainer's network: in memory that all processes share, or in each its own.

    Between two runs of steps rank 0's are the truth: whoever sets or saves weights need not know of the others.
    """

    def __init__(self, group: Group, trainer: Trainer, *, sharded: bool) -> None:
        self.group, self.sharded, layers = group, sharded, trainer.network.linear_layers
        self._threads, size = trainer.threads or group.threads, Parameters.size(layers)
        room = MemoryProgram.bytes_for(group, size, self._threads)
        self.shared = group.on_one_machine and group.has_room(room)
        if self.shared:
            self._memory = group.shared_memory(room)
            own = 4 * KINDS * size
            self.parameters = Parameters(self._memory[:own].view(np.float32).reshape(KINDS, -1))
            self._rest = self._memory[own:]
        else:
            self.parameters = Parameters(panels.aligned(KINDS * size).reshape(KINDS, -1))
        self.parameters.adopt(layers, keep=group.rank == 0)
        group.comm.Barrier()

    def program(self, rows: int) -> SharedProgram:
        if self.shared:
            self._program: SharedProgram = MemoryProgram(rows, self.group, self.parameters, self._rest, self._threads)
        else:
            self._program = MessageProgram(rows, self.group, self.parameters, sharded=self.sharded)
        return self._program

    def begin(self) -> None:
        """Have everybody start from what rank 0 has."""
        comm, program = self.group.comm, self._program
        if isinstance(program, MemoryProgram):
            if self.group.rank == 0:
                program.meeting[:] = 0
            comm.Barrier()
            return
        values, *moments = self.parameters.flat
        comm.Bcast(values)
        for row in moments:
            self._each_part(row, comm.Scatterv) if self.sharded else comm.Bcast(row)

    def end(self) -> None:
        """Have rank 0 know all, and see that all have the same bits."""
        if self.shared:
            return
        comm, (values, *moments) = self.group.comm, self.parameters.flat
        sums = comm.allgather(zlib.crc32(values))
        if len(set(sums)) > 1:
            raise DistributedError(f"the ranks' weights differ (checksums {', '.join(f'{s:08x}' for s in sums)})")
        if self.sharded:
            for row in moments:
                self._each_part(row, comm.Gatherv)

    def _each_part(self, row: np.ndarray, move: Callable[..., Any]) -> None:
        """Scatter or gather every bucket of `row`, of which each rank has its own part."""
        program, rank, mpi = self._program, self.group.rank, self.group.mpi
        assert isinstance(program, MessageProgram)
        for bucket in program.buckets:
            bounds = program.bounds(bucket)
            own = row[bounds[rank] : bounds[rank + 1]] if rank else mpi.IN_PLACE
            whole = (row, np.diff(bounds).tolist(), bounds[:-1].tolist(), mpi.FLOAT) if rank == 0 else None
            move(*((whole, own) if move.__name__ == "Scatterv" else (own, whole)))
