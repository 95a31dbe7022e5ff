"""What all pictures share: colours, fonts, sizes, empty figures, and writing a figure to a file.

Figures are drawn by matplotlib's Agg canvas without pyplot, so they need neither a display nor the main thread. Every
colour and font is set here, so that a user's matplotlib style cannot make a picture unreadable.
"""

import os
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fastff.system.files import replacing

# Blue and vermilion of Okabe and Ito's palette, which people with any kind of colour vision can tell apart
BLUE, RED = "#0072B2", "#D55E00"
INK, GREY, RULE = "#222222", "#666666", "#E4E4E4"
FONT = "DejaVu Sans"  # comes with matplotlib
DPI = 160


def text(size: float, color: str = INK, **more: Any) -> dict[str, Any]:
    """Return matplotlib's properties of a text of this size in points."""
    return {"family": FONT, "fontsize": size, "color": color, **more}


def pyplot_figure(width: float, height: float) -> Figure:
    """Return an empty figure that notebooks and pyplot.show() show."""
    import matplotlib.pyplot as plt  # only here: pyplot chooses a backend, which files do not need

    try:
        return plt.figure(figsize=(width, height))
    except ImportError:  # MPLBACKEND names one that is not installed here
        plt.switch_backend("agg")
        return plt.figure(figsize=(width, height))


def chart(width: float, height: float, *, shown: bool = False) -> tuple[Figure, Axes]:
    """Return a white figure, width x height in inches, with one pair of axes and no grid; shown: one of pyplot's."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.07)
    figure = pyplot_figure(width, height) if shown else Figure(figsize=(width, height), dpi=DPI)
    figure.set_facecolor("white")
    figure.set_layout_engine(layout)
    ax = figure.add_subplot(facecolor="white")
    ax.grid(False)
    return figure, ax


def shrink(texts: list[Any], inches: float) -> None:
    """Scale all texts down by one factor, so that the widest of them fits into so many inches."""
    renderer = FigureCanvasAgg(texts[0].figure).get_renderer()  # one for all, since each holds an empty picture
    widest = max(text.get_window_extent(renderer).width for text in texts) / DPI
    for text in texts:
        text.set_fontsize(text.get_fontsize() * min(1, inches / widest))


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty white figure with one pair of axes, whose coordinates are inches from the upper left corner."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    return figure, ax


def write(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Draw a figure into a PNG file, whole or not at all. Raises DataError."""
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
