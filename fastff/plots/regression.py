"""Draws how well numbers are predicted: predicted against true values, and the errors against the predictions."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from fastff.errors import ArgumentError
from fastff.plots import canvas
from fastff.plots.canvas import BLUE, RED, RULE, SMALL

MOST_POINTS = 4000  # of one target that are drawn
MOST_TARGETS = 4  # that are drawn, one below the other


def draw_predicted(
    path: str | os.PathLike[str], targets: Any, predictions: Any, *, names: Sequence[str], title: str
) -> None:
    """Draw predicted against true values, one chart for each of the first MOST_TARGETS targets.

    targets, predictions: (N, outputs), or (N,) for one. names: of the targets. Of many rows MOST_POINTS are drawn,
    evenly spaced. Raises ArgumentError when shapes do not fit, DataError when the file cannot be written.
    """

    def one(ax: Axes, t: np.ndarray, p: np.ndarray, name: str) -> None:
        ends = float(min(t.min(), p.min())), float(max(t.max(), p.max()))
        ax.plot(ends, ends, color=RED, linewidth=0.8, linestyle="-", marker="none", zorder=2)
        _points(ax, t, p)
        _label(ax, f"{name}, true", "predicted")

    line = "On the red line the prediction is right."
    _draw(path, targets, predictions, names, title, line, one)


def draw_residuals(
    path: str | os.PathLike[str], targets: Any, predictions: Any, *, names: Sequence[str], title: str
) -> None:
    """Draw the errors, predicted minus true, against the predicted values; the rest is as in draw_predicted."""

    def one(ax: Axes, t: np.ndarray, p: np.ndarray, name: str) -> None:
        ax.axhline(0.0, color=RED, linewidth=0.8, linestyle="-", marker="none", zorder=2)
        _points(ax, p, p - t)
        _label(ax, f"{name}, predicted", "predicted minus true")

    line = "On the red line the prediction is right; above it, too high."
    _draw(path, targets, predictions, names, title, line, one)


def _draw(
    path: str | os.PathLike[str],
    targets: Any,
    predictions: Any,
    names: Sequence[str],
    title: str,
    line: str,
    one: Callable[[Axes, np.ndarray, np.ndarray, str], None],
) -> None:
    t, p = (np.asarray(values, np.float64) for values in (targets, predictions))
    t, p = (values[:, None] if values.ndim == 1 else values for values in (t, p))
    if t.shape != p.shape or t.ndim != 2 or t.size == 0 or len(names) != t.shape[1]:
        raise ArgumentError(
            f"targets of shape {t.shape}, predictions of {p.shape} and {len(names)} names, wanted as many of each"
        )
    rows = np.unique(np.linspace(0, len(t) - 1, MOST_POINTS).astype(np.int64))
    count = min(MOST_TARGETS, t.shape[1])
    points = "Each point is a row" + ("." if len(rows) == len(t) else f"; {len(rows):,} of {len(t):,} are drawn.")
    figure, axes = canvas.chart((2.6 if count == 1 else 2.0) * count, title, [f"{points} {line}"], count=count)
    for i, ax in enumerate(axes):
        one(ax, t[rows, i], p[rows, i], canvas.shortened(names[i], 1.3))
    canvas.write(figure, path)


def _points(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    few = len(x) <= 500
    ax.scatter(x, y, s=6 if few else 2, color=BLUE, alpha=0.6 if few else 0.3, linewidths=0, marker="o", zorder=3)


def _label(ax: Axes, below: str, left: str) -> None:
    ax.grid(color=RULE, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.set_xlabel(below, labelpad=3, **canvas.text(SMALL, parse_math=False))
    ax.set_ylabel(left, labelpad=3, **canvas.text(SMALL))
    ax.locator_params(nbins=6)
