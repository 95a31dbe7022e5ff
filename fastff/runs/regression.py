"""What a run on numbers to predict says about itself: its figures, and how its predictions are called."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastff.data import Dataset
from fastff.nn.ensemble import Ensemble
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.targets import TargetScale
from fastff.system import elementary
from fastff.system.elementary import sum_rows

# What summary.json says of a regression in the place of accuracies
SUMMARY = ("train_r2", "val_r2", "test_r2", "val_rmse", "val_mae", "test_rmse", "test_mae", "test_loss")


def figures_of(targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """rmse, mae and r2 of predictions, both (N,) or (N, outputs), in the targets' units.

    Of several outputs each is the mean over outputs, as scikit-learn has it: of root_mean_squared_error,
    mean_absolute_error and r2_score, by which a constant target that is not met counts 0.
    """
    t, p = (np.asarray(values, np.float64).reshape(len(values), -1) for values in (targets, predictions))
    squares = sum_rows(np.square(p - t))
    varied = sum_rows(np.square(t - sum_rows(t.copy()) / len(t)))
    explained = 1.0 - squares / np.where(varied > 0, varied, 1.0)
    outputs = t.shape[1]
    return {
        "rmse": math.fsum(np.sqrt(squares / len(t))) / outputs,
        "mae": math.fsum(sum_rows(np.abs(p - t)) / len(t)) / outputs,
        "r2": math.fsum(np.where(varied > 0, explained, squares == 0)) / outputs,
    }


def loss_of(
    model: FeedForwardNeuralNetwork | Ensemble, loss: str, targets: np.ndarray, predictions: np.ndarray
) -> float:
    """The mean loss of predictions in the targets' units, in the units of the training's loss."""
    t, p = (np.asarray(values, np.float64).reshape(len(values), -1) for values in (targets, predictions))
    last = (model.networks[0] if isinstance(model, Ensemble) else model).layers[-1]
    errors = (p - t) / (last.factor if isinstance(last, TargetScale) else 1.0)
    if loss == "poisson":
        each = p - t * elementary.log(np.maximum(p, np.finfo(np.float64).tiny))
    else:
        each = np.abs(errors) if loss == "absolute_error" else np.square(errors)
    return math.fsum(sum_rows(each)) / each.size


def regression_splits(
    predict: Callable[[Any], np.ndarray],
    model: FeedForwardNeuralNetwork | Ensemble,
    loss: str,
    data: Dataset,
    splits: Sequence[str],
) -> dict[str, float]:
    """loss, rmse, mae and r2 of the splits that there are, under names such as val_loss. predict: the model's."""
    figures: dict[str, float] = {}
    for split in splits:
        rows, targets = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
        if rows is not None:
            found = all_figures(model, loss, targets, predict(rows))
            figures |= {f"{split}_{name}": value for name, value in found.items()}
    return figures


def all_figures(
    model: FeedForwardNeuralNetwork | Ensemble, loss: str, targets: np.ndarray, predictions: np.ndarray
) -> dict[str, float]:
    """loss_of and figures_of."""
    return {"loss": loss_of(model, loss, targets, predictions), **figures_of(targets, predictions)}


def output_names(targets: Sequence[str] | None, outputs: int) -> tuple[str, ...]:
    """What the columns of predictions are called: by the table's targets, or else prediction, or with numbers."""
    if targets is not None:
        return tuple(targets)
    return ("prediction",) if outputs == 1 else tuple(f"prediction_{i}" for i in range(outputs))


def said(figures: Mapping[str, Any], splits: Sequence[str], names: Mapping[str, str]) -> str:
    """The r2 of the splits that there are, and rmse and mae of the first, for a person."""
    found = [split for split in splits if figures.get(f"{split}_r2") is not None]
    text = ", ".join(f"{names[split]} {figures[f'{split}_r2']:.4f}" for split in found)
    first = next((split for split in found if figures.get(f"{split}_rmse") is not None), None)
    if first is None:
        return text
    return f"{text}; {names[first]} rmse {figures[f'{first}_rmse']:.6g}, mae {figures[f'{first}_mae']:.6g}"
