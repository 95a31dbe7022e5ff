"""What happens at the end of an epoch as part of the training's own program: validation, and a copy of the weights.

In a small network an epoch takes no longer than Python takes to look at its result. Such a network is trained for many
epochs in one native call; validation's figures and the copies of the weights say afterwards which epoch was the best.
"""

import numpy as np

from fastff.engine import panels
from fastff.engine.program import Program
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.saved import named_parameters
from fastff.training.evaluation import Evaluation

KEPT_BYTES = 1 << 22  # of copies, at most: they should stay in the processor's cache


class EpochEnds:
    """The ends of up to most_epochs epochs of a call; fewer than were asked for where the copies would be large.

    evaluation: None without a validation set. keep: whether to copy the weights.
    """

    def __init__(
        self, network: FeedForwardNeuralNetwork, evaluation: Evaluation | None, *, keep: bool, most_epochs: int
    ) -> None:
        self._network, self._evaluation = network, evaluation
        self._arrays = [array for layer in network.linear_layers for array in layer.memory] if keep else []
        self.most_epochs = max(1, min(most_epochs, KEPT_BYTES // max(1, sum(array.nbytes for array in self._arrays))))

    def add_to(self, program: Program) -> None:
        """Make them part of a training program, to which nothing may be added then."""
        evaluation, epochs = self._evaluation, self.most_epochs
        self._kept = [panels.aligned(array.size * epochs).reshape(epochs, -1) for array in self._arrays]
        self._losses = np.zeros((epochs, 0 if evaluation is None else len(evaluation.batches)))
        self._hits = np.zeros(self._losses.shape, np.int64)
        order, own = (np.zeros(0, np.int64), None) if evaluation is None else (evaluation.order, evaluation.program)
        program.end_epochs(order, own, self._losses, self._hits, list(zip(self._arrays, self._kept, strict=True)))

    def validation(self, epoch: int) -> tuple[float, float] | None:
        """Validation's (mean loss, accuracy) after an epoch of the last call, counted from 0; None without it."""
        if self._evaluation is None:
            return None
        rows = self._evaluation.batches.rows
        return float(self._losses[epoch].sum() / rows), float(self._hits[epoch].sum() / rows)

    def parameters(self, epoch: int) -> dict[str, np.ndarray]:
        """The network's parameters() after an epoch of the last call, counted from 0, where they were kept."""
        kept, parameters = iter(self._kept), {}
        for layer, weight, bias in named_parameters(self._network.layers):
            parameters[weight] = panels.unpack(next(kept)[epoch], (layer.input_dim, layer.output_dim))
            parameters[bias] = next(kept)[epoch][: layer.output_dim].copy()
        return parameters
