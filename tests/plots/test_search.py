"""Pictures of a search: its trials with the best so far, and how much each option matters."""

import numpy as np
from drawn import line, texts

from fastff import plots


def test_the_history_of_a_search_keeps_bad_trials_from_flattening_the_rest(tmp_path, figure):
    accuracies = [0.90, 0.10, 0.92, 0.95, 0.93]
    plots.draw_history(tmp_path / "h.png", range(5), accuracies, [True, True, True, True, False], title="search")
    (ax,) = figure().axes
    np.testing.assert_allclose(line(ax, "best so far").get_ydata(), [90, 90, 92, 95, 95])
    places = {dots.get_label(): np.asarray(dots.get_offsets()).tolist() for dots in ax.collections}
    low = ax.get_ylim()[0]
    assert 80 < low <= 90
    assert places[f"below {low:.0f}%"] == [[1, low]]
    np.testing.assert_allclose(places["trial"], [[0, 90], [2, 92], [3, 95]])
    np.testing.assert_allclose(places["stopped early"], [[4, 93]])


def test_importances_are_bars_with_the_longest_on_top(tmp_path, figure):
    shares = {"step_size": 0.7, "layers": 0.296, "mirror": 0.004}
    plots.draw_importances(tmp_path / "i.png", shares, title="search")
    (ax,) = figure().axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["mirror", "layers", "step_size"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.004, 0.296, 0.7])
    assert texts(ax) == ["< 1%", "30%", "70%"]


def test_an_ablation_is_bars_with_errors_from_the_first_on(tmp_path, figure):
    parts, points = ["dropout 0.2", "mirroring"], [1.5, -0.25]
    plots.draw_ablation(tmp_path / "a.png", parts, points, [0.5, np.nan], title="digits")
    (ax,) = figure().axes
    assert [label.get_text() for label in ax.get_yticklabels()] == parts
    assert ax.get_yticks()[0] > ax.get_yticks()[1]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], points)
    assert texts(ax) == ["+1.50", "−0.25"]
    low, high = ax.get_xlim()
    assert low < -0.25
    assert high > 2
