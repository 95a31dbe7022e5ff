"""Predictions for a few rows, as a program that a network keeps."""

from typing import Any

import numpy as np

from fastff.engine.program import Program

FEW_ROWS = 16  # for which a program is kept; for more, the arithmetic takes longer than making one


class Predictor:
    """A few rows through a network in microseconds, by a program whose memory is made once and kept.

    Gives the logits of up to FEW_ROWS rows of the type and width of `rows` (N, D), float32. For one thread at a time.
    """

    def __init__(self, network: Any, rows: np.ndarray) -> None:
        self._layers, self._linear = list(network.layers), network.linear_layers
        self._rows = np.zeros((FEW_ROWS, rows.shape[1]), rows.dtype)
        program = Program(FEW_ROWS)
        z, _ = network.lower_forward(program, self._rows, training=False)
        self._logits = program.scatter(z, FEW_ROWS)
        self._run = program.runner()

    def fits(self, layers: list[Any], rows: Any) -> bool:
        """Whether it was made for these layers, and for rows of this type and width, and the rows are few enough."""
        return (
            type(rows) is np.ndarray
            and rows.ndim == 2
            and 0 < len(rows) <= FEW_ROWS
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
