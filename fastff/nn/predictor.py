"""A few rows through a network in microseconds, by a program whose memory is made once and kept."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastff.engine.program import Program
from fastff.nn.layers import LinearLayer

ROWS = 16  # at most; for more, the arithmetic takes longer than making a program


class Predictor:
    """The logits of up to ROWS rows of one type and width, as float32 (rows, outputs). For one thread at a time.

    layers: the network's. lower_forward: its method, which adds them to the program. rows: (N, D), an example.
    """

    def __init__(self, layers: list[Any], lower_forward: Callable[..., Any], rows: np.ndarray) -> None:
        self._layers = list(layers)
        self._linear = [layer for layer in layers if isinstance(layer, LinearLayer)]
        self._rows = np.zeros((ROWS, rows.shape[1]), rows.dtype)
        program = Program(ROWS)
        z, _ = lower_forward(program, self._rows, training=False)
        self._logits = program.scatter(z, ROWS)
        self._run = program.runner()

    def fits(self, layers: list[Any], rows: Any) -> bool:
        """Whether it was made for these layers, and for rows of this type and width, and the rows are few enough."""
        return (
            type(rows) is np.ndarray
            and rows.ndim == 2
            and 0 < len(rows) <= ROWS
            and rows.shape[1] == self._rows.shape[1]
            and rows.dtype == self._rows.dtype
            and layers == self._layers
        )

    def __call__(self, rows: Any) -> np.ndarray:
        count = len(rows)
        self._rows[:count] = rows
        for layer in self._linear:
            layer.sync()
        self._run(count)
        return self._logits[:count].copy()
