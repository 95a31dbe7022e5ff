"""Draws rows as pictures with a network's predictions, a confusion matrix, and the weights of a first layer."""

import math
import os
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.patches import Rectangle

from fastff.errors import ArgumentError
from fastff.plots import canvas
from fastff.plots.canvas import BLUE, FONT, GREY, INK, RED
from fastff.system.arguments import check_numbers
from fastff.system.blocks import Sliceable, row_blocks


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
    """Draw the first 40 rows as pictures, captioned "predicted (true)"; mistakes have a red frame and a cross.

    rows: (N, C*H*W), uint8 or float; labels, predictions: (N,) or (N, 1) integers; confidences: (N,) within 0..1.
    image_shape: (C, H, W), the order of values in a row; C = 1 is grey, C = 3 colour.

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
    figure, ax = canvas.sheet(columns * (width + gap) + gap, lines * (height + caption + gap) + gap / 2)
    captions = []
    for i, picture in enumerate(pictures):
        x, y = gap + i % columns * (width + gap), gap + i // columns * (height + caption + gap)
        right = guesses[i] == truth[i]
        sign, colour, weight = ("✓", BLUE, "normal") if right else ("✗", RED, "bold")
        _place(ax, picture, (x, y, width, height), frame=None if right else RED, cmap="gray", vmin=0, vmax=1)
        guess, true = f"{sign} {_name(class_names, guesses[i])}{sure[i]}", f"({_name(class_names, truth[i])})"
        plain: dict[str, Any] = {"ha": "center", "parse_math": False}
        captions += [
            ax.text(x + width / 2, y + height + 0.19, guess, **canvas.text(9.5, colour, weight=weight, **plain)),
            ax.text(x + width / 2, y + height + 0.36, true, **canvas.text(9.5, GREY, **plain)),
        ]
    canvas.shrink(captions, width + 0.6 * gap)
    canvas.write(figure, path)


def draw_confusion(path: str | os.PathLike[str], matrix: Any, *, class_names: Sequence[str] | None) -> None:
    """Draw a confusion matrix: each cell's count and per cent of its row; with more than 20 classes only colours.

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

    figure, ax = canvas.chart(side + 1.4, side + 1.2)
    # The square root makes the few per cent off the diagonal visible: the mistakes, which one looks for.
    image = ax.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
    if written:
        for (i, j), share in np.ndenumerate(shares):
            if counts[i, j] == 0:
                ax.text(j, i, "0", **canvas.text(small, GREY, ha="center", va="center", in_layout=False))
                continue
            style = canvas.text(large, "white" if share > 40 else INK, ha="center", in_layout=False)
            ax.text(j, i, f"{counts[i, j]:,}", va="bottom", **style)
            ax.text(j, i + 0.07, f"{share:.1f}%", va="top", **{**style, "fontsize": small})
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_ticks(np.arange(1, classes) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1.5)
    else:
        bar = figure.colorbar(image, ax=ax, shrink=0.75, aspect=30, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelcolor=INK, labelsize=9, labelfontfamily=FONT)
        bar.set_label("per cent of the true class", **canvas.text(9.5))
    named = range(0, classes, math.ceil(classes / 50))
    names = [_name(class_names, i) for i in named]
    wide = max(map(len, names)) * 0.65 * label > 72 * side / len(names)
    ax.set_xticks(named, names, rotation=90 if wide else 0, parse_math=False)
    ax.set_yticks(named, names, parse_math=False)
    ax.tick_params(which="both", length=0, labelcolor=INK, labelsize=label, labelfontfamily=FONT)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted", labelpad=8, **canvas.text(10.5, weight="bold"))
    ax.set_ylabel("true", labelpad=8, **canvas.text(10.5, weight="bold"))
    total = int(totals.sum())
    right = np.trace(counts) / max(total, 1)
    ax.set_title(f"{right:.1%} of {total:,} right", loc="left", pad=10, **canvas.text(12, weight="bold"))
    canvas.write(figure, path)


def draw_weights(path: str | os.PathLike[str], weights: Any, *, image_shape: tuple[int, int, int]) -> None:
    """Draw the weights of up to 64 units of the first layer as pictures, those with the largest norms first.

    weights: (C*H*W, units), an array or a Sliceable. Each unit is scaled by its own largest magnitude. In grey pictures
    blue is negative, white zero and red positive; in colour pictures grey is zero.

    Raises ArgumentError when shapes do not fit, DataError when the file cannot be written.
    """
    rows: Sliceable = weights if hasattr(weights, "shape") else np.asarray(weights)
    if len(rows.shape) != 2 or 0 in rows.shape:
        raise ArgumentError(f"weights has shape {rows.shape}, wanted (inputs, units)")
    squares = sum((np.square(_finite(block)).sum(0) for block in row_blocks(rows)), np.zeros(rows.shape[1]))
    largest = np.argsort(-squares, kind="stable")[:64]
    units = np.concatenate([_finite(block[:, largest]) for block in row_blocks(rows)]).T
    peaks = np.abs(units).max(axis=1, keepdims=True, initial=0)
    pictures = _planes(units / np.where(peaks > 0, peaks, 1), image_shape)
    meaning = "blue negative, white zero, red positive"
    if image_shape[0] == 3:
        pictures, meaning = (pictures + 1) / 2, "grey is zero"
    shown, count = len(pictures), rows.shape[1]
    columns = max(math.ceil(math.sqrt(shown)), min(shown, 4))
    width, gap, head = 0.9, 0.1, 0.65
    height = width * image_shape[1] / image_shape[2]
    lines = math.ceil(shown / columns)
    figure, ax = canvas.sheet(max(columns * (width + gap) + gap, 4.3), head + lines * (height + gap) + gap)
    heading = "First layer" if shown == count else f"First layer: the {shown} of {count} units with the largest norm"
    texts = [ax.text(gap, 0.3, heading, **canvas.text(12, weight="bold"))]
    texts += [ax.text(gap, 0.52, f"each on its own scale; {meaning}", **canvas.text(9, GREY))]
    canvas.shrink(texts, figure.get_figwidth() - 2 * gap)
    for i, picture in enumerate(pictures):
        x, y = gap + i % columns * (width + gap), head + i // columns * (height + gap)
        _place(ax, picture, (x, y, width, height), frame=None, cmap="RdBu_r", vmin=-1, vmax=1)
    canvas.write(figure, path)


def display_example(
    row: Any,
    label: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    image_shape: tuple[int, int, int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show one row as a picture with its class as the title.

    Parameters
    ----------
    row : ndarray of shape (D,)
        3072 values are a 32x32 colour picture (all red values, then all green, then all blue), a square number of
        values is a grey picture, others need image_shape.
    label : int or ndarray, optional
        An integer, or an array that holds one.
    class_names : sequence of str, optional
        A name for each class; without it the title is the number.
    image_shape : tuple of int, optional
        (channels, height, width).
    ax : matplotlib.axes.Axes, optional
        Where to draw; pyplot makes axes if none are given.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ArgumentError
        When the shape cannot be guessed or does not fit, or the label has no name.
    """
    class_names = _checked_names(class_names)
    check_numbers("row", row, np.float64, "the numbers of one picture")
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
        found = check_numbers("label", label, np.float64, "a whole number")
        if found.size != 1 or found.item() % 1:
            raise ArgumentError(f"label: {label!r}, want one whole number")
        index = int(found.item())
        if class_names is not None and not 0 <= index < len(class_names):
            raise ArgumentError(f"label is {index}, wanted 0 to {len(class_names) - 1}, an index into class_names")
        name = _name(class_names, index)
    if ax is None:
        ax = canvas.pyplot_figure(2.6, 2.8).add_subplot()
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    if name is not None:
        ax.set_title(name, family=FONT, fontsize=11, parse_math=False)
    return ax


def _checked_names(class_names: Any) -> list[str] | None:
    """class_names as a list; ArgumentError for what has no names in an order."""
    if class_names is None:
        return None
    try:
        if not isinstance(class_names, str | bytes | Mapping | Set):
            return [str(name) for name in class_names]
    except TypeError:
        pass
    raise ArgumentError(f"class_names: {type(class_names).__name__}, want a list of names, one for each class")


def _finite(weights: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(weights, np.float64), posinf=0, neginf=0)


def _place(ax: Axes, picture: Any, box: tuple[float, float, float, float], *, frame: str | None, **how: Any) -> None:
    """Draw a picture on a sheet at box (x, y, width, height), with a frame of the colour `frame` unless it is None."""
    x, y, width, height = box
    ax.imshow(picture, extent=(x, x + width, y + height, y), interpolation="nearest", aspect="auto", **how)
    if frame:
        pad = 0.03
        corner = x - pad, y - pad
        ax.add_patch(Rectangle(corner, width + 2 * pad, height + 2 * pad, fill=False, edgecolor=frame, linewidth=2.5))


def _planes(rows: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Turn rows (N, C*H*W) into (N, H, W) if C is 1, grey, or into (N, H, W, 3) if C is 3, colour."""
    if not isinstance(image_shape, tuple | list) or len(image_shape) != 3 or image_shape[0] not in (1, 3):
        raise ArgumentError(f"image_shape is {image_shape}, wanted (1, H, W) for grey or (3, H, W) for colour")
    if rows.ndim != 2 or rows.shape[1] != math.prod(image_shape):
        found = f"{rows.shape[1]} values" if rows.ndim == 2 else f"{rows.ndim} dimensions"
        raise ArgumentError(
            f"a picture's row has {found}, wanted {math.prod(image_shape)} for image_shape {image_shape}"
        )
    pictures = rows.reshape(-1, *image_shape)
    return pictures[:, 0] if image_shape[0] == 1 else np.moveaxis(pictures, 1, -1)


def _pictures(rows: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Scale rows to 0..1, from 0..255 or 0..1 if they look like that, else from their own range; then as `_planes`."""
    values = np.nan_to_num(rows.astype(np.float64), posinf=0, neginf=0)
    low, high = float(np.min(values, initial=0)), float(np.max(values, initial=0))
    if low == 0 and (128 < high <= 255 or (rows.dtype == np.uint8 and image_shape[0] == 3)):
        high = 255
    elif low == 0 and high <= 1:
        high = 1
    return _planes((values - low) / ((high - low) or 1), image_shape)


def _name(class_names: Sequence[str] | None, index: Any) -> str:
    """Return a class's name, shortened to 18 characters, or its number if it has no name."""
    named = class_names is not None and 0 <= index < len(class_names)
    name = " ".join(str(class_names[int(index)] if class_names is not None and named else index).split())
    return name if len(name) <= 18 else name[:17] + "…"
