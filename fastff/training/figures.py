"""Figures of a classification beside its accuracy, for classes of which some are rare."""

import math
from typing import Any

import numpy as np

from fastff.errors import ArgumentError

RANKED = ("val_balanced_accuracy", "val_auc")  # what a Trainer may monitor, which takes the probabilities of all rows


def balanced_accuracy(labels: np.ndarray, guesses: np.ndarray) -> float:
    """The mean over the classes among the labels of the share of their rows that are right, as scikit-learn's."""
    rows = np.bincount(labels)
    right = np.bincount(labels[labels == guesses], minlength=len(rows))
    shares = right[rows > 0] / rows[rows > 0]
    return math.fsum(shares) / len(shares)  # fsum: the same bits on every CPU


def auc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """The area under the ROC curve: how often a row of a class has a higher probability of it than a row of another.

    The mean over the classes, each against all others, as scikit-learn's roc_auc_score(multi_class="ovr",
    average="macro"); of two classes that of the second. None where one of the classes has no row, or all have.

    probabilities: (N, classes).
    """
    classes = probabilities.shape[1]
    if np.any(np.bincount(labels, minlength=classes) == 0) or classes < 2:
        return None
    chosen = [1] if classes == 2 else range(classes)
    return math.fsum(_area(labels == c, probabilities[:, c]) for c in chosen) / len(chosen)


def _area(own: np.ndarray, score: np.ndarray) -> float:
    """Of all pairs of an own row and another, the share in which the own one scores higher; equal ones count half."""
    order = np.argsort(score, kind="stable")
    _, first, count = np.unique(score[order], return_index=True, return_counts=True)
    twice = np.repeat(2 * first + count - 1, count)  # twice the mean place of equal scores, a whole number
    mine = int(own.sum())
    above = int(twice[own[order]].sum(dtype=np.int64)) - mine * (mine - 1)  # twice the pairs
    return above / (2 * mine * (len(own) - mine))


def majority_share(labels: np.ndarray) -> float:
    """The share of the rows that are of the most frequent class: the accuracy of who always says that one."""
    return float(np.max(np.bincount(labels)) / len(labels))


def check_ranked(monitor: str | None, labels: np.ndarray | None, outputs: int | None) -> None:
    """ArgumentError where validation rows of these labels have no such figure; outputs: of the network, if known."""
    if monitor == "val_auc" and labels is not None:
        rows = np.bincount(labels, minlength=outputs or 0)
        if not rows.all():
            raise ArgumentError(
                f"monitor: val_auc, but no row of X_val is of class {np.argmin(rows)}, want one of each class"
            )


def class_figures(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """balanced_accuracy and auc of the probabilities (N, classes) of rows with these labels (N,)."""
    return {"balanced_accuracy": balanced_accuracy(labels, probabilities.argmax(1)), "auc": auc(labels, probabilities)}
