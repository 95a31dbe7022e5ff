"""How good a model is: mean loss, and accuracy or r2, over all rows."""

import math
from functools import cached_property
from typing import Any

import numpy as np

from fastff.data.rows import Rows, check_rows
from fastff.engine.batches import Batches
from fastff.engine.context import ALONE, RunContext
from fastff.engine.program import Program
from fastff.errors import ArgumentError, DataError
from fastff.nn.loss import CrossEntropySoftmax, Loss, PoissonLoss, SquaredError, as_loss, check_loss
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.predictor import many_rows
from fastff.nn.preprocessing import Augment, Standardize, Whiten
from fastff.nn.stack import inference
from fastff.nn.targets import TargetExp
from fastff.system.arguments import check_size
from fastff.system.hold import references
from fastff.training.given import check_pair, in_front_of_loss, r2, variation

EVALUATION_ROWS = 1024  # rows that validation takes through the network at a time


def evaluate(
    model: Any, X_val: Rows, Y_val: np.ndarray, batch_size: int = EVALUATION_ROWS, *, loss: str | Loss | None = None
) -> tuple[float, float]:
    """(mean cross-entropy, accuracy in 0..1) over all rows, or (mean loss, r2), exact whatever batch_size is.

    Parameters
    ----------
    model : FeedForwardNeuralNetwork, Ensemble or object
        A network, or anything with forward(X) that returns logits (B, C).
    X_val : ndarray of shape (N, D) or Shards
        The rows.
    Y_val : ndarray of shape (N,) or (N, 1)
        Their labels, or numbers to predict, which may also be (N, outputs).
    batch_size : int, default: 1024
        How many rows go through the model at a time.
    loss : str or Loss, optional
        As in Trainer, and in the same units; None takes cross-entropy, or for a model that predicts numbers the squared
        error (poisson where TargetExp is last).

    Returns
    -------
    tuple of float
        The mean loss; and the accuracy, or r2, which is of all outputs together.

    Examples
    --------
    >>> from fastff import FeedForwardNeuralNetwork, Trainer, evaluate, load_dataset
    >>> data = load_dataset("digits")
    >>> network = FeedForwardNeuralNetwork(64, 10, hidden_dim=[64], seed=0)
    >>> history = Trainer(network, step_size=0.003).fit(data.x_train, data.y_train, epochs=30)
    >>> loss, accuracy = evaluate(network, data.x_test, data.y_test)
    >>> accuracy > 0.9
    True
    """
    if not callable(getattr(model, "forward", None)):
        raise ArgumentError(f"model: {type(model).__name__}, want one with forward(X) -> logits (B, C)")
    X = check_rows(X_val, "X_val", features=getattr(model, "input_dim", None))
    criterion = _usual_loss(model) if loss is None else check_loss(loss)
    if isinstance(model, FeedForwardNeuralNetwork):
        Y = check_pair(model, criterion, X, Y_val, "X_val", "Y_val")[1]
        model = in_front_of_loss(model, criterion)
    else:
        Y = criterion.check(Y_val, "Y_val", rows=len(X), outputs=getattr(model, "output_dim", None))
    return Evaluation(model, X, Y, check_size("batch_size", batch_size), criterion).run()


def _usual_loss(model: Any) -> Loss:
    if getattr(model, "task", "classify") != "regress":
        return CrossEntropySoftmax()
    last = model.layers[-1] if isinstance(model, FeedForwardNeuralNetwork) else None
    return PoissonLoss() if isinstance(last, TargetExp) else SquaredError()


def behind_whitening(
    network: FeedForwardNeuralNetwork, X: Rows, threads: int | None = None, context: RunContext = ALONE
) -> tuple[FeedForwardNeuralNetwork, Rows]:
    """The layers behind Whiten and what it makes of the rows, for evaluations of the same rows again and again.

    Whitening costs more than all that follows, and never changes; results are the same bits. Where nothing is whitened,
    or the rows are in files, the network and the rows come back as they are.
    """
    kinds = [type(layer) for layer in network.layers]
    count = kinds.index(Whiten) + 1 if Whiten in kinds else 0
    fixed = {*kinds[:count]} <= {Augment, Standardize, Whiten}
    if not (0 < count < len(kinds) and fixed and network.lowers() and isinstance(X, np.ndarray)):
        return network, X
    parts = network.layers[:count], network.layers[count:]
    front, behind = map(FeedForwardNeuralNetwork.from_layers, parts)
    return behind, many_rows(front, X, threads, context)


class Evaluation:
    """evaluate for rows X and targets Y that are checked already. It may be run again as the weights change.

    program: the kernels' program of a network that can be one; None for any other model, whose own forward is called.
    outputs: where they are asked for, what the model has given for each row in the last run, float32 (N, outputs).
    """

    def __init__(
        self,
        model: Any,
        X: Rows,
        Y: np.ndarray,
        batch_size: int,
        criterion: Loss | None = None,
        *,
        outputs: bool = False,
    ) -> None:
        self.criterion = CrossEntropySoftmax() if criterion is None else criterion.plain()
        self.model, self.X, self.Y = model, X[...] if isinstance(X, np.ndarray) else X, Y
        self._held = references(X)
        self.batches, self.order = Batches(len(X), min(batch_size, len(X))), np.arange(len(X), dtype=np.int64)
        self.program: Program | None = None
        self._keeps, self.outputs = outputs, np.zeros((0, 0), np.float32)
        if isinstance(model, FeedForwardNeuralNetwork) and model.lowers() and self.criterion.lowers():
            self.program = Program(self.batches.size)
            targets = self.criterion.lower_targets(self.program, Y)
            z, _ = model.lower_forward(self.program, X, training=False)
            if outputs:
                self.outputs = self.program.scatter(z, len(X))
            self.criterion.lower(self.program, z, targets, None, gradient=False)

    def run(self, threads: int | None = None, context: RunContext = ALONE) -> tuple[float, float]:
        """(mean loss, accuracy or r2) of the model as it is now."""
        if self.program is None:
            return self.figures(*self._by_forward())
        outcome = self.program.run(self.order, threads=threads, context=context)
        return self.figures(outcome.losses, outcome.hits)

    @cached_property
    def _variation(self) -> float:
        return variation(self.Y)

    def figures(self, losses: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
        """(mean loss, accuracy or r2), of the sums of each batch: losses, and hits or squared errors."""
        total = math.fsum(hits)
        score = total / len(self.order) if self.criterion.task == "classify" else r2(total, self._variation)
        return math.fsum(losses) / len(self.order), score

    def _by_forward(self) -> tuple[np.ndarray, np.ndarray]:
        """The sum of the rows' losses, and of hits or squared errors, in each batch."""
        losses, hits, criterion = np.zeros(len(self.batches)), np.zeros(len(self.batches)), self.criterion
        kept = []
        with inference(self.model):
            for number in range(len(self.batches)):
                rows = self.batches.slice(number)
                targets = self.Y[rows]
                outputs = check_rows(self.model.forward(self.X[rows]), f"{type(self.model).__name__}.forward")
                if len(outputs) != len(targets):
                    raise DataError(f"{type(self.model).__name__}.forward: {len(outputs)} rows for {len(targets)}")
                losses[number] = as_loss(criterion, criterion.forward(outputs, targets)) * len(targets)
                hits[number] = criterion.score(outputs, targets)
                if self._keeps:
                    kept.append(outputs.astype(np.float32))
        if self._keeps:
            self.outputs = np.concatenate(kept)
        return losses, hits
