"""The pictures of a regression are written whole, for one target or more, and bad shapes are refused."""

import numpy as np
import pytest
from drawn import heading
from PIL import Image

from fastff import ArgumentError
from fastff.plots import draw_curves, draw_predicted, draw_residuals
from fastff.plots.curves import _r2_scale
from fastff.training.history import EpochRecord

RNG = np.random.default_rng(0)


def size(path):
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize("draw", [draw_predicted, draw_residuals])
@pytest.mark.parametrize(("rows", "outputs"), [(1, 1), (50, 2), (9000, 6)])
def test_a_chart_for_each_of_the_first_targets(tmp_path, figure, draw, rows, outputs):
    t = RNG.normal(size=(rows, outputs))
    names = [f"target $_{i}" for i in range(outputs)]
    draw(tmp_path / "a.png", t, t + 0.1 * RNG.normal(size=t.shape), names=names, title="homes: r2 0.9")
    assert len(figure().axes) == min(outputs, 4)
    assert [ax.get_xlabel().split(",")[0] for ax in figure().axes] == names[:4]
    points = "Each point is a row; 4,000 of 9,000 are drawn." if rows == 9000 else "Each point is a row."
    assert heading(figure()).startswith(f"homes: r2 0.9 {points} On the red line the prediction is right")


def test_flat_targets_and_constant_ones_are_drawn(tmp_path):
    draw_predicted(tmp_path / "a.png", np.full(5, 3.0), np.full(5, 3.0), names=["a"], title="t")
    draw_residuals(tmp_path / "a.png", np.full(5, 3.0), np.full(5, 3.0), names=["a"], title="t")


@pytest.mark.parametrize(
    ("targets", "predictions", "names"), [([1.0], [1.0, 2.0], ["a"]), ([], [], ["a"]), ([1.0], [1.0], ["a", "b"])]
)
def test_bad_shapes_are_refused(tmp_path, targets, predictions, names):
    with pytest.raises(ArgumentError, match=r"^targets of shape .*, wanted as many of each$"):
        draw_predicted(tmp_path / "a.png", targets, predictions, names=names, title="t")


def record(epoch, r2, val=True):
    return EpochRecord(epoch, 1 / epoch, None, 1.1 / epoch if val else None, None, 1.0, 9.0, r2, r2 if val else None)


@pytest.mark.parametrize("val", [True, False])
def test_curves_have_r2_in_the_place_of_accuracies(tmp_path, val):
    records = [record(i, 1 - 3 / i, val) for i in range(1, 9)]
    draw_curves(tmp_path / "a.png", RNG.random(40), [], records, title="t")
    assert size(tmp_path / "a.png")[0] > 900
    with pytest.raises(ArgumentError, match=r"^batch_losses and batch_accuracies hold 40 and 3 values"):
        draw_curves(tmp_path / "a.png", RNG.random(40), [1.0] * 3, records, title="t")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.99, 0.95], (0.9, 0.02)),
        ([0.6], (0.5, 0.1)),
        ([-5.0, 0.1], (0.0, 0.2)),
        ([], (0.0, 0.2)),
        ([0.1, 0.4, 0.8, *[0.98] * 50], (0.0, 0.2)),  # the start is in view
        ([-0.3, 0.4, 0.8], (-0.5, 0.3)),
        ([-9.0, 0.91, 0.95, 0.97], (0.9, 0.02)),  # one outlier
        ([float("nan"), 0.95], (0.9, 0.02)),
    ],
)
def test_the_axis_of_r2_ends_at_1(values, expected):
    assert _r2_scale(np.array([]), np.array(values)) == pytest.approx(expected)
