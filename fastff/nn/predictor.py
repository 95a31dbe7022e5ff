"""Rows through a network: a few, by a program that the network keeps, or many, a part at a time."""

from typing import Any

import numpy as np

from fastff.data.rows import Rows
from fastff.engine.context import ALONE, RunContext
from fastff.engine.program import Program
from fastff.errors import DataError

PREDICT_ROWS = 1024  # rows that go through the network at a time, of many
FEW_ROWS = 16  # for which a program is kept; for more, the arithmetic takes longer than making one


def most_likely(scores: np.ndarray) -> np.ndarray:
    """The class with the highest of each row's scores (N, classes). DataError for a row that has a NaN."""
    if np.isnan(scores).any():
        row = int(np.isnan(scores).any(1).argmax())
        raise DataError(f"X: the network gives nan for row {row}, want rows and weights of finite numbers")
    return scores.argmax(1)


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


def many_rows(network: Any, X: Rows, threads: int | None = None, context: RunContext = ALONE) -> np.ndarray:
    """Any number of rows (N, D) through a network that lowers: what it gives for each, float32 (N, outputs)."""
    program = Program(min(len(X), PREDICT_ROWS))
    z, _ = network.lower_forward(program, X, training=False)
    out = program.scatter(z, len(X))
    program.run(np.arange(len(X), dtype=np.int64), threads=threads, context=context)
    return out
