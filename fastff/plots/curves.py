"""Draws the curves of a run: loss (left axis), and accuracy or r2 (right axis), of every batch and every epoch."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastff.errors import ArgumentError
from fastff.plots import canvas
from fastff.plots.canvas import BLUE, FONT, GREY, INK, RED, RULE, SMALL

BINS = 400  # more batches than this are grouped into about so many, drawn as a mean and a band from least to greatest
FIRST_BATCHES, FIRST_EPOCHS = 10, 3  # so many are the start
FARTHEST = 4  # what is more than so many times as far away as usual is an outlier, which no axis is stretched for
STEPS = 5  # the number of steps between ticks, equal on both axes so that their grid lines coincide


def draw_curves(
    path: str | os.PathLike[str] | None,
    batch_losses: Any,
    batch_accuracies: Any,
    epochs: Sequence[Any],
    *,
    title: str,
    best: int | None = None,
    lifted_by: Sequence[str] = (),
    batches_per_epoch: float | None = None,
) -> Figure:
    """Draw loss (left axis) and accuracy (right axis): faint lines for training batches, strong ones for validation.

    path: the file to write; None draws a figure of pyplot's. Returns the figure.

    Where numbers are predicted there is r2 in the place of the accuracy, of epochs only.

    batch_losses, batch_accuracies: (N,) each, accuracies within 0..1; losses may end in infinities and NaNs.
    epochs: records with epoch (from 1), train_loss, train_accuracy, val_loss, val_accuracy; the last two may be None,
        and if they are in all records, the training means of the epochs are drawn instead. If the accuracies are None
        they have train_r2 and val_r2, and batch_accuracies is empty.
    best: the epoch to mark, whose figures stand below the title; None marks none and gives the last one's.
    lifted_by: what only training does and what lifts its loss, such as "dropout"; a note says so where the training
        loss is above validation's.
    batches_per_epoch: places the batches on the axis of epochs; by default they are spread evenly over the records.

    Raises ArgumentError when there is nothing to draw or the lengths differ, DataError when the file cannot be written.
    """
    losses, accuracies = (np.array(values, np.float64).reshape(-1) for values in (batch_losses, batch_accuracies))
    score = "r2" if epochs and epochs[0].train_accuracy is None else "accuracy"
    if losses.size == 0 or accuracies.size != (0 if score == "r2" else losses.size):
        found = f"{losses.size} and {accuracies.size} values"
        raise ArgumentError(f"batch_losses and batch_accuracies hold {found}, wanted as many in both, at least one")
    accuracies *= 100
    validated = [record for record in epochs if record.val_loss is not None]
    source, kind = ("val", "validation") if validated else ("train", "epoch mean")
    marked = validated or epochs
    epoch_at = [record.epoch for record in marked]
    epoch_losses = np.array([getattr(record, f"{source}_loss") for record in marked], np.float64)
    epoch_scores = np.array([getattr(record, f"{source}_{score}") for record in marked], np.float64)
    epoch_scores *= 100 if score == "accuracy" else 1

    start = epochs[0].epoch - 1 if epochs else 0
    if batches_per_epoch is None:
        batches_per_epoch = losses.size / (epochs[-1].epoch - start) if epochs else 1
    at = start + np.arange(1, losses.size + 1) / batches_per_epoch
    end = max([at[-1], *epoch_at])

    notes = _notes(epochs, best, lifted_by) or [
        f"Batch {losses.size:,}: {_said('training', losses[-1], accuracies[-1] / 100)}"
    ]
    figure, (left,) = canvas.chart(2.3, title, notes, shown=path is None)
    right = left.twinx()
    right.grid(False)
    scale_of = _r2_scale if score == "r2" else _accuracy_scale
    lines = []
    for ax, name, colour, marker, batches, means, scale in (
        (left, "loss", BLUE, "o", losses, epoch_losses, _loss_scale(losses, epoch_losses)),
        (right, score, RED, "s", accuracies, epoch_scores, scale_of(accuracies, epoch_scores)),
    ):
        _set_scale(ax, "accuracy (%)" if name == "accuracy" else name, colour, *scale)
        bottom, top = ax.get_ylim()
        highest = top + 3 * (top - bottom)  # outside the frame, yet small enough for the canvas to draw
        if batches.size:
            lines += _draw_batches(ax, at, batches, highest, color=colour, label=f"{name}, training batch")
        if marked:
            shape = marker if len(marked) <= 30 else "none"
            look: dict[str, Any] = {"linewidth": 1, "linestyle": "-", "marker": shape, "markersize": 3, "zorder": 4}
            look |= {"markeredgecolor": "white", "markeredgewidth": 0.4, "label": f"{name}, {kind}"}
            lines += ax.plot(epoch_at, np.minimum(means, highest), color=colour, **look)
        if ax is left and best is not None:
            dashes: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (1, 1.5)), "marker": "none"}
            lines.append(left.axvline(best, color=INK, label="best epoch", zorder=3, **dashes))
    left.grid(axis="y", color=RULE, linewidth=0.5)
    left.set_xlim(start - 0.01 * (end - start), end + 0.015 * (end - start))
    left.locator_params(axis="x", integer=not epochs or end - start > 2, nbins=8)
    left.set_xlabel("epoch" if epochs else "batch", labelpad=2, **canvas.text(SMALL))
    left.tick_params(axis="x", length=2, color=GREY)

    broken = np.flatnonzero(~np.isfinite(losses))
    if broken.size:
        x = at[broken[0]]
        left.axvline(x, color=INK, linewidth=0.6, linestyle=(0, (3, 2)), marker="none")
        side, shift = ("right", -4) if x > (start + end) / 2 else ("left", 4)
        style = canvas.text(SMALL, ha=side, va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
        where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        # On the right axes, which are drawn over the left ones: their lines would cross a text on the left axes.
        note = f"loss not finite from batch {broken[0] + 1:,}"
        right.annotate(note, (x, 0.5), xytext=(shift, 0), **where, **style)
    canvas.legend(figure, lines, columns=2)
    if path is not None:
        canvas.write(figure, path)
    return figure


def _draw_batches(ax: Axes, at: np.ndarray, values: np.ndarray, highest: float, *, color: str, label: str) -> list[Any]:
    """Draw a faint line with a value per batch, or with means and a band if there are many. Returns the line."""
    missing = ~np.isfinite(values)
    values = np.minimum(np.where(missing, np.nan, values), highest)
    size = math.ceil(values.size / BINS)
    if size > 1:
        starts = np.arange(0, values.size, size)
        counts = np.add.reduceat(~missing, starts, dtype=np.float64)
        counts[counts == 0] = np.nan
        at = np.add.reduceat(at, starts) / np.diff([*starts, values.size])
        low = np.fmin.reduceat(values, starts)
        high = np.fmax.reduceat(values, starts)
        values = np.add.reduceat(np.where(missing, 0, values), starts) / counts
        ax.fill_between(at, low, high, color=color, alpha=0.13, linewidth=0)
    marker = "." if at.size <= 30 else "none"
    return ax.plot(
        at, values, color=color, alpha=0.42, linewidth=0.5, linestyle="-", marker=marker, markersize=2, label=label
    )


def _loss_scale(batches: np.ndarray, means: np.ndarray) -> tuple[float, float]:
    """Return (lowest tick, step) of the axis of losses, which begins at 0 unless there are losses below."""
    both = np.concatenate([batches[np.isfinite(batches)], means[np.isfinite(means)]])
    if both.min(initial=0) >= 0:
        return 0, _loss_step(_loss_top(batches, means))
    # Such as the Poisson loss, of which a part that no network changes is left out
    low, high = np.percentile(both, [0, 98])
    step = _loss_step(1.25 * float(high - low) or 1.0)  # a quarter more, as the lowest tick is a multiple of the step
    return step * math.floor(low / step), step


def _loss_top(batches: np.ndarray, means: np.ndarray) -> float:
    """Return the largest loss to show: above that of the start, but no outlier that flattens the curve."""
    batches, means = batches[np.isfinite(batches)], means[np.isfinite(means)]
    if batches.size == 0:
        return float(means.max(initial=0)) or 1.0
    limit = FARTHEST * max(_usual(batches, FIRST_BATCHES))
    top = batches[batches <= limit].max(initial=0)
    if means.size:  # show all of validation, which may be far above training, unless it explodes
        limit = max(limit, 10 * np.percentile(means, 50, method="lower"))
        top = max(top, means[means <= limit].max(initial=0))
    return float(top) or 1.0


def _usual(values: np.ndarray, first: int) -> tuple[float, float]:
    """Return the median of the first values and that of all: what is far from both is an outlier, not the start."""
    return float(np.median(values[:first])), float(np.median(values))


def _loss_step(top: float) -> float:
    """Return the smallest round number that, taken STEPS times, reaches `top`."""
    unit = 10.0 ** math.floor(math.log10(top / STEPS))
    return next(step * unit for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * unit * STEPS >= 0.999 * top)


def _r2_scale(batches: np.ndarray, means: np.ndarray) -> tuple[float, float]:
    """Return (lowest tick, step) of the narrowest axis up to 1 that shows all epochs but outliers, from 0 at most."""
    shown = _near_top(means[np.isfinite(means)], 1.0, FIRST_EPOCHS)
    low = shown.min(initial=1.0) if shown.size else 0.0
    fitting = (step for step in (0.02, 0.04, 0.1, 0.2, 0.3, 0.4) if 1 - step * STEPS <= low + 1e-9)
    step = next(fitting, 0.2)
    return 1 - step * STEPS, step


def _accuracy_scale(batches: np.ndarray, means: np.ndarray) -> tuple[float, float]:
    """Return (lowest tick, step) of the narrowest axis that shows all epochs, and all batches but outliers."""
    batches, means = batches[np.isfinite(batches)], means[np.isfinite(means)]
    high = max(batches.max(initial=0), means.max(initial=0))
    low = min(_near_top(batches, high, FIRST_BATCHES).min(initial=100), means.min(initial=100))
    for step in (2, 5, 10) if low >= 90 else (5, 10):
        lowest = max(step * (math.ceil(high / step) - STEPS), 0)
        if lowest <= low and high <= lowest + step * STEPS:
            return lowest, step
    return 0, 20


def _near_top(values: np.ndarray, top: float, first: int) -> np.ndarray:
    """Return the values but those that are far below `top`, seen from where the first ones and most are."""
    return values[top - values <= FARTHEST * (top - min(_usual(values, first)))] if values.size else values


def _set_scale(ax: Axes, label: str, colour: str, lowest: float, step: float) -> None:
    """Set an axis's ticks, label and colour; a small margin keeps marks at its ends from being cut off."""
    ticks = [lowest + step * i for i in range(STEPS + 1)]
    decimals = max(0, 1 - math.floor(math.log10(step))) if step % 1 else 0
    if all(f"{tick:.{decimals}f}".endswith("0") for tick in ticks):
        decimals = max(decimals - 1, 0)
    ax.set_yticks(ticks, [f"{tick:.{decimals}f}" if 1e-5 < step < 1e5 else f"{tick:g}" for tick in ticks])
    ax.set_ylim(ticks[0] - 0.15 * step, ticks[-1] + 0.15 * step)
    ax.set_ylabel(label, labelpad=3, **canvas.text(SMALL, colour, weight="bold"))
    ax.tick_params(axis="y", length=0, pad=2, labelcolor=colour, labelsize=SMALL, labelfontfamily=FONT)
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.spines["bottom"].set(color=GREY, linewidth=0.5)


def _notes(epochs: Sequence[Any], best: int | None, lifted_by: Sequence[str]) -> list[str]:
    """Return what stands below the title: the figures of the best epoch or else the last, and why the losses differ."""
    if not epochs:
        return []
    shown = next((record for record in epochs if record.epoch == best), epochs[-1])
    which = f"Best epoch {best:,} of {epochs[-1].epoch:,}" if shown.epoch == best else f"Epoch {shown.epoch:,}"
    score = "r2" if shown.train_accuracy is None else "accuracy"
    said = [_said("training", shown.train_loss, getattr(shown, f"train_{score}"), score)]
    if shown.val_loss is not None:
        said.insert(0, _said("validation", shown.val_loss, getattr(shown, f"val_{score}"), score))
    notes = [f"{which}: {'; '.join(said)}"]
    if lifted_by and shown.val_loss is not None and shown.train_loss > shown.val_loss:
        *others, last = lifted_by
        names = f"{', '.join(others)} and {last}" if others else last
        lift = f"lift{'' if others else 's'} its loss above that of validation"
        notes.append(f"{names[0].upper()}{names[1:]}, which only training has, {lift}.")
    return notes


def _said(split: str, loss: float, value: float, score: str = "accuracy") -> str:
    return f"{split} {score} {value:{'.3f' if score == 'r2' else '.1%'}}, loss {loss:.3g}"
