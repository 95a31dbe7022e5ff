"""The loss of a classifier: softmax and cross-entropy as one operation. docs/derivations.md derives it (Q1 to Q3)."""

import warnings

import numpy as np

from fastff.data.rows import check_labels, check_rows
from fastff.engine.program import Program
from fastff.errors import ArgumentError, DataError
from fastff.system.arguments import check_number
from fastff.system.attributes import Checked, Closed


class CrossEntropySoftmax(Closed):
    """The cross-entropy between the softmax of logits and the labels, averaged over the batch.

    With label_smoothing s in [0, 1) the target is the probability s / C for each of the C classes, and 1 - s more for
    the label's class (Szegedy et al. 2016). The row's maximum is subtracted before exp, so that no finite logit
    overflows.
    """

    label_smoothing = Checked(lambda value: check_number("label_smoothing", value, 0.0, 1.0))

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing
        self._gradient: np.ndarray | None = None

    def forward(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """The mean loss over the batch, for logits (B, C) and labels (B,) or (B, 1), whole numbers from 0 to C - 1."""
        if isinstance(logits, np.ndarray) and logits.ndim == 1:
            raise DataError(
                f"logits: shape {logits.shape}, want (rows, classes); network.forward returns the logits of all rows "
                "and no list, so that [-1] takes the last row alone"
            )
        z = check_rows(logits, "logits")
        _warn_of_probabilities(z)
        y = check_labels(labels, "labels", rows=len(z), classes=z.shape[1])
        program = Program(len(z))
        batch = program.labels(y)
        g = program.cross_entropy(program.gather(z), batch, self.label_smoothing, gradient=True)
        assert g is not None
        self._gradient = program.scatter(g, len(z))
        return float(program.run().losses[0] / len(z))

    def backward(self) -> np.ndarray:
        """The gradient of the last forward's mean loss by its logits: (softmax - target) / B, float32 (B, C)."""
        if self._gradient is None:
            raise ArgumentError("CrossEntropySoftmax.backward: no forward has run")
        return self._gradient


def _warn_of_probabilities(z: np.ndarray) -> None:
    """Warn of rows that a softmax was applied to already: the loss would apply it a second time."""
    if z.shape[1] > 1 and z.min() >= 0.0 and z.max() <= 1.0 and np.abs(z.sum(1, dtype=np.float64) - 1.0).max() < 1e-4:
        warnings.warn(
            "logits: each row holds numbers from 0 to 1 that sum to 1, as after a softmax; the loss applies the "
            "softmax itself, so give it what the last linear layer returns",
            stacklevel=3,
        )
