"""Pictures of a run: its curves, its guesses, its mistakes and its weights; and one row of pixels to look at.

The only module that imports matplotlib. Files are drawn by the Agg canvas without pyplot, so neither a display nor the
main thread is needed, and every colour and font is set here, so that a user's own style cannot make them unreadable.
Imports numpy, matplotlib, fastff.errors and fastff.files only.
"""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from fastff.errors import ArgumentError
from fastff.files import replacing

# Blue and vermilion of Okabe and Ito's palette: told apart with every kind of colour vision.
BLUE, RED = "#0072B2", "#D55E00"
INK, GREY, RULE = "#222222", "#666666", "#E4E4E4"
FONT = "DejaVu Sans"  # comes with matplotlib
DPI = 160
BINS = 400  # more batches than this are drawn as so many means, in a band from minimum to maximum
STEPS = 5  # both axes of the curves have so many steps, so that one set of rules serves both


def draw_curves(
    path: str | os.PathLike[str],
    batch_losses: Any,
    batch_accuracies: Any,
    epochs: Sequence[Any],
    *,
    title: str,
    batches_per_epoch: float | None = None,
) -> None:
    """Draw loss (left axis) and accuracy (right axis) over a run: training a batch, faint; validation an epoch, strong.

    batch_losses, batch_accuracies: (N,) each, accuracies within 0..1; losses may end in infinities and NaNs.
    epochs: records with epoch (from 1), train_loss, train_accuracy, val_loss, val_accuracy; the last two may be None,
        and where no record has them the training means take their place.
    batches_per_epoch: without it the batches are spread evenly over the epochs that have a record.

    Raises ArgumentError when there is nothing to draw or the lengths differ, DataError when the file cannot be written.
    """
    losses, accuracies = (np.array(values, np.float64).reshape(-1) for values in (batch_losses, batch_accuracies))
    if losses.size == 0 or losses.size != accuracies.size:
        found = f"{losses.size} and {accuracies.size} values"
        raise ArgumentError(f"batch_losses and batch_accuracies hold {found}, wanted as many in both, at least one")
    accuracies *= 100
    validated = [record for record in epochs if record.val_loss is not None]
    source, kind = ("val", "validation") if validated else ("train", "epoch mean")
    marked = validated or epochs
    epoch_at = [record.epoch for record in marked]
    epoch_losses = np.array([getattr(record, f"{source}_loss") for record in marked], np.float64)
    epoch_accuracies = 100 * np.array([getattr(record, f"{source}_accuracy") for record in marked], np.float64)

    start = epochs[0].epoch - 1 if epochs else 0
    if batches_per_epoch is None:
        batches_per_epoch = losses.size / (epochs[-1].epoch - start) if epochs else 1
    at = start + np.arange(1, losses.size + 1) / batches_per_epoch
    end = max([at[-1], *epoch_at])

    figure, left = _chart(8.4, 4.8)
    right = left.twinx()
    right.grid(False)
    top = _loss_top(losses, epoch_losses)
    lines = []
    for ax, name, colour, marker, batches, means, scale in (
        (left, "loss", BLUE, "o", losses, epoch_losses, (0, _loss_step(top))),
        (right, "accuracy", RED, "s", accuracies, epoch_accuracies, _accuracy_scale(accuracies, epoch_accuracies)),
    ):
        _set_scale(ax, "accuracy (%)" if ax is right else name, colour, *scale)
        highest = 3 * ax.get_ylim()[1]  # far above the frame, and still a number that the canvas can hold
        lines += _draw_batches(ax, at, batches, highest, color=colour, label=f"{name}, training batch")
        if marked:
            lines += ax.plot(epoch_at, np.minimum(means, highest), color=colour, label=f"{name}, {kind}")
            shape = marker if len(marked) <= 30 else "none"
            lines[-1].set(
                linewidth=2,
                linestyle="-",
                marker=shape,
                markersize=6.5,
                markeredgecolor="white",
                markeredgewidth=0.9,
                zorder=4,
            )
    left.grid(axis="y", color=RULE, linewidth=0.8)
    left.set_xlim(start - 0.01 * (end - start), end + 0.015 * (end - start))
    left.locator_params(axis="x", integer=not epochs or end - start > 2, nbins=10)
    left.set_xlabel("epoch" if epochs else "batch", **_text(10))
    left.tick_params(axis="x", length=3, color=GREY, labelcolor=INK, labelsize=9, labelfontfamily=FONT)

    broken = np.flatnonzero(~np.isfinite(losses))
    if broken.size:
        x = at[broken[0]]
        left.axvline(x, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        side, shift = ("right", -6) if x > (start + end) / 2 else ("left", 6)
        style = _text(9, ha=side, va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})
        where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        # On the right axes, since the left ones' texts lie under the right ones' lines.
        note = f"loss not finite from batch {broken[0] + 1:,}"
        right.annotate(note, (x, 0.5), xytext=(shift, 0), **where, **style)
    bold = _text(12.5, weight="bold", parse_math=False)
    heading = left.set_title(" ".join(title.split()), loc="left", pad=24, **bold)
    below: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, 9), "textcoords": "offset points"}
    figures = left.annotate(_final_figures(epochs, losses, accuracies), (0, 1), **below, **_text(9.5, GREY))
    for line in (heading, figures):
        _shrink([line], 7)
    fonts = {"prop": {"family": FONT, "size": 9}, "labelcolor": INK}
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False, handlelength=1.8, **fonts)
    _write(figure, path)


def draw_examples(
    path: str | os.PathLike[str],
    rows: Any,
    labels: Any,
    predictions: Any,
    *,
    class_names: Sequence[str] | None,
    image_shape: tuple[int, int, int],
    confidences: Any = None,
) -> None:
    """Draw the first 40 rows as pictures, captioned "predicted (true)"; mistakes have a frame, a cross and a colour.

    rows: (N, C*H*W), uint8 or float; labels, predictions: (N,) or (N, 1) integers; confidences: (N,) within 0..1.
    image_shape: (C, H, W), the planes' order in a row; C = 1 is grey, C = 3 colour.

    Raises ArgumentError when shapes do not fit, DataError when the file cannot be written.
    """
    pictures = _pictures(np.asarray(rows)[:40], image_shape)
    columns_of = {"rows": len(rows), "labels": np.size(labels), "predictions": np.size(predictions)}
    if confidences is not None:
        columns_of["confidences"] = np.size(confidences)
    if len(rows) == 0 or len(set(columns_of.values())) > 1:
        raise ArgumentError(f"found {columns_of} examples, wanted as many of each, at least one")
    truth, guesses = np.reshape(labels, -1), np.reshape(predictions, -1)
    sure = [""] * len(pictures) if confidences is None else [f", {p:.0%}" for p in np.reshape(confidences, -1)]

    lines = math.ceil(len(pictures) / 8)
    columns = math.ceil(len(pictures) / lines)
    width, gap, caption = 1.05, 0.16, 0.42
    height = width * image_shape[1] / image_shape[2]
    figure, ax = _sheet(columns * (width + gap) + gap, lines * (height + caption + gap) + gap / 2)
    captions = []
    for i, picture in enumerate(pictures):
        x, y = gap + i % columns * (width + gap), gap + i // columns * (height + caption + gap)
        right = guesses[i] == truth[i]
        sign, colour, weight = ("✓", BLUE, "normal") if right else ("✗", RED, "bold")
        _place(ax, picture, (x, y, width, height), frame=None if right else RED, cmap="gray", vmin=0, vmax=1)
        guess, true = f"{sign} {_name(class_names, guesses[i])}{sure[i]}", f"({_name(class_names, truth[i])})"
        plain: dict[str, Any] = {"ha": "center", "parse_math": False}
        captions += [
            ax.text(x + width / 2, y + height + 0.19, guess, **_text(9.5, colour, weight=weight, **plain)),
            ax.text(x + width / 2, y + height + 0.36, true, **_text(9.5, GREY, **plain)),
        ]
    _shrink(captions, width + 0.6 * gap)
    _write(figure, path)


def draw_confusion(path: str | os.PathLike[str], matrix: Any, *, class_names: Sequence[str] | None) -> None:
    """Draw a confusion matrix: counts and per cent of the row in each cell; beyond 20 classes colours only.

    matrix: (C, C) counts, a row for each true class, a column for each predicted one.

    Raises ArgumentError when matrix is not square or the names do not fit, DataError when the file cannot be written.
    """
    counts = np.asarray(matrix)
    classes = len(counts) if counts.ndim else 0
    if classes == 0 or counts.shape != (classes, classes):
        raise ArgumentError(f"matrix has shape {counts.shape}, wanted (classes, classes)")
    if class_names is not None and len(class_names) != classes:
        raise ArgumentError(f"class_names holds {len(class_names)} names, wanted {classes}, one for each row of matrix")
    totals = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(totals, 1)
    written = classes <= 20
    side = min(max(0.72 * classes, 3.2), 9) if written else 7.5
    large, small, label = (10.5, 8, 10) if classes <= 12 else (8.5, 6.5, 8.5 if written else 7)

    figure, ax = _chart(side + 1.4, side + 1.2)
    # The square root brings out the few per cent off the diagonal, which is what one looks for.
    image = ax.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
    if written:
        for (i, j), share in np.ndenumerate(shares):
            if counts[i, j] == 0:
                ax.text(j, i, "0", **_text(small, GREY, ha="center", va="center"))
                continue
            style = _text(large, "white" if share > 40 else INK, ha="center")
            ax.text(j, i, f"{counts[i, j]:,}", va="bottom", **style)
            ax.text(j, i + 0.07, f"{share:.1f}%", va="top", **{**style, "fontsize": small})
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_ticks(np.arange(1, classes) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1.5)
    else:
        bar = figure.colorbar(image, ax=ax, shrink=0.75, aspect=30, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelcolor=INK, labelsize=9, labelfontfamily=FONT)
        bar.set_label("per cent of the true class", **_text(9.5))
    named = range(0, classes, math.ceil(classes / 50))
    names = [_name(class_names, i) for i in named]
    wide = max(map(len, names)) * 0.65 * label > 72 * side / len(names)
    ax.set_xticks(named, names, rotation=90 if wide else 0, parse_math=False)
    ax.set_yticks(named, names, parse_math=False)
    ax.tick_params(which="both", length=0, labelcolor=INK, labelsize=label, labelfontfamily=FONT)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted", labelpad=8, **_text(10.5, weight="bold"))
    ax.set_ylabel("true", labelpad=8, **_text(10.5, weight="bold"))
    total = int(totals.sum())
    right = np.trace(counts) / max(total, 1)
    ax.set_title(f"{right:.1%} of {total:,} right", loc="left", pad=10, **_text(12, weight="bold"))
    _write(figure, path)


def draw_weights(path: str | os.PathLike[str], weights: Any, *, image_shape: tuple[int, int, int]) -> None:
    """Draw the first layer's units as pictures, the largest norms first, up to 64.

    weights: (C*H*W, units). Each unit is scaled to its own largest magnitude, zero in the middle: in grey pictures
    blue is negative and red positive, in colour pictures grey is zero.

    Raises ArgumentError when shapes do not fit, DataError when the file cannot be written.
    """
    weights = np.nan_to_num(np.asarray(weights, np.float64), posinf=0, neginf=0)
    if weights.ndim != 2 or weights.shape[1] == 0:
        raise ArgumentError(f"weights has shape {weights.shape}, wanted (inputs, units)")
    units = weights.T[np.argsort(-np.linalg.norm(weights, axis=0), kind="stable")[:64]]
    peaks = np.abs(units).max(axis=1, keepdims=True, initial=0)
    pictures = _planes(units / np.where(peaks > 0, peaks, 1), image_shape)
    meaning = "blue negative, white zero, red positive"
    if image_shape[0] == 3:
        pictures, meaning = (pictures + 1) / 2, "grey is zero"
    shown, count = len(pictures), weights.shape[1]
    columns = max(math.ceil(math.sqrt(shown)), min(shown, 4))
    width, gap, head = 0.9, 0.1, 0.65
    height = width * image_shape[1] / image_shape[2]
    lines = math.ceil(shown / columns)
    figure, ax = _sheet(max(columns * (width + gap) + gap, 4.3), head + lines * (height + gap) + gap)
    heading = "First layer" if shown == count else f"First layer: the {shown} of {count} units with the largest norm"
    texts = [ax.text(gap, 0.3, heading, **_text(12, weight="bold"))]
    texts += [ax.text(gap, 0.52, f"each on its own scale; {meaning}", **_text(9, GREY))]
    _shrink(texts, figure.get_figwidth() - 2 * gap)
    for i, picture in enumerate(pictures):
        x, y = gap + i % columns * (width + gap), head + i // columns * (height + gap)
        _place(ax, picture, (x, y, width, height), frame=None, cmap="RdBu_r", vmin=-1, vmax=1)
    _write(figure, path)


def display_example(
    row: Any,
    label: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    image_shape: tuple[int, int, int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show one row as a picture with its class as the title; returns the axes (pyplot's, if none are given).

    row: 3072 values are a 32x32 colour picture, red, green and blue plane after one another; a square number of values
    is a grey picture; anything else needs image_shape, (C, H, W). label: an integer, or an array that holds one.

    Raises ArgumentError when the shape cannot be guessed or does not fit, or the label has no name.
    """
    values = np.asarray(row).reshape(1, -1)
    if image_shape is None:
        side = math.isqrt(values.size)
        if values.size != 3072 and (side * side != values.size or side == 0):
            wanted = "3072 or a square number, or image_shape=(C, H, W)"
            raise ArgumentError(f"row holds {values.size} values, wanted {wanted}")
        image_shape = (3, 32, 32) if values.size == 3072 else (1, side, side)
    picture = _pictures(values, image_shape)[0]
    name = None
    if label is not None:
        index = int(np.reshape(label, -1)[0])
        if class_names is not None and not 0 <= index < len(class_names):
            raise ArgumentError(f"label is {index}, wanted 0 to {len(class_names) - 1}, an index into class_names")
        name = _name(class_names, index)
    if ax is None:
        import matplotlib.pyplot as plt  # here, so that the drawing of files never chooses a backend

        ax = plt.figure(figsize=(2.6, 2.8)).add_subplot()
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    if name is not None:
        ax.set_title(name, family=FONT, fontsize=11, parse_math=False)
    return ax


def _draw_batches(ax: Axes, at: np.ndarray, values: np.ndarray, highest: float, *, color: str, label: str) -> list[Any]:
    """Draw one value a batch, faint; many batches as means and a band. Returns the line."""
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
    return ax.plot(at, values, color=color, alpha=0.42, linewidth=1, linestyle="-", marker=marker, label=label)


def _loss_top(batches: np.ndarray, means: np.ndarray) -> float:
    """Return the largest loss to show, so that no spike at the start or explosion at the end flattens the rest."""
    batches, means = batches[np.isfinite(batches)], means[np.isfinite(means)]
    if batches.size == 0:
        return float(means.max(initial=0)) or 1.0
    usual = max(np.median(batches), np.median(batches[:10]))
    limit = 2 * min(np.percentile(batches, 98), 3 * usual)
    top = batches[batches <= limit].max(initial=0)
    if means.size:  # validation may rise far above training: keep it in view unless it explodes as well
        limit = max(limit, 10 * np.percentile(means, 50, method="lower"))
        top = max(top, means[means <= limit].max(initial=0))
    return float(top) or 1.0


def _loss_step(top: float) -> float:
    """Return the smallest round number of which STEPS reach `top`."""
    unit = 10.0 ** math.floor(math.log10(top / STEPS))
    return next(step * unit for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * unit * STEPS >= 0.999 * top)


def _accuracy_scale(batches: np.ndarray, means: np.ndarray) -> tuple[float, float]:
    """Return (lowest tick, step) of the closest view that holds the epochs and all but the first few batches."""
    batches, means = batches[np.isfinite(batches)], means[np.isfinite(means)]
    low = min(float(np.percentile(batches, 5)) if batches.size else 100, means.min(initial=100))
    high = max(batches.max(initial=0), means.max(initial=0))
    for step in (2, 5, 10) if low >= 90 else (5, 10):
        lowest = max(step * (math.ceil(high / step) - STEPS), 0)
        if lowest <= low and high <= lowest + step * STEPS:
            return lowest, step
    return 0, 20


def _set_scale(ax: Axes, label: str, colour: str, lowest: float, step: float) -> None:
    """Give an axis STEPS steps and its own colour; the small margin keeps marks on the border whole."""
    ticks = [lowest + step * i for i in range(STEPS + 1)]
    decimals = max(0, 1 - math.floor(math.log10(step))) if step % 1 else 0
    if all(f"{tick:.{decimals}f}".endswith("0") for tick in ticks):
        decimals = max(decimals - 1, 0)
    ax.set_yticks(ticks, [f"{tick:.{decimals}f}" if 1e-5 < step < 1e5 else f"{tick:g}" for tick in ticks])
    ax.set_ylim(ticks[0] - 0.15 * step, ticks[-1] + 0.15 * step)
    ax.set_ylabel(label, **_text(10, colour, weight="bold"))
    ax.tick_params(axis="y", length=0, labelcolor=colour, labelsize=9, labelfontfamily=FONT)
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.spines["bottom"].set_color(GREY)


def _final_figures(epochs: Sequence[Any], losses: np.ndarray, accuracies: np.ndarray) -> str:
    """Return the line under the title."""
    if not epochs:
        return f"batch {losses.size:,}: training loss {losses[-1]:.3g}, accuracy {accuracies[-1]:.1f}%"
    last = epochs[-1]
    text = f"epoch {last.epoch}: training loss {last.train_loss:.3g}, accuracy {last.train_accuracy:.1%}"
    if last.val_loss is not None:
        text += f"; validation loss {last.val_loss:.3g}, accuracy {last.val_accuracy:.1%}"
    return text


def _planes(rows: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Turn rows of planes into (N, H, W) for grey or (N, H, W, 3) for colour."""
    if len(image_shape) != 3 or image_shape[0] not in (1, 3):
        raise ArgumentError(f"image_shape is {image_shape}, wanted (1, H, W) for grey or (3, H, W) for colour")
    if rows.ndim != 2 or rows.shape[1] != math.prod(image_shape):
        found = f"{rows.shape[1]} values" if rows.ndim == 2 else f"{rows.ndim} dimensions"
        raise ArgumentError(
            f"a picture's row has {found}, wanted {math.prod(image_shape)} for image_shape {image_shape}"
        )
    pictures = rows.reshape(-1, *image_shape)
    return pictures[:, 0] if image_shape[0] == 1 else np.moveaxis(pictures, 1, -1)


def _pictures(rows: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Scale rows to 0..1: bytes, fractions or, if they look like neither, by what they span; then as `_planes`."""
    values = np.nan_to_num(rows.astype(np.float64), posinf=0, neginf=0)
    low, high = values.min(initial=0), values.max(initial=0)
    if low == 0 and (128 < high <= 255 or (rows.dtype == np.uint8 and image_shape[0] == 3)):
        high = 255
    elif low == 0 and high <= 1:
        high = 1
    return _planes((values - low) / ((high - low) or 1), image_shape)


def _name(class_names: Sequence[str] | None, index: Any) -> str:
    """Return a class's name on one short line, or its number where it has none."""
    named = class_names is not None and 0 <= index < len(class_names)
    name = " ".join(str(class_names[int(index)] if class_names is not None and named else index).split())
    return name if len(name) <= 18 else name[:17] + "…"


def _text(size: float, color: str = INK, **more: Any) -> dict[str, Any]:
    """Return the properties of a text."""
    return {"family": FONT, "fontsize": size, "color": color, **more}


def _chart(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a white figure of so many inches with one pair of axes, free of the grid a user's style may ask for."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.07)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    ax = figure.add_subplot(facecolor="white")
    ax.grid(False)
    return figure, ax


def _shrink(texts: list[Any], inches: float) -> None:
    """Give all texts the one smaller scale at which the widest of them fits."""
    widest = max(text.get_window_extent().width for text in texts) / DPI
    for text in texts:
        text.set_fontsize(text.get_fontsize() * min(1, inches / widest))


def _sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty white figure whose one pair of axes counts inches from its upper left corner."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    return figure, ax


def _place(ax: Axes, picture: Any, box: tuple[float, float, float, float], *, frame: str | None, **how: Any) -> None:
    """Put a picture on a sheet at box (x, y, width, height), in a frame if there is a colour for it."""
    x, y, width, height = box
    ax.imshow(picture, extent=(x, x + width, y + height, y), interpolation="nearest", aspect="auto", **how)
    if frame:
        pad = 0.03
        corner = x - pad, y - pad
        ax.add_patch(Rectangle(corner, width + 2 * pad, height + 2 * pad, fill=False, edgecolor=frame, linewidth=2.5))


def _write(figure: Figure, path: str | os.PathLike[str]) -> None:
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
