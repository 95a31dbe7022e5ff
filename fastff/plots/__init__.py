"""Pictures of a run: its curves, its guesses, its mistakes and its weights; of a search; and one row of pixels.

The only package that imports matplotlib. Imports NumPy, matplotlib, fastff.errors and fastff.system.files only.
"""

from fastff.plots.curves import draw_curves
from fastff.plots.pictures import display_example, draw_confusion, draw_examples, draw_weights
from fastff.plots.search import draw_history, draw_importances

__all__ = [
    "display_example",
    "draw_confusion",
    "draw_curves",
    "draw_examples",
    "draw_history",
    "draw_importances",
    "draw_weights",
]
