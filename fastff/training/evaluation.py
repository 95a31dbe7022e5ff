"""How good a model is: mean loss and accuracy over all rows."""

from typing import Any

import numpy as np

from fastff.data.rows import Rows, check_labels, check_rows
from fastff.engine.batches import Batches
from fastff.engine.context import ALONE, RunContext
from fastff.engine.program import Program
from fastff.errors import ArgumentError
from fastff.nn.loss import CrossEntropySoftmax
from fastff.nn.network import FeedForwardNeuralNetwork, inference

EVALUATION_ROWS = 1024  # rows that validation takes through the network at a time


def evaluate(model: Any, X_val: Rows, Y_val: np.ndarray, batch_size: int = EVALUATION_ROWS) -> tuple[float, float]:
    """(mean cross-entropy, accuracy in 0..1) over all rows, exact whatever batch_size is.

    model: a FeedForwardNeuralNetwork, or anything with forward(X) -> logits (B, C). X_val (N, D), also as
    Shards; Y_val (N,) or (N, 1).
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ArgumentError(f"batch_size: {batch_size!r}, want a whole number of at least 1")
    X = check_rows(X_val, "X_val", features=getattr(model, "input_dim", None))
    Y = check_labels(Y_val, "Y_val", rows=len(X), classes=getattr(model, "output_dim", None))
    return make_evaluation(model, X, Y, int(batch_size)).run()


class LayerEvaluation:
    """evaluate by the model's own forward, for a model of any kind; X and Y are checked already."""

    def __init__(self, model: Any, X: Rows, Y: np.ndarray, batch_size: int) -> None:
        self.model, self.X, self.Y, self.batches = model, X, Y, Batches(len(X), batch_size)

    def run(self, threads: int | None = None, context: RunContext = ALONE) -> tuple[float, float]:
        """(mean cross-entropy, accuracy) of the model as it is now."""
        loss, hits, criterion = 0.0, 0, CrossEntropySoftmax()
        with inference(self.model):
            for number in range(len(self.batches)):
                rows = self.batches.slice(number)
                logits, labels = self.model.forward(self.X[rows]), self.Y[rows]
                loss += criterion.forward(logits, labels) * len(labels)
                hits += int((logits.argmax(1) == labels).sum())
        return loss / self.batches.rows, hits / self.batches.rows


class Evaluation:
    """evaluate as a program for the kernels, of a network that can be one; X and Y are checked already.

    It may be run again as the weights change.
    """

    def __init__(self, network: FeedForwardNeuralNetwork, X: Rows, Y: np.ndarray, batch_size: int) -> None:
        self.batches = Batches(len(X), min(batch_size, len(X)))
        self.program = Program(self.batches.size)
        labels = self.program.labels(Y)
        z, _ = network.lower_forward(self.program, X, training=False)
        self.program.cross_entropy(z, labels, 0.0, gradient=False)
        self.order = np.arange(len(X))

    def run(self, threads: int | None = None, context: RunContext = ALONE) -> tuple[float, float]:
        """(mean cross-entropy, accuracy) with the weights as they are now."""
        outcome = self.program.run(self.order, threads=threads, context=context)
        return float(outcome.losses.sum() / len(self.order)), float(outcome.hits.sum() / len(self.order))


def make_evaluation(model: Any, X: Rows, Y: np.ndarray, batch_size: int) -> Evaluation | LayerEvaluation:
    """The faster of the two that the model allows."""
    if isinstance(model, FeedForwardNeuralNetwork) and model.lowers():
        return Evaluation(model, X, Y, batch_size)
    return LayerEvaluation(model, X, Y, batch_size)
