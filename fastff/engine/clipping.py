"""Gradients that are clipped by their norm over all layers, in a program and by hand: fastff.kernels.clipping."""

from collections.abc import Sequence

import numpy as np

from fastff.engine import panels
from fastff.engine.panels import Panels
from fastff.engine.program import Program
from fastff.kernels import clipping
from fastff.kernels.cpu import MR
from fastff.kernels.panels import round_up

# What an update is given: the layer's input, the transposed gradient, weights and biases with their moments, outputs
Update = tuple[Panels, np.ndarray, Sequence[np.ndarray], Sequence[np.ndarray], int]


class ClippedProgram(Program):
    """A program whose updates wait until `finish` has clipped the gradients of all of them together.

    limit: the largest norm. store: the optimizer's numbers for storing a gradient.
    """

    def __init__(self, rows: int, limit: float, store: np.ndarray) -> None:
        super().__init__(rows)
        self._limit, self._store = limit, store
        self._waiting: list[Update] = []

    def linear_backward(self, g: Panels, weights: np.ndarray, n_in: int, *, barrier: bool = False) -> Panels:
        return super().linear_backward(g, weights, n_in, barrier=True)  # no update follows that a thread waits behind

    def update(
        self, x: Panels, gt: np.ndarray, weights: Sequence[np.ndarray], bias: Sequence[np.ndarray], n_out: int
    ) -> None:
        self._waiting.append((x, gt, weights, bias, n_out))

    def finish(self) -> None:
        """Add the clipping and the updates, behind all that goes back through the layers."""
        clip(self, self._waiting, self._limit, self._store)
        for update in self._waiting:
            super().update(*update)


def clip(program: Program, updates: Sequence[Update], limit: float, store: np.ndarray) -> np.ndarray:
    """Add the clipping of the gradients of these updates to a program; returns (limit, norm), set when it runs."""
    counts = [clipping.panels_of(n_out) for *_, n_out in updates]
    sums, ends = np.zeros(2 * sum(counts)), np.cumsum([0, *np.repeat(counts, 2)])
    for k, (x, gt, weights, bias, n_out) in enumerate(updates):
        w, b = panels.aligned(weights[0].size), panels.aligned(bias[0].size)
        program.flops += 2 * program.rows * x.features * n_out
        program.update_bias(gt, [b] * 3, n_out, numbers=store)
        program.update_weights(x, gt, [w] * 3, n_out, numbers=store)
        for part, (gradient, inputs, apart) in enumerate(((w, x.features, round_up(x.features, MR)), (b, 1, 1))):
            own = sums[ends[2 * k + part] : ends[2 * k + part + 1]]
            program.add(clipping.squares, gradient=gradient, inputs=inputs, apart=apart, outputs=n_out, sums=own)
    found = np.array([limit, 0.0])
    for _, gt, _, _, n_out in updates:
        program.add(clipping.clip, gt=gt, n_out=n_out, sums=sums, count=len(sums), limit=found)
    return found
