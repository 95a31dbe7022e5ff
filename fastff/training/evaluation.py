"""How good a model is: mean loss and accuracy over all rows."""

from typing import Any

import numpy as np

from fastff.data.rows import Rows, check_labels, check_rows
from fastff.engine.program import Program
from fastff.errors import ArgumentError
from fastff.nn.loss import CrossEntropySoftmax
from fastff.nn.network import FeedForwardNeuralNetwork, inference

EVALUATION_ROWS = 1024  # rows that validation takes through the network at a time


def evaluate(model: Any, X_val: Rows, Y_val: np.ndarray, batch_size: int = 1024) -> tuple[float, float]:
    """(mean cross-entropy, accuracy in 0..1) over all rows, exact whatever batch_size is.

    model: a FeedForwardNeuralNetwork, or anything with forward(X) -> logits (B, C). X_val (N, D), also as
    Shards; Y_val (N,) or (N, 1).
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ArgumentError(f"batch_size: {batch_size!r}, want a whole number of at least 1")
    X = check_rows(X_val, "X_val", features=getattr(model, "input_dim", None))
    Y = check_labels(Y_val, "Y_val", rows=len(X), classes=getattr(model, "output_dim", None))
    if isinstance(model, FeedForwardNeuralNetwork) and model.lowers():
        return Evaluation(model, X, Y, int(batch_size)).run()
    loss, hits, criterion = 0.0, 0, CrossEntropySoftmax()
    with inference(model):
        for i in range(0, len(X), batch_size):
            logits, labels = model.forward(X[i : i + batch_size]), Y[i : i + batch_size]
            loss += criterion.forward(logits, labels) * len(labels)
            hits += int((logits.argmax(1) == labels).sum())
    return loss / len(X), hits / len(X)


class Evaluation:
    """evaluate as a program that can be run again as the weights change; X and Y are checked already."""

    def __init__(self, network: FeedForwardNeuralNetwork, X: Rows, Y: np.ndarray, batch_size: int) -> None:
        self.program = Program(min(batch_size, len(X)))
        labels = self.program.labels(Y)
        z, _ = network.lower_forward(self.program, X, training=False)
        self.program.cross_entropy(z, labels, 0.0, gradient=False)
        self.order = np.arange(len(X))
        self.batches = -(-len(X) // self.program.rows)

    def run(self, threads: int | None = None) -> tuple[float, float]:
        """(mean cross-entropy, accuracy) with the weights as they are now."""
        outcome = self.program.run(self.order, threads=threads)
        return float(outcome.losses.sum() / len(self.order)), float(outcome.hits.sum() / len(self.order))
