"""Draws a search for options: the accuracy of its trials over time, and how much each option matters for it."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from fastff.plots import canvas
from fastff.plots.canvas import BLUE, GREY, INK, RED, RULE, SMALL

LONGEST = 1.3  # inches of a name beside a bar
BAR = 0.15  # inches for a bar


def draw_history(
    path: str | os.PathLike[str],
    trials: Sequence[int],
    accuracies: Any,
    whole: Sequence[bool],
    *,
    title: str,
    score: str = "accuracy",
) -> None:
    """Draw the accuracy of each trial, and a line of the best accuracy so far among trials not stopped early.

    trials: (N,) ascending numbers, N at least 1. accuracies: (N,) of at most 1. whole: (N,), False for a trial that was
    stopped early. score: what accuracies are, "accuracy" or "r2". Those far below the others are drawn at the lower
    edge. Raises DataError when the file cannot be written.
    """
    at, values, ended = np.array(trials), 100 * np.array(accuracies, np.float64), np.array(whole, bool)
    figure, (ax,) = canvas.chart(2.2, title)
    best = np.fmax.accumulate(np.where(ended, values, np.nan))
    low = _lowest(values)
    below = values < low
    line: dict[str, Any] = {"color": RED, "linewidth": 1, "linestyle": "-", "marker": "none"}
    ax.step(at, best, where="post", label="best so far", zorder=3, **line)
    styles: list[tuple[Any, dict[str, Any]]] = [
        (ended & ~below, {"color": BLUE, "label": "trial"}),
        (~ended & ~below, {"facecolors": "white", "edgecolors": GREY, "label": "stopped early"}),
    ]
    for which, style in styles:
        if which.any():
            ax.scatter(at[which], values[which], s=8, linewidths=0.5, marker="o", zorder=4, **style)
    if below.any():
        edge = np.full(below.sum(), low)
        ax.scatter(at[below], edge, s=8, color=GREY, marker="v", zorder=4, label=f"below {low:.0f}%", clip_on=False)
    top = max(np.max(values), low)  # an r2 may be negative
    ax.set_ylim(low, top + 0.04 * (top - low) + 0.1)
    ax.set_xlim(at[0] - 0.02 * (at[-1] - at[0]) - 0.5, at[-1] + 0.02 * (at[-1] - at[0]) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.grid(axis="y", color=RULE, linewidth=0.5)
    ax.tick_params(axis="x", length=2, color=GREY)
    ax.set_xlabel("trial", labelpad=2, **canvas.text(SMALL))
    ax.set_ylabel(f"validation {score} (%)", labelpad=3, **canvas.text(SMALL))
    canvas.legend(figure, ax.get_legend_handles_labels()[0], columns=4)
    canvas.write(figure, path)


def per_cent(share: float) -> str:
    """A share as whole per cent, but for the smallest ones."""
    return "< 1%" if 0 < 100 * share < 1 else f"{100 * share:.0f}%"


def draw_importances(
    path: str | os.PathLike[str], shares: Mapping[str, float], *, title: str, shown: Callable[[float], str] = per_cent
) -> None:
    """Draw a bar for each option or column, the longest on top, and its number as `shown` gives it.

    shares: one or more; what is below 0 is drawn as 0. Raises DataError when the file cannot be written.
    """
    names = sorted(shares, key=lambda name: shares[name])
    widths = [max(0.0, shares[name]) for name in names]
    figure, (ax,) = canvas.chart(0.2 + BAR * len(names), title)
    ax.barh(range(len(names)), widths, color=BLUE, height=0.62)
    for i, width in enumerate(widths):
        style = canvas.text(SMALL, va="center_baseline")
        ax.annotate(shown(width), (width, i), xytext=(3, 0), textcoords="offset points", **style)
    ax.set_yticks(range(len(names)), [canvas.shortened(name, LONGEST) for name in names], parse_math=False)
    ax.set_xlim(0, 1.25 * max(*widths, 0.01))
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    canvas.write(figure, path)


def draw_ablation(
    path: str | os.PathLike[str], names: Sequence[str], points: Any, errors: Any, *, title: str, score: str = "accuracy"
) -> None:
    """Draw what leaving out each part costs, in points of the score, as bars with standard errors; the first on top.

    points, errors: (N,), N at least 1; an error is NaN where there is only one training. Raises DataError when the file
    cannot be written.
    """
    lost, reach = np.array(points, np.float64), np.nan_to_num(np.array(errors, np.float64))
    note = "Red: worse without it; blue: better." + (" The lines are standard errors." if reach.any() else "")
    figure, (ax,) = canvas.chart(0.4 + BAR * len(names), title, [note])
    at = np.arange(len(names))[::-1]
    ax.barh(at, lost, color=np.where(lost >= 0, RED, BLUE).tolist(), height=0.62, zorder=2)
    ax.hlines(at, lost - reach, lost + reach, colors=INK, linewidths=0.6, linestyles="solid", zorder=3)
    ax.axvline(0, color=GREY, linewidth=0.5, linestyle="-", marker="none", zorder=4)
    low, high = min(0.0, np.min(lost - reach)), max(0.0, np.max(lost + reach))
    margin = 0.25 * max(high - low, 0.1)
    ax.set_xlim(low - margin * (low < 0), high + margin)
    for y, value, error in zip(at, lost, reach, strict=True):
        side = 1 if value >= 0 else -1
        place: dict[str, Any] = {
            "xytext": (3 * side, 0),
            "textcoords": "offset points",
            "ha": "left" if side > 0 else "right",
        }
        ax.annotate(
            f"{value:+.2f}".replace("-", "\u2212"),
            (value + side * error, y),
            va="center_baseline",
            **place,
            **canvas.text(SMALL),
        )
    ax.set_yticks(at, [canvas.shortened(name, LONGEST) for name in names], parse_math=False)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.locator_params(axis="x", nbins=6)
    ax.grid(axis="x", color=RULE, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.set_xlabel(f"points of validation {score} lost without it", labelpad=3, **canvas.text(SMALL))
    canvas.write(figure, path)


def _lowest(values: np.ndarray) -> float:
    """Return the lower end of the axis in whole per cent, chosen so that a few bad trials do not flatten the rest."""
    median = float(np.median(values))
    limit = median - 3 * max(values.max() - median, 1.0)
    return float(max(np.floor(values[values >= limit].min() - 0.5), 0))
