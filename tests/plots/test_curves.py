"""Curves of loss and accuracy say what the numbers say: of one batch or many, of a diverged or a resumed run."""

import numpy as np
import pytest
from drawn import heading, line, records, texts
from hypothesis import given
from hypothesis import strategies as st

from fastff import plots
from fastff.errors import ArgumentError
from fastff.plots import curves


def test_curves_show_batches_and_validation_where_they_belong(tmp_path, figure):
    epochs = records([0.8, 0.5], [0.6, 0.75])
    plots.draw_curves(tmp_path / "c.png", [1.2, 0.9, 0.7, 0.4], [0.3, 0.5, 0.6, 0.7], epochs, title="my run")
    left, right = figure().axes
    np.testing.assert_allclose(
        line(left, "loss, training batch").get_xydata(), [[0.5, 1.2], [1, 0.9], [1.5, 0.7], [2, 0.4]]
    )
    np.testing.assert_allclose(line(left, "loss, validation").get_xydata(), [[1, 0.8], [2, 0.5]])
    np.testing.assert_allclose(line(right, "accuracy, training batch").get_ydata(), [30, 50, 60, 70])
    np.testing.assert_allclose(line(right, "accuracy, validation").get_xydata(), [[1, 60], [2, 75]])
    assert (left.get_xlabel(), left.get_ylabel(), right.get_ylabel()) == ("epoch", "loss", "accuracy (%)")
    assert heading(figure()) == (
        "my run Epoch 2: validation accuracy 75.0%, loss 0.5; training accuracy 65.0%, loss 0.6"
    )
    (legend,) = figure().legends
    assert len(legend.get_texts()) == 4


def test_the_best_epoch_is_marked_and_its_figures_are_the_only_ones(tmp_path, figure):
    epochs = records([0.8, 0.5, 0.6], [0.6, 0.75, 0.7])
    plots.draw_curves(tmp_path / "c.png", np.ones(6), np.ones(6), epochs, title="my run", best=2)
    assert line(figure().axes[0], "best epoch").get_xdata() == [2, 2]
    assert "best epoch" in [text.get_text() for text in figure().legends[0].get_texts()]
    assert heading(figure()) == (
        "my run Best epoch 2 of 3: validation accuracy 75.0%, loss 0.5; training accuracy 65.0%, loss 0.6"
    )


@pytest.mark.parametrize(
    ("lifted_by", "note"),
    [
        ((), ""),
        (("dropout",), "Dropout, which only training has, lifts its loss above that of validation."),
        (
            ("dropout", "label smoothing", "mirroring"),
            "Dropout, label smoothing and mirroring, which only training has, lift its loss above that of validation.",
        ),
    ],
)
def test_a_note_says_why_the_training_loss_is_above_validations(tmp_path, figure, lifted_by, note):
    epochs = records([0.8, 0.5], [0.6, 0.75])
    plots.draw_curves(tmp_path / "c.png", [1, 1], [1, 1], epochs, title="my run", lifted_by=lifted_by)
    assert heading(figure()).endswith(f"loss 0.6 {note}".strip())


def test_no_note_where_the_training_loss_is_not_above_validations(tmp_path, figure):
    epochs = records([0.8], [0.6])
    epochs[0].train_loss = 0.7
    plots.draw_curves(tmp_path / "c.png", [1, 1], [1, 1], epochs, title="my run", lifted_by=["dropout"])
    assert "Dropout" not in heading(figure())
    plots.draw_curves(
        tmp_path / "c.png", [1], [1], records([0.8], [0.6], validated=False), title="run", lifted_by=["dropout"]
    )
    assert "Dropout" not in heading(figure())


@pytest.mark.parametrize("batches", [7, 3000])
def test_the_start_of_a_usual_training_is_in_view(tmp_path, figure, batches):
    losses = 0.05 + 2.4 * np.exp(-np.arange(batches) / 5)
    accuracies = 1 - 0.9 * np.exp(-np.arange(batches) / 5)
    plots.draw_curves(tmp_path / "c.png", losses, accuracies, records([0.3, 0.1], [0.9, 0.97]), title="run")
    left, right = figure().axes
    assert left.get_ylim()[1] >= losses[0]
    assert right.get_ylim()[0] <= 100 * accuracies[0]
    assert left.get_xlim()[0] <= 0


def test_a_first_batch_far_from_the_next_flattens_neither_axis(tmp_path, figure):
    losses, accuracies = np.full(500, 0.2), np.full(500, 0.95)
    losses[0], accuracies[0] = 30, 0.05
    plots.draw_curves(tmp_path / "c.png", losses, accuracies, records([0.2, 0.2], [0.95, 0.95]), title="run")
    left, right = figure().axes
    assert left.get_ylim()[1] < 0.5
    assert right.get_ylim()[0] > 85


@pytest.mark.parametrize("count", [1, 300])
def test_the_validation_of_all_epochs_is_drawn(tmp_path, figure, count):
    epochs = records(np.linspace(0.8, 0.2, count), np.linspace(0.6, 0.9, count))
    plots.draw_curves(tmp_path / "c.png", np.ones(20 * count), np.ones(20 * count), epochs, title="run", best=count)
    left, right = figure().axes
    for ax, name in ((left, "loss"), (right, "accuracy")):
        drawn = line(ax, f"{name}, validation").get_xydata()
        assert len(drawn) == count
        assert ax.get_xlim()[0] < drawn[0, 0] <= drawn[-1, 0] < ax.get_xlim()[1]
        assert ax.get_ylim()[0] < drawn[:, 1].min() <= drawn[:, 1].max() < ax.get_ylim()[1]


def test_without_validation_the_epochs_training_means_are_drawn(tmp_path, figure):
    plots.draw_curves(tmp_path / "c.png", [1, 0.5], [0.5, 0.5], records([0.6], [0.7], validated=False), title="run")
    left, right = figure().axes
    assert line(left, "loss, epoch mean").get_ydata() == pytest.approx([0.7])
    assert line(right, "accuracy, epoch mean").get_ydata() == pytest.approx([60])
    assert "validation" not in heading(figure())


def test_validation_every_other_epoch(tmp_path, figure):
    epochs = records([0.9, 0.8, 0.7, 0.6], [0.5, 0.6, 0.7, 0.8])
    epochs[0].val_loss = epochs[0].val_accuracy = epochs[2].val_loss = epochs[2].val_accuracy = None
    plots.draw_curves(tmp_path / "c.png", np.ones(8), np.ones(8) / 2, epochs, title="run")
    np.testing.assert_allclose(line(figure().axes[0], "loss, validation").get_xydata(), [[2, 0.8], [4, 0.6]])


def test_a_resumed_run_starts_where_its_first_record_does(tmp_path, figure):
    epochs = records([0.9, 0.8, 0.7], [0.5, 0.6, 0.7])[1:]
    plots.draw_curves(tmp_path / "c.png", np.ones(4), np.ones(4), epochs, title="run")
    np.testing.assert_allclose(line(figure().axes[0], "loss, training batch").get_xdata(), [1.5, 2, 2.5, 3])


def test_many_batches_become_a_band_that_holds_them_and_a_light_file(tmp_path, figure):
    random = np.random.default_rng(0)
    losses = random.uniform(0.5, 1.0, 50_000)
    losses[12_345] = 1.4
    path = tmp_path / "c.png"
    plots.draw_curves(path, losses, random.uniform(0, 1, 50_000), records([0.7] * 50, [0.5] * 50), title="long")
    left, _ = figure().axes
    assert len(line(left, "loss, training batch").get_xdata()) <= 400
    band = left.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == 1.4
    assert band[:, 1].min() == losses.min()
    assert path.stat().st_size < 300_000


def test_one_batch_and_no_epoch(tmp_path, figure):
    plots.draw_curves(tmp_path / "c.png", [1.1], [0.25], [], title="run")
    assert figure().axes[0].get_xlabel() == "batch"
    assert heading(figure()) == "run Batch 1: training accuracy 25.0%, loss 1.1"


def test_a_diverged_run_is_marked_and_its_explosion_does_not_flatten_the_rest(tmp_path, figure):
    losses = np.concatenate([np.linspace(1.1, 0.4, 90), np.geomspace(1, 1e30, 8), [np.inf, np.nan]])
    epochs = records([0.6, 1e20], [0.7, 0.3])
    plots.draw_curves(tmp_path / "c.png", losses, np.full(100, 0.5), epochs, title="run", batches_per_epoch=45)
    left, right = figure().axes
    assert left.get_ylim()[1] < 5
    assert texts(right) == ["loss not finite from batch 99"]
    assert line(left, "loss, training batch").get_xdata()[89] == pytest.approx(2)


def test_losses_that_were_never_finite(tmp_path, figure):
    epochs = records([np.nan], [0.3])
    plots.draw_curves(tmp_path / "c.png", np.full(1000, np.nan), np.full(1000, 0.3), epochs, title="run")
    assert texts(figure().axes[1]) == ["loss not finite from batch 1"]


def test_a_first_spike_does_not_flatten_the_rest_but_overfitting_stays_in_view(tmp_path, figure):
    losses = np.concatenate([[300, 40], np.geomspace(1.1, 0.001, 500)])
    plots.draw_curves(tmp_path / "c.png", losses, np.ones(502), records([0.6, 3.5, 4.5], [0.7] * 3), title="run")
    assert 4.5 <= figure().axes[0].get_ylim()[1] < 10


@pytest.mark.parametrize(("losses", "accuracies"), [([], []), ([1, 2], [0.5])])
def test_curves_of_nothing_or_of_unequal_lengths_are_refused(tmp_path, losses, accuracies):
    with pytest.raises(ArgumentError, match=f"{len(losses)} and {len(accuracies)} values"):
        plots.draw_curves(tmp_path / "c.png", losses, accuracies, [], title="run")


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.lists(st.floats(0, 100), max_size=5))
def test_the_accuracy_axis_holds_every_epoch_within_0_and_100(batches, means):
    lowest, step = curves._accuracy_scale(np.array(batches), np.array(means))
    highest = lowest + step * curves.STEPS
    assert lowest >= 0
    assert highest <= 100
    for value in [*means, max(batches)]:
        assert lowest <= value <= highest


@given(st.floats(1e-9, 1e30))
def test_the_loss_axis_reaches_the_top_and_wastes_less_than_half(top):
    assert 0.5 <= top / (curves.STEPS * curves._loss_step(top)) <= 1.002


def test_losses_below_0_are_on_the_axis(tmp_path, figure):
    losses = np.linspace(-500, -632, 30)
    epochs = records([-600, -620, -631], [0.5, 0.6, 0.7])
    plots.draw_curves(tmp_path / "c.png", losses, np.full(30, 0.5), epochs, title="t")
    left = figure().axes[0]
    low, high = left.get_ylim()
    assert low <= -632
    assert -500 <= high < -400
    np.testing.assert_allclose(line(left, "loss, validation").get_ydata(), [-600, -620, -631])
