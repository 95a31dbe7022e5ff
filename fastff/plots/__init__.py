"""Draws a run (curves, confusion matrix or errors, examples, weights), a search for options, and single rows.

Only this package imports matplotlib, because that takes long.
"""

import fastff.plots.backend  # noqa: F401 (first)
from fastff.plots.curves import draw_curves
from fastff.plots.pictures import display_example, draw_confusion, draw_examples, draw_weights
from fastff.plots.regression import draw_predicted, draw_residuals
from fastff.plots.search import draw_ablation, draw_history, draw_importances

__all__ = [
    "display_example",
    "draw_ablation",
    "draw_confusion",
    "draw_curves",
    "draw_examples",
    "draw_history",
    "draw_importances",
    "draw_predicted",
    "draw_residuals",
    "draw_weights",
]
