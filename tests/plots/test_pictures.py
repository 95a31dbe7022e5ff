"""Examples, confusion matrices and weights as pictures show the values and classes that they are given."""

import itertools

import numpy as np
import pytest
from drawn import NAMES, heading, texts
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fastff import plots
from fastff.errors import ArgumentError
from fastff.plots import canvas

# --- examples


def test_examples_have_captions_and_mistakes_have_a_sign_and_a_frame(tmp_path, figure):
    plots.draw_examples(
        tmp_path / "e.png",
        np.zeros((2, 4), np.float32),
        np.array([[0], [1]]),
        np.array([0, 2]),
        title="mine",
        class_names=NAMES,
        image_shape=(1, 2, 2),
        confidences=[0.984, 0.5],
    )
    (ax,) = figure().axes
    key = ["✓ right", "✗ wrong, in a red frame"]
    assert texts(ax) == [*key, "✓ horse, 98%", "(horse)", "✗ truck, 50%", "(ship)"]
    colours = [to_hex(text.get_color()).upper() for text in ax.texts[:5]]
    assert colours == [canvas.BLUE, canvas.RED, canvas.BLUE, canvas.GREY, canvas.RED]
    assert heading(figure()) == (
        "mine Below each picture: the predicted class and its probability; in brackets the true class."
    )
    (frame,) = ax.patches
    left, right = ax.images[1].get_extent()[:2]
    assert frame.get_x() < left < right < frame.get_x() + frame.get_width()
    assert to_hex(frame.get_edgecolor()) == canvas.RED.lower()


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (9, 9), (100, 12)])
def test_examples_stay_on_the_sheet_and_apart(tmp_path, figure, count, shown):
    classes = np.zeros(count, int)
    rows = np.random.default_rng(0).normal(size=(count, 6))
    names = ["a name that is much too long for a caption"]
    plots.draw_examples(tmp_path / "e.png", rows, classes, classes, title="t", class_names=names, image_shape=(1, 2, 3))
    (ax,) = figure().axes
    assert len(ax.images) == shown
    corners = [image.get_extent() for image in ax.images]
    assert len({(left, top) for left, _, _, top in corners}) == shown
    boxes = [text.get_window_extent() for text in ax.texts]
    assert all(figure().bbox.x0 <= box.x0 and box.x1 <= figure().bbox.x1 for box in boxes)
    assert all(box.y0 >= 0 for box in boxes)
    ends = sorted({(round(box.x0), round(box.x1)) for box in boxes[2::2]})
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))


def test_rows_hold_the_red_green_and_blue_planes_one_after_the_other(tmp_path, figure):
    row = np.zeros((1, 3, 1, 2), np.uint8)
    row[0, 0, 0, 0] = 255  # the left pixel is red
    row[0, 2, 0, 1] = 100  # the right one is dark blue
    plots.draw_examples(
        tmp_path / "e.png", row.reshape(1, 6), [0], [0], title="t", class_names=None, image_shape=(3, 1, 2)
    )
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
        plots.draw_examples(tmp_path / "e.png", **{**good, **change}, title="t", class_names=NAMES)
    assert not list(tmp_path.iterdir())


def test_short_names_leave_room_for_more_examples(tmp_path, figure):
    classes = np.zeros(100, int)
    plots.draw_examples(
        tmp_path / "e.png", np.ones((100, 4)), classes, classes, title="t", class_names=None, image_shape=(1, 2, 2)
    )
    assert len(figure().axes[0].images) == 20


# --- confusion


def test_confusion_shows_counts_and_per_cent_of_the_row(tmp_path, figure):
    plots.draw_confusion(tmp_path / "m.png", [[1500, 500, 0], [0, 0, 0], [1, 2, 1]], title="mine", class_names=NAMES)
    ax, key = figure().axes
    assert texts(ax) == ["1,500", "75.0%", "500", "25.0%", *"0000", "1", "25.0%", "2", "50.0%", "1", "25.0%"]
    assert [label.get_text() for label in ax.get_yticklabels()] == NAMES
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert key.get_xlabel() == "per cent of the true class"
    assert heading(figure()) == (
        "mine 74.9% of 2,004 rows are right: those on the diagonal. "
        "The numbers count rows, with per cent of the true class below."
    )


def test_counts_stand_in_the_cells_where_they_fit(tmp_path, figure):
    for largest, written in ((1234, True), (123456, False)):
        plots.draw_confusion(tmp_path / "m.png", largest * np.eye(10, dtype=int), title="mine", class_names=None)
        assert (f"{largest:,}" in texts(figure().axes[0])) == written
        assert ("The numbers count rows." in heading(figure())) == written
        assert "%" not in "".join(texts(figure().axes[0]))


def test_long_names_of_classes_stay_apart_and_on_the_paper(tmp_path, figure):
    names = [f"complaint number {i} about the delivery of goods" for i in range(6)]
    plots.draw_confusion(tmp_path / "m.png", 100 * np.eye(6, dtype=int), title="mine", class_names=names)
    ax = figure().axes[0]
    for labels, side in ((ax.get_yticklabels(), "y"), (ax.get_xticklabels(), "x")):
        boxes = [label.get_window_extent() for label in labels]
        assert all(figure().bbox.x0 <= box.x0 and figure().bbox.y0 <= box.y0 for box in boxes)
        ends = sorted((getattr(box, f"{side}0"), getattr(box, f"{side}1")) for box in boxes)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))
        assert [label.get_text().replace("\n", " ") for label in labels][5].startswith("complaint number 5")


@pytest.mark.parametrize(("classes", "written"), [(12, True), (21, False), (100, False)])
def test_many_classes_are_shown_by_colour_only(tmp_path, figure, classes, written):
    path = tmp_path / "m.png"
    plots.draw_confusion(path, np.ones((classes, classes), int), title="t", class_names=None)
    assert bool(figure().axes[0].texts) == written
    assert len(figure().axes[0].get_xticklabels()) <= 50
    assert path.stat().st_size < 500_000


@pytest.mark.parametrize(
    ("matrix", "names"), [(np.zeros((2, 3)), None), (np.zeros((0, 0)), None), (3, None), (np.eye(2), NAMES)]
)
def test_a_confusion_that_is_not_square_or_has_other_names_is_refused(tmp_path, matrix, names):
    with pytest.raises(ArgumentError, match="wanted"):
        plots.draw_confusion(tmp_path / "m.png", matrix, title="t", class_names=names)


# --- weights


def test_weights_are_ordered_by_norm_and_scaled_each_to_itself(tmp_path, figure):
    weights = np.array([[0.5, -4.0, 0.0, 1.0], [0.25, 2.0, 0.0, np.nan]])
    plots.draw_weights(tmp_path / "w.png", weights, title="t", image_shape=(1, 1, 2))
    images = [image.get_array().tolist() for image in figure().axes[0].images]
    assert images == [[[-1, 0.5]], [[1, 0]], [[1, 0.5]], [[0, 0]]]
    assert {image.get_clim() for image in figure().axes[0].images} == {(-1, 1)}


def test_colour_weights_have_zero_in_the_middle(tmp_path, figure):
    plots.draw_weights(tmp_path / "w.png", np.array([[2.0], [0.0], [-2.0]]), title="t", image_shape=(3, 1, 1))
    np.testing.assert_allclose(figure().axes[0].images[0].get_array(), [[[1, 0.5, 0]]])


def test_at_most_64_units_are_drawn(tmp_path, figure):
    plots.draw_weights(tmp_path / "w.png", np.arange(400.0).reshape(4, 100), title="t", image_shape=(1, 2, 2))
    assert len(figure().axes[0].images) == 64
    assert heading(figure()) == (
        "t The 64 of 100 units with the largest norms. A picture shows one unit's weight of every pixel, on a scale of "
        "its own. Blue is below 0, white 0, red above 0."
    )


@pytest.mark.parametrize("shape", [(4,), (5, 3), (4, 0)])
def test_weights_that_do_not_fit_are_refused(tmp_path, shape):
    with pytest.raises(ArgumentError, match="wanted"):
        plots.draw_weights(tmp_path / "w.png", np.zeros(shape), title="t", image_shape=(1, 2, 2))


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
        (4, {"image_shape": 5}, "image_shape is 5, wanted"),
        (4, {"label": "x"}, "label: str that is not an array of numbers, want a whole number"),
        (4, {"label": []}, r"label: \[\], want one whole number"),
        (4, {"label": 1.5}, "label: 1.5, want one whole number"),
        (4, {"label": float("nan")}, "label: nan, want one whole number"),
        (4, {"label": 3, "class_names": NAMES}, "label is 3, wanted 0 to 2"),
        (4, {"label": -1, "class_names": NAMES}, "label is -1, wanted 0 to 2"),
        (4, {"label": 0, "class_names": 3}, "^class_names: int, want a list of names, one for each class$"),
        (4, {"label": 0, "class_names": "horse"}, "^class_names: str, want a list of names"),
        (4, {"label": 0, "class_names": {"horse": 0}}, "^class_names: dict, want a list of names"),
        (4, {"class_names": {"horse", "ship"}}, "^class_names: set, want a list of names"),
        (4, {"label": 0, "class_names": np.array(5)}, "^class_names: ndarray, want a list of names"),
    ],
)
def test_display_example_refuses_what_it_cannot_show(size, how, message):
    with pytest.raises(ArgumentError, match=message):
        plots.display_example(np.zeros(size), **how, ax=Figure().add_subplot())


@pytest.mark.parametrize("row", ["text", [[1], [1, 2]], object(), {}])
def test_display_example_refuses_what_is_no_row_of_numbers(row):
    with pytest.raises(ArgumentError, match=r"^row: \w+ that is not an array of numbers, want the numbers of one"):
        plots.display_example(row, ax=Figure().add_subplot())
