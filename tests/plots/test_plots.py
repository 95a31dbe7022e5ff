"""Pictures say what the numbers say, at every size of run, on white paper, without a display."""

import itertools
import subprocess
import sys
import threading
from types import SimpleNamespace

import matplotlib.style
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from fastff import plots
from fastff.errors import ArgumentError, DataError
from fastff.plots import canvas, curves

NAMES = ["horse", "ship", "truck"]
PNG = b"\x89PNG\r\n\x1a\n"


def records(losses, accuracies, *, validated=True):
    """Epoch records whose training figures are 0.1 above (loss) and below (accuracy) their validation ones."""
    return [
        SimpleNamespace(
            epoch=number,
            train_loss=loss + 0.1,
            train_accuracy=accuracy - 0.1,
            val_loss=loss if validated else None,
            val_accuracy=accuracy if validated else None,
        )
        for number, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)
    ]


def draw_all(folder):
    """Draw one small picture of each kind into a folder."""
    plots.draw_curves(folder / "curves.png", [1, 0.5], [0.4, 0.8], records([0.6], [0.7]), title="run")
    rows = np.arange(24, dtype=np.uint8).reshape(2, 12)
    plots.draw_examples(folder / "examples.png", rows, [0, 1], [0, 2], class_names=NAMES, image_shape=(3, 2, 2))
    plots.draw_confusion(folder / "confusion.png", np.eye(3, dtype=int), class_names=NAMES)
    plots.draw_weights(folder / "weights.png", np.eye(4), image_shape=(1, 2, 2))
    plots.draw_history(folder / "history.png", [0, 1], [0.7, 0.8], [True, False], title="search")
    plots.draw_importances(folder / "importances.png", {"step_size": 0.6, "layers": 0.4}, title="search")
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def figure(monkeypatch):
    """The figure that was drawn last, as `figure()`."""
    drawn = []
    write = canvas.write

    def keep(figure, path):
        drawn.append(figure)
        write(figure, path)

    monkeypatch.setattr(canvas, "write", keep)
    return lambda: drawn[-1]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


# --- every picture


def test_every_picture_is_a_whole_png_on_white(tmp_path):
    names = ["confusion", "curves", "examples", "history", "importances", "weights"]
    assert draw_all(tmp_path) == [f"{name}.png" for name in names]
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(PNG)
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all(), path.name
        assert pixels.min() < 100, path.name


def test_a_users_style_changes_nothing(tmp_path):
    plain, styled = tmp_path / "plain", tmp_path / "styled"
    plain.mkdir()
    styled.mkdir()
    draw_all(plain)
    own = {"axes.grid": True, "font.size": 20, "font.family": "serif", "lines.linestyle": "--", "lines.marker": "x"}
    with matplotlib.style.context(["dark_background", own]):
        names = draw_all(styled)
    for name in names:
        assert (styled / name).read_bytes() == (plain / name).read_bytes(), name


def test_pictures_can_be_drawn_in_a_thread(tmp_path):
    names = []
    thread = threading.Thread(target=lambda: names.extend(draw_all(tmp_path)))
    thread.start()
    thread.join()
    assert len(names) == 6


def test_files_are_drawn_without_pyplot(tmp_path):
    script = (
        "import sys; from fastff import plots; "
        f"plots.draw_weights({str(tmp_path / 'w.png')!r}, [[1.0]], image_shape=(1, 1, 1)); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"^cannot write .*w\.png: No such file or directory$"):
        plots.draw_weights(tmp_path / "missing" / "w.png", np.ones((1, 1)), image_shape=(1, 1, 1))


# --- curves


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
    assert left.get_title(loc="left") == "my run"
    assert texts(left) == ["epoch 2: training loss 0.6, accuracy 65.0%; validation loss 0.5, accuracy 75.0%"]
    (legend,) = figure().legends
    assert len(legend.get_texts()) == 4


def test_without_validation_the_epochs_training_means_are_drawn(tmp_path, figure):
    plots.draw_curves(tmp_path / "c.png", [1, 0.5], [0.5, 0.5], records([0.6], [0.7], validated=False), title="run")
    left, right = figure().axes
    assert line(left, "loss, epoch mean").get_ydata() == pytest.approx([0.7])
    assert line(right, "accuracy, epoch mean").get_ydata() == pytest.approx([60])
    assert "validation" not in texts(left)[0]


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
    assert texts(figure().axes[0]) == ["batch 1: training loss 1.1, accuracy 25.0%"]


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


def test_names_from_outside_are_never_read_as_formulas(tmp_path, figure):
    plots.draw_curves(tmp_path / "c.png", [1], [1], [], title="cost_$x^$\n" + "long " * 60)
    (title,) = figure().findobj(lambda artist: isinstance(artist, Text) and "cost" in artist.get_text())
    assert title.get_window_extent().x1 < figure().bbox.x1
    plots.draw_confusion(tmp_path / "m.png", np.eye(2), class_names=["$x^$", "a\nb"])
    plots.draw_examples(tmp_path / "e.png", [[1]], [0], [0], class_names=["$x^$"], image_shape=(1, 1, 1))


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


# --- examples


def test_examples_have_captions_and_mistakes_have_a_sign_and_a_frame(tmp_path, figure):
    plots.draw_examples(
        tmp_path / "e.png",
        np.zeros((2, 4), np.float32),
        np.array([[0], [1]]),
        np.array([0, 2]),
        class_names=NAMES,
        image_shape=(1, 2, 2),
        confidences=[0.984, 0.5],
    )
    (ax,) = figure().axes
    assert texts(ax) == ["✓ horse, 98%", "(horse)", "✗ truck, 50%", "(ship)"]
    (frame,) = ax.patches
    left, right = ax.images[1].get_extent()[:2]
    assert frame.get_x() < left < right < frame.get_x() + frame.get_width()
    assert to_hex(frame.get_edgecolor()) == canvas.RED.lower()


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (9, 9), (100, 40)])
def test_examples_stay_on_the_sheet_and_apart(tmp_path, figure, count, shown):
    classes = np.zeros(count, int)
    rows = np.random.default_rng(0).normal(size=(count, 6))
    names = ["a name that is much too long for a caption"]
    plots.draw_examples(tmp_path / "e.png", rows, classes, classes, class_names=names, image_shape=(1, 2, 3))
    (ax,) = figure().axes
    assert len(ax.images) == shown
    corners = [image.get_extent() for image in ax.images]
    assert len({(left, top) for left, _, _, top in corners}) == shown
    boxes = [text.get_window_extent() for text in ax.texts]
    assert all(figure().bbox.x0 <= box.x0 and box.x1 <= figure().bbox.x1 for box in boxes)
    assert all(box.y0 >= 0 for box in boxes)
    ends = sorted({(round(box.x0), round(box.x1)) for box in boxes[::2]})
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))


def test_rows_hold_the_red_green_and_blue_planes_one_after_the_other(tmp_path, figure):
    row = np.zeros((1, 3, 1, 2), np.uint8)
    row[0, 0, 0, 0] = 255  # the left pixel is red
    row[0, 2, 0, 1] = 100  # the right one is dark blue
    plots.draw_examples(tmp_path / "e.png", row.reshape(1, 6), [0], [0], class_names=None, image_shape=(3, 1, 2))
    np.testing.assert_allclose(figure().axes[0].images[0].get_array(), [[[1, 0, 0], [0, 0, 100 / 255]]])


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([0, 51, 255], np.uint8), [0, 0.2, 1]),  # bytes
        (np.array([0.0, 51, 255]), [0, 0.2, 1]),  # bytes as floats
        (np.array([0, 0.25, 0.5]), [0, 0.25, 0.5]),  # fractions
        (np.array([0, 4, 16], np.uint8), [0, 0.25, 1]),  # the digits' 0..16
        (np.array([-1.0, 0, 3]), [0, 0.25, 1]),  # standardized
        (np.array([0, np.nan, 1]), [0, 0, 1]),
        (np.array([0, 0, 0], np.uint8), [0, 0, 0]),
    ],
)
def test_brightness_follows_the_kind_of_values(values, wanted):
    shown = plots.display_example(values, image_shape=(1, 1, 3), ax=Figure().add_subplot()).images[0]
    np.testing.assert_allclose(shown.norm(shown.get_array()), [wanted])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_shape": (3, 2, 2)}, r"row has 4 values, wanted 12 for image_shape \(3, 2, 2\)"),
        ({"image_shape": (2, 2)}, r"image_shape is \(2, 2\), wanted \(1, H, W\)"),
        ({"image_shape": (2, 1, 2)}, r"image_shape is \(2, 1, 2\), wanted"),
        ({"labels": [0]}, "'labels': 1"),
        ({"confidences": [0.5]}, "'confidences': 1"),
        ({"rows": np.zeros((0, 4)), "labels": [], "predictions": []}, "at least one"),
        ({"rows": np.zeros(4)}, "1 dimensions"),
    ],
)
def test_examples_that_do_not_fit_are_refused(tmp_path, change, message):
    good = {"rows": np.zeros((2, 4)), "labels": [0, 1], "predictions": [0, 1], "image_shape": (1, 2, 2)}
    with pytest.raises(ArgumentError, match=message):
        plots.draw_examples(tmp_path / "e.png", **{**good, **change}, class_names=NAMES)
    assert not list(tmp_path.iterdir())


# --- confusion


def test_confusion_shows_counts_and_per_cent_of_the_row(tmp_path, figure):
    plots.draw_confusion(tmp_path / "m.png", [[1500, 500, 0], [0, 0, 0], [1, 2, 1]], class_names=NAMES)
    (ax,) = figure().axes
    assert texts(ax) == ["1,500", "75.0%", "500", "25.0%", *"0000", "1", "25.0%", "2", "50.0%", "1", "25.0%"]
    assert [label.get_text() for label in ax.get_yticklabels()] == NAMES
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    assert ax.get_title(loc="left") == "74.9% of 2,004 right"


@pytest.mark.parametrize(("classes", "written"), [(20, True), (21, False), (100, False)])
def test_many_classes_are_shown_by_colour_only(tmp_path, figure, classes, written):
    path = tmp_path / "m.png"
    plots.draw_confusion(path, np.ones((classes, classes), int), class_names=None)
    assert bool(figure().axes[0].texts) == written
    assert len(figure().axes[0].get_xticklabels()) <= 50
    assert path.stat().st_size < 500_000


@pytest.mark.parametrize(
    ("matrix", "names"), [(np.zeros((2, 3)), None), (np.zeros((0, 0)), None), (3, None), (np.eye(2), NAMES)]
)
def test_a_confusion_that_is_not_square_or_has_other_names_is_refused(tmp_path, matrix, names):
    with pytest.raises(ArgumentError, match="wanted"):
        plots.draw_confusion(tmp_path / "m.png", matrix, class_names=names)


# --- weights


def test_weights_are_ordered_by_norm_and_scaled_each_to_itself(tmp_path, figure):
    weights = np.array([[0.5, -4.0, 0.0, 1.0], [0.25, 2.0, 0.0, np.nan]])
    plots.draw_weights(tmp_path / "w.png", weights, image_shape=(1, 1, 2))
    images = [image.get_array().tolist() for image in figure().axes[0].images]
    assert images == [[[-1, 0.5]], [[1, 0]], [[1, 0.5]], [[0, 0]]]
    assert {image.get_clim() for image in figure().axes[0].images} == {(-1, 1)}


def test_colour_weights_have_zero_in_the_middle(tmp_path, figure):
    plots.draw_weights(tmp_path / "w.png", np.array([[2.0], [0.0], [-2.0]]), image_shape=(3, 1, 1))
    np.testing.assert_allclose(figure().axes[0].images[0].get_array(), [[[1, 0.5, 0]]])


def test_at_most_64_units_are_drawn(tmp_path, figure):
    plots.draw_weights(tmp_path / "w.png", np.arange(400.0).reshape(4, 100), image_shape=(1, 2, 2))
    assert len(figure().axes[0].images) == 64
    assert "64 of 100 units" in texts(figure().axes[0])[0]


@pytest.mark.parametrize("shape", [(4,), (5, 3), (4, 0)])
def test_weights_that_do_not_fit_are_refused(tmp_path, shape):
    with pytest.raises(ArgumentError, match="wanted"):
        plots.draw_weights(tmp_path / "w.png", np.zeros(shape), image_shape=(1, 2, 2))


# --- a search


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
    assert [label.get_text() for label in ax.get_yticklabels()] == ["mirror", "layers", "step size"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.4, 29.6, 70])
    assert texts(ax) == ["< 1%", "30%", "70%"]


# --- one example


def test_display_example_guesses_colour_and_grey():
    axes = Figure().add_subplot()
    row = np.zeros(3072, np.uint8)
    row[1024:2048] = 255
    assert plots.display_example(row, np.array([2]), class_names=NAMES, ax=axes) is axes
    assert axes.get_title() == "truck"
    picture = axes.images[0].get_array()
    assert picture.shape == (32, 32, 3)
    assert (picture == [0, 1, 0]).all()
    grey = plots.display_example(np.zeros((1, 784)), 7, ax=Figure().add_subplot())
    assert grey.images[0].get_array().shape == (28, 28)
    assert grey.get_title() == "7"


def test_display_example_makes_its_own_axes():
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    axes = plots.display_example(np.zeros(4))
    assert axes.figure.number in plt.get_fignums()
    assert axes.get_title() == ""
    plt.close(axes.figure)


@pytest.mark.parametrize(
    ("size", "how", "message"),
    [
        (3000, {}, "row holds 3000 values, wanted 3072 or a square number"),
        (0, {}, "row holds 0 values"),
        (12, {"image_shape": (1, 3, 3)}, "row has 12 values, wanted 9"),
        (4, {"label": 3, "class_names": NAMES}, "label is 3, wanted 0 to 2"),
        (4, {"label": -1, "class_names": NAMES}, "label is -1, wanted 0 to 2"),
    ],
)
def test_display_example_refuses_what_it_cannot_show(size, how, message):
    with pytest.raises(ArgumentError, match=message):
        plots.display_example(np.zeros(size), **how, ax=Figure().add_subplot())
