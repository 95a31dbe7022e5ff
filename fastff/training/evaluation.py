"""How good a model is: mean loss and accuracy over all rows."""

import math
from typing import Any

import numpy as np

from fastff.data.rows import Rows, check_labels, check_rows
from fastff.engine.batches import Batches
from fastff.engine.context import ALONE, RunContext
from fastff.engine.program import Program
from fastff.errors import ArgumentError, DataError
from fastff.nn.loss import CrossEntropySoftmax
from fastff.nn.network import FeedForwardNeuralNetwork, inference
from fastff.system.arguments import check_size
from fastff.system.hold import references

EVALUATION_ROWS = 1024  # rows that validation takes through the network at a time


def evaluate(model: Any, X_val: Rows, Y_val: np.ndarray, batch_size: int = EVALUATION_ROWS) -> tuple[float, float]:
    """(mean cross-entropy, accuracy in 0..1) over all rows, exact whatever batch_size is.

    model: a FeedForwardNeuralNetwork, or anything with forward(X) -> logits (B, C). X_val (N, D), also as
    Shards; Y_val (N,) or (N, 1).
    """
    if not callable(getattr(model, "forward", None)):
        raise ArgumentError(f"model: {type(model).__name__}, want one with forward(X) -> logits (B, C)")
    X = check_rows(X_val, "X_val", features=getattr(model, "input_dim", None))
    Y = check_labels(Y_val, "Y_val", rows=len(X), classes=getattr(model, "output_dim", None))
    return Evaluation(model, X, Y, check_size("batch_size", batch_size)).run()


class Evaluation:
    """evaluate for rows X and labels Y that are checked already. It may be run again as the weights change.

    program: the kernels' program of a network that can be one; None for any other model, whose own forward is called.
    """

    def __init__(self, model: Any, X: Rows, Y: np.ndarray, batch_size: int) -> None:
        self.model, self.X, self.Y = model, X[...] if isinstance(X, np.ndarray) else X, Y
        self._held = references(X)
        self.batches, self.order = Batches(len(X), min(batch_size, len(X))), np.arange(len(X), dtype=np.int64)
        self.program: Program | None = None
        if isinstance(model, FeedForwardNeuralNetwork) and model.lowers():
            self.program = Program(self.batches.size)
            labels = self.program.labels(Y)
            z, _ = model.lower_forward(self.program, X, training=False)
            self.program.cross_entropy(z, labels, 0.0, gradient=False)

    def run(self, threads: int | None = None, context: RunContext = ALONE) -> tuple[float, float]:
        """(mean cross-entropy, accuracy) of the model as it is now."""
        if self.program is None:
            loss, hits = self._by_forward()
        else:
            outcome = self.program.run(self.order, threads=threads, context=context)
            loss, hits = math.fsum(outcome.losses), outcome.hits.sum()
        return float(loss / len(self.order)), float(hits / len(self.order))

    def _by_forward(self) -> tuple[float, int]:
        """The sum of the rows' losses and how many are right."""
        loss, hits, criterion = 0.0, 0, CrossEntropySoftmax()
        with inference(self.model):
            for number in range(len(self.batches)):
                rows = self.batches.slice(number)
                labels = self.Y[rows]
                logits = check_rows(self.model.forward(self.X[rows]), f"{type(self.model).__name__}.forward")
                if len(logits) != len(labels):
                    raise DataError(f"{type(self.model).__name__}.forward: {len(logits)} rows for {len(labels)}")
                loss += criterion.forward(logits, labels) * len(labels)
                hits += int((logits.argmax(1) == labels).sum())
        return loss, hits
