"""Draws rows as pictures with a network's predictions, a confusion matrix, and the weights of a first layer."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.patches import Rectangle

from fastff.errors import ArgumentError
from fastff.plots import canvas
from fastff.plots.canvas import BLUE, EDGE, FONT, GREY, INK, RED, SMALL
from fastff.system.arguments import check_list, check_numbers
from fastff.system.blocks import Sliceable, row_blocks

LINES = 4  # of examples
FEWEST_COLUMNS, MOST_COLUMNS = 3, 5  # of examples: as many as the captions leave room for
LONGEST_NAME = 0.85  # inches of a line of a class's name beside the confusion matrix
MOST_NAMED = 20  # classes on an axis of the confusion matrix; of more every second, third, ... is named


def draw_examples(
    path: str | os.PathLike[str],
    rows: Any,
    labels: Any,
    predictions: Any,
    *,
    title: str,
    class_names: Sequence[str] | None,
    image_shape: tuple[int, int, int],
    confidences: Any = None,
) -> None:
    """Draw up to 20 rows as pictures, captioned "predicted (true)"; mistakes have a red frame and a cross.

    rows: (N, C*H*W), uint8 or float; labels, predictions: (N,) or (N, 1) integers; confidences: (N,) within 0..1.
    image_shape: (C, H, W), the order of values in a row; C = 1 is grey, C = 3 colour. Of many rows the
        first are drawn, fewer where names are long.

    Raises ArgumentError when shapes do not fit, DataError when the file cannot be written.
    """
    pictures = _pictures(np.asarray(rows)[: LINES * MOST_COLUMNS], image_shape)
    columns_of = {"rows": len(rows), "labels": np.size(labels), "predictions": np.size(predictions)}
    if confidences is not None:
        columns_of["confidences"] = np.size(confidences)
    if len(rows) == 0 or len(set(columns_of.values())) > 1:
        raise ArgumentError(f"found {columns_of} examples, wanted as many of each, at least one")
    truth, guesses = np.reshape(labels, -1), np.reshape(predictions, -1)
    sure = [""] * len(pictures) if confidences is None else [f", {p:.0%}" for p in np.reshape(confidences, -1)]

    signs = [("✓ ", BLUE, "normal") if right else ("✗ ", RED, "bold") for right in guesses == truth]
    room = canvas.WIDTH - 2 * EDGE
    names = [(_name(class_names, guess), _name(class_names, true)) for guess, true in zip(guesses, truth, strict=True)]
    wanted = 0.06 + max(
        max(canvas.width(f"{sign}{guess}{p}", SMALL, weight), canvas.width(f"({true})"))
        for (sign, _, weight), (guess, true), p in zip(signs, names, sure, strict=False)
    )
    columns = min(max(int(room / wanted), FEWEST_COLUMNS), MOST_COLUMNS)
    pictures = pictures[: LINES * columns]
    cell, gap, line = room / columns, 0.08, canvas.LINE * SMALL
    width = min(0.5, 0.5 * image_shape[2] / image_shape[1])
    height = width * image_shape[1] / image_shape[2]
    what = "the predicted class" if confidences is None else "the predicted class and its probability"
    note = f"Below each picture: {what}; in brackets the true class."
    count = math.ceil(len(pictures) / columns)
    figure, ax = canvas.sheet(line + count * (gap + height + 2.4 * line) + gap, title, [note])
    ax.text(EDGE, 0, "✓ right", va="top", **canvas.text(SMALL, BLUE))
    key = "✗ wrong, in a red frame"
    ax.text(EDGE + canvas.width("✓ right   "), 0, key, va="top", **canvas.text(SMALL, RED, weight="bold"))
    for i, (picture, (sign, colour, weight), (guess, true)) in enumerate(zip(pictures, signs, names, strict=False)):
        middle, y = EDGE + (i % columns + 0.5) * cell, line + gap + i // columns * (gap + height + 2.4 * line)
        frame = RED if colour == RED else None
        _place(ax, picture, (middle - width / 2, y, width, height), frame=frame, cmap="gray", vmin=0, vmax=1)
        own = cell - 0.06 - canvas.width(sign + sure[i], SMALL, weight)
        captions = f"{sign}{canvas.shortened(guess, own, SMALL, weight)}{sure[i]}", true
        plain: dict[str, Any] = {"ha": "center", "va": "top", "parse_math": False}
        below = y + height + 0.05
        ax.text(middle, below, captions[0], **canvas.text(SMALL, colour, weight=weight, **plain))
        shown = f"({canvas.shortened(true, cell - 0.06 - canvas.width('()'))})"
        ax.text(middle, below + line, shown, **canvas.text(SMALL, GREY, **plain))
    canvas.write(figure, path)


def draw_confusion(path: str | os.PathLike[str], matrix: Any, *, title: str, class_names: Sequence[str] | None) -> None:
    """Draw a confusion matrix: colours, and in each cell its count and per cent of its row where there is room.

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
    total = int(totals.sum())

    named = range(0, classes, math.ceil(classes / MOST_NAMED))
    line, longest = canvas.LINE * SMALL, min(max(canvas.width(_name(class_names, i)) for i in named), LONGEST_NAME)
    side = min(canvas.WIDTH - longest - 0.4, 0.6 * classes + 0.4)
    cell = side / classes
    upright = longest + 0.04 > side / len(named)
    names = [canvas.wrapped(_name(class_names, i), longest, most=max(int(side / len(named) / line), 1)) for i in named]
    ticks = ["\n".join(lines) for lines in names]
    room = cell - 0.03
    in_cells = classes <= MOST_NAMED and max(canvas.width(f"{n:,}") for n in counts.flat) <= room
    per_cent = in_cells and canvas.width("100.0%") <= room and room >= 2 * line
    note = f"{np.trace(counts) / max(total, 1):.1%} of {total:,} rows are right: those on the diagonal."
    if in_cells:
        note += " The numbers count rows" + (", with per cent of the true class below." if per_cent else ".")

    figure, (ax,) = canvas.chart(side + (longest if upright else 0.1) + 0.75, title, [note])
    # The square root makes the few per cent off the diagonal visible: the mistakes, which one looks for.
    image = ax.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
    if in_cells:
        for (i, j), share in np.ndenumerate(shares):
            colour = GREY if counts[i, j] == 0 else "white" if share > 40 else INK
            style = canvas.text(SMALL, colour, ha="center", in_layout=False)
            both = per_cent and counts[i, j] > 0
            ax.text(j, i, f"{counts[i, j]:,}", va="bottom" if both else "center_baseline", **style)
            if both:
                ax.text(j, i + 0.06, f"{share:.1f}%", va="top", **style)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_ticks(np.arange(1, classes) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=0.6)
    place: dict[str, Any] = {"location": "bottom", "shrink": 0.9, "aspect": 30, "pad": 0.03}
    bar = figure.colorbar(image, ax=ax, ticks=[0, 1, 5, 10, 25, 50, 75, 100], **place)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, pad=2, labelcolor=INK, labelsize=SMALL, labelfontfamily=FONT)
    bar.set_label("per cent of the true class", labelpad=3, **canvas.text(SMALL))
    ax.set_xticks(named, ticks, rotation=90 if upright else 0, parse_math=False)
    ax.set_yticks(named, ticks, parse_math=False)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted class", labelpad=3, **canvas.text(SMALL, weight="bold"))
    ax.set_ylabel("true class", labelpad=3, **canvas.text(SMALL, weight="bold"))
    canvas.write(figure, path)


def draw_weights(path: str | os.PathLike[str], weights: Any, *, title: str, image_shape: tuple[int, int, int]) -> None:
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
    meaning = "Blue is below 0, white 0, red above 0."
    if image_shape[0] == 3:
        pictures = (pictures + 1) / 2
        meaning = "Grey is 0; more red, green or blue than that: the weight of that colour is above 0, less: below."
    shown, count = len(pictures), rows.shape[1]
    which = f"All {count:,} units" if shown == count else f"The {shown} of {count:,} units with the largest norms"
    notes = [f"{which}. A picture shows one unit's weight of every pixel, on a scale of its own.", meaning]
    columns = max(math.ceil(math.sqrt(shown)), 4)
    gap = 0.04
    width = (canvas.WIDTH - 2 * EDGE + gap) / columns - gap
    height = width * image_shape[1] / image_shape[2]
    figure, ax = canvas.sheet(math.ceil(shown / columns) * (height + gap) + EDGE, title, notes)
    for i, picture in enumerate(pictures):
        x, y = EDGE + i % columns * (width + gap), i // columns * (height + gap)
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
        name = canvas.shortened(_name(class_names, index), 2.4, 11)
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
    return [str(name) for name in check_list("class_names", class_names, "a list of names, one for each class")]


def _finite(weights: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(weights, np.float64), posinf=0, neginf=0)


def _place(ax: Axes, picture: Any, box: tuple[float, float, float, float], *, frame: str | None, **how: Any) -> None:
    """Draw a picture on a sheet at box (x, y, width, height), with a frame of the colour `frame` unless it is None."""
    x, y, width, height = box
    ax.imshow(picture, extent=(x, x + width, y + height, y), interpolation="nearest", aspect="auto", **how)
    if frame:
        pad = 0.015
        corner = x - pad, y - pad
        ax.add_patch(Rectangle(corner, width + 2 * pad, height + 2 * pad, fill=False, edgecolor=frame, linewidth=1.2))


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
    """Return a class's name on one line, or its number if it has no name."""
    named = class_names is not None and 0 <= index < len(class_names)
    return " ".join(str(class_names[int(index)] if class_names is not None and named else index).split())
