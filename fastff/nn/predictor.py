"""Few rows through a network in microseconds: the program and its memory are made once and kept."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fastff.engine.program import Program
from fastff.nn.layers import LinearLayer

if TYPE_CHECKING:
    from fastff.nn.network import FeedForwardNeuralNetwork

ROWS = 16  # at most; beyond, making a program costs less than the arithmetic


class Predictor:
    """The logits of up to ROWS rows of one type and width. Used by one thread at a time."""

    def __init__(self, network: "FeedForwardNeuralNetwork", rows: np.ndarray) -> None:
        self._layers = list(network.layers)
        self._linear = [layer for layer in self._layers if isinstance(layer, LinearLayer)]
        self._rows = np.zeros((ROWS, rows.shape[1]), rows.dtype)
        program = Program(ROWS)
        z, _ = network.lower_forward(program, self._rows, training=False)
        self._logits = program.scatter(z, ROWS)
        self._run = program.runner()

    def fits(self, network: "FeedForwardNeuralNetwork", rows: Any) -> bool:
        """Whether this is the predictor for these rows, and the network has the layers that it was made for."""
        return (
            type(rows) is np.ndarray
            and rows.ndim == 2
            and 0 < len(rows) <= ROWS
            and rows.shape[1] == self._rows.shape[1]
            and rows.dtype == self._rows.dtype
            and network.layers == self._layers
        )

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        count = len(rows)
        self._rows[:count] = rows
        for layer in self._linear:
            layer.sync()
        self._run(count)
        return self._logits[:count].copy()
