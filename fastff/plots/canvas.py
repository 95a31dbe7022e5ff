"""What all pictures share: size, fonts, colours, the heading, empty figures, and writing a figure to a file.

Pictures are drawn in the size in which half the width of an A4 page shows them, so that the size of a text here, in
points, is the one that is read on paper. Larger on a screen, everything in them grows alike.

Figures are drawn by matplotlib's Agg canvas without pyplot, so they need neither a display nor the main thread. Every
colour and font is set here, so that a user's matplotlib style cannot make a picture unreadable.
"""

import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import text_to_path

from fastff.system.files import replacing

# Blue and vermilion of Okabe and Ito's palette, which people with any kind of colour vision can tell apart
BLUE, RED = "#0072B2", "#D55E00"
INK, GREY, RULE = "#222222", "#555555", "#E4E4E4"
FONT = "DejaVu Sans"  # comes with matplotlib
WIDTH = 8 / 2.54  # inches: half the width of an A4 page without its margins
SMALL, LARGE = 6.0, 7.5  # points: the smallest text that is read with ease on paper, and a heading
LINE = 1.35 / 72  # inches from line to line, for each point of a text's size
EDGE = 0.06  # inches that stay empty around a picture
DPI = 300  # of files: 945 pixels in WIDTH
SCREEN_DPI = 200  # of pyplot's figures: 630 pixels in WIDTH


def text(size: float, color: str = INK, **more: Any) -> dict[str, Any]:
    """Return matplotlib's properties of a text of this size in points."""
    return {"family": FONT, "fontsize": size, "color": color, **more}


@lru_cache(1024)  # the same words are measured again where a picture looks for a size that fits
def width(words: str, size: float = SMALL, weight: str = "normal") -> float:
    """Return how many inches wide these words are in a size in points."""
    font = FontProperties(family=FONT, size=size, weight=weight)
    return text_to_path.get_text_width_height_descent(words, font, False)[0] / 72


def shortened(words: str, inches: float, size: float = SMALL, weight: str = "normal") -> str:
    """Return the words, on one line, as they are or cut so that they and an ellipsis are at most so many inches wide.

    Too long ones keep as much of their end as of their beginning, because names of classes may differ only there.
    """
    words = " ".join(words.split())
    if width(words, size, weight) <= inches:
        return words
    kept = min(len(words) - 1, 200)
    while kept > 1 and width(_without_middle(words, kept), size, weight) > inches:
        kept -= 1
    return _without_middle(words, kept)


def _without_middle(words: str, kept: int) -> str:
    return f"{words[: kept - kept // 2]}…{words[len(words) - kept // 2 :]}"


def wrapped(words: str, inches: float, size: float = SMALL, weight: str = "normal", most: int = 99) -> list[str]:
    """Return the words in lines of at most so many inches; a word, or a last line, that is too long is shortened."""
    lines: list[str] = []
    rest = words.split()
    while rest and len(lines) < most - 1:
        count = 1
        while count < len(rest) and width(" ".join(rest[: count + 1]), size, weight) <= inches:
            count += 1
        lines.append(shortened(" ".join(rest[:count]), inches, size, weight))
        del rest[:count]
    return [*lines, shortened(" ".join(rest), inches, size, weight)] if rest else lines


def heading(figure: Figure, title: str, notes: Iterable[str] = ()) -> float:
    """Write a title, of two lines at most, and notes in grey at the top of a figure; returns the inches they take."""
    inches, height = figure.get_size_inches()
    room = inches - 2 * EDGE
    lines = [(line, text(LARGE, weight="bold")) for line in wrapped(title, room, LARGE, "bold", most=2)]
    lines += [(line, text(SMALL, GREY)) for note in notes for line in wrapped(note, room)]
    top = EDGE
    for line, style in lines:
        how = {"va": "top", "parse_math": False, "in_layout": False, **style}
        figure.text(EDGE / inches, 1 - top / height, line, **how)
        top += LINE * style["fontsize"]
    return top + EDGE


def head_inches(title: str, notes: Iterable[str] = ()) -> float:
    """Return the inches that a heading takes, for a figure whose height depends on it."""
    return heading(Figure(figsize=(WIDTH, 1)), title, notes)


def pyplot_figure(inches: float, height: float, dpi: float | None = None) -> Figure:
    """Return an empty figure that notebooks and pyplot.show() show."""
    import matplotlib.pyplot as plt  # only here: pyplot chooses a backend, which files do not need

    try:
        return plt.figure(figsize=(inches, height), dpi=dpi)
    except ImportError:  # MPLBACKEND names one that is not installed here
        plt.switch_backend("agg")
        return plt.figure(figsize=(inches, height), dpi=dpi)


def paper(height: float, title: str, notes: Iterable[str], *, shown: bool = False) -> tuple[Figure, float]:
    """Return a white figure with a heading, and the share of its height, of so many inches, that is left below it."""
    notes = list(notes)
    whole = head_inches(title, notes) + height
    figure = pyplot_figure(WIDTH, whole, SCREEN_DPI) if shown else Figure(figsize=(WIDTH, whole), dpi=DPI)
    figure.set_facecolor("white")
    heading(figure, title, notes)
    return figure, height / whole


def chart(
    height: float, title: str, notes: Iterable[str] = (), *, count: int = 1, shown: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a white figure with a heading above so many pairs of axes, one below the other, without a grid.

    height: of all axes with their labels, in inches; the heading comes on top of that. shown: one of pyplot's.
    """
    figure, share = paper(height, title, notes, shown=shown)
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1, share), w_pad=EDGE, h_pad=EDGE / 2))
    axes = [figure.add_subplot(count, 1, i + 1, facecolor="white") for i in range(count)]
    for ax in axes:
        ax.grid(False)
        ax.tick_params(which="both", width=0.5, length=0, pad=2, labelcolor=INK, labelsize=SMALL, labelfontfamily=FONT)
        ax.spines[["left", "right", "top"]].set_visible(False)
        ax.spines["bottom"].set(color=GREY, linewidth=0.5)
    return figure, axes


def legend(figure: Figure, handles: list[Any], columns: int) -> None:
    """Put a key below the axes of a figure."""
    fonts = {"prop": {"family": FONT, "size": SMALL}, "labelcolor": INK}
    space = {"handlelength": 1.6, "columnspacing": 1.2, "labelspacing": 0.3, "handletextpad": 0.5, "borderpad": 0.2}
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, **fonts, **space)


def sheet(height: float, title: str, notes: Iterable[str] = ()) -> tuple[Figure, Axes]:
    """Return a white figure with a heading, and axes below it whose coordinates are inches from their upper left."""
    figure, share = paper(height, title, notes)
    ax = figure.add_axes((0, 0, 1, share))
    ax.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    return figure, ax


def write(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Draw a figure into a PNG file, whole or not at all. Raises DataError."""
    with replacing(path) as temporary:
        # half the time of the usual level, for files that are 7% larger
        FigureCanvasAgg(figure).print_png(temporary, pil_kwargs={"compress_level": 3})
