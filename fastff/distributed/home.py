"""Where the parameters live while several processes train them."""

import numpy as np

from fastff.distributed.group import Group
from fastff.distributed.programs import KINDS, MemoryProgram, MessageProgram, SharedProgram
from fastff.engine import panels
from fastff.kernels.cpu import NR
from fastff.training.trainer import Trainer


class Home:
    """All parameters of a trainer's network, with their moments: in memory that all share, or in each process its own.

    flat: (3, size) float32, the values and two moments, the last layer's first. A layer is its weights' panels and then
    its bias; every length is a multiple of NR.
    Between two runs of steps rank 0's are the truth: whoever sets or saves weights need not know of the others.
    """

    def __init__(self, group: Group, trainer: Trainer, *, sharded: bool) -> None:
        self.group, self.sharded, layers = group, sharded, trainer.network.linear_layers
        self._threads = trainer.threads or group.threads
        weights = [panels.panel_size((layer.input_dim, layer.output_dim)) for layer in layers]
        biases = [panels.round_up(layer.output_dim, NR) for layer in layers]
        size = sum(weights + biases)
        room = MemoryProgram.bytes_for(group, size, self._threads)
        self.shared = group.on_one_machine and group.has_room(room)
        if self.shared:
            own, memory = 4 * KINDS * size, group.shared_memory(room)
            numbers, self._rest = memory[:own].view(np.float32), memory[own:]
        else:
            numbers = panels.aligned(KINDS * size)
        self.flat = numbers.reshape(KINDS, -1)
        at = 0
        for layer, weight, bias in zip(layers[::-1], weights[::-1], biases[::-1], strict=True):
            end = at + weight
            layer.move(list(self.flat[:, at:end]), list(self.flat[:, end : end + bias]), keep=group.rank == 0)
            at = end + bias
        group.comm.Barrier()

    def spread(self) -> None:
        """Have all processes see the values that rank 0 has; all must call it."""
        if not self.shared:
            self.group.comm.Bcast(self.flat[0])

    def program(self, rows: int) -> SharedProgram:
        """An empty program for batches of which this process has so many rows."""
        if self.shared:
            return MemoryProgram(rows, self.group, self.flat, self._rest, self._threads)
        return MessageProgram(rows, self.group, self.flat, sharded=self.sharded)
