"""Every picture is a whole PNG on white paper, drawn without a display, whatever the user's style and names."""

import subprocess
import sys
import threading

import matplotlib.style
import numpy as np
import pytest
from drawn import NAMES, records
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image

from fastff import plots
from fastff.errors import DataError
from fastff.plots import canvas

PNG = b"\x89PNG\r\n\x1a\n"


def draw_all(folder):
    """Draw one small picture of each kind into a folder."""
    plots.draw_curves(folder / "curves.png", [1, 0.5], [0.4, 0.8], records([0.6], [0.7]), title="run")
    rows = np.arange(24, dtype=np.uint8).reshape(2, 12)
    plots.draw_examples(
        folder / "examples.png", rows, [0, 1], [0, 2], title="t", class_names=NAMES, image_shape=(3, 2, 2)
    )
    plots.draw_confusion(folder / "confusion.png", np.eye(3, dtype=int), title="t", class_names=NAMES)
    plots.draw_weights(folder / "weights.png", np.eye(4), title="t", image_shape=(1, 2, 2))
    plots.draw_history(folder / "history.png", [0, 1], [0.7, 0.8], [True, False], title="search")
    plots.draw_importances(folder / "importances.png", {"step_size": 0.6, "layers": 0.4}, title="search")
    plots.draw_ablation(folder / "ablation.png", ["dropout", "decay"], [0.4, -0.2], [0.1, 0.2], title="parts")
    plots.draw_predicted(
        folder / "predicted.png", np.arange(8).reshape(4, 2), np.ones((4, 2)), names=["a", "b"], title="t"
    )
    plots.draw_residuals(folder / "residuals.png", np.arange(4), np.ones(4), names=["a"], title="t")
    return sorted(path.name for path in folder.iterdir())


def test_every_picture_is_a_whole_png_on_white(tmp_path):
    names = [
        "ablation", "confusion", "curves", "examples", "history", "importances", "predicted", "residuals", "weights"
    ]  # fmt: skip
    assert draw_all(tmp_path) == [f"{name}.png" for name in names]
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(PNG)
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all(), path.name
        assert pixels.min() < 100, path.name


def test_all_is_readable_where_a_picture_is_half_a_page_wide(tmp_path, monkeypatch):
    drawn = []  # texts, but those of ticks outside the axes
    draw = Text.draw
    monkeypatch.setattr(Text, "draw", lambda self, renderer: (drawn.append(self), draw(self, renderer))[-1])
    draw_all(tmp_path)
    figures = {text.get_figure() for text in drawn}
    assert len(figures) == 9
    assert {round(2.54 * figure.get_figwidth(), 6) for figure in figures} == {8}  # so points are those on paper
    for text in drawn:
        if text.get_text():
            assert text.get_fontsize() >= 6, text
            box, sheet = text.get_window_extent(), text.get_figure().bbox
            assert box.x0 >= 0, text
            assert box.x1 <= sheet.x1, text
            assert box.y0 >= 0, text
            assert box.y1 <= sheet.y1, text


@given(st.text("abcdefghij éß…\n", max_size=300), st.floats(0.4, 3))
def test_wrapped_lines_fit_and_few_lines_say_that_something_is_missing(words, inches):
    for most in (1, 2, 99):
        lines = canvas.wrapped(words, inches, most=most)
        assert len(lines) <= most
        assert all(canvas.width(line) <= inches for line in lines)
        whole = " ".join(lines) == " ".join(words.split())
        assert whole or "…" in "".join(lines)


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
    assert len(names) == 9


def test_files_are_drawn_without_pyplot(tmp_path):
    script = (
        "import sys; from fastff import plots; "
        f"plots.draw_weights({str(tmp_path / 'w.png')!r}, [[1.0]], title='t', image_shape=(1, 1, 1)); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"^cannot write .*w\.png: No such file or directory$"):
        plots.draw_weights(tmp_path / "missing" / "w.png", np.ones((1, 1)), title="t", image_shape=(1, 1, 1))


def test_names_from_outside_are_never_read_as_formulas(tmp_path, figure):
    plots.draw_curves(tmp_path / "c.png", [1], [1], [], title="cost_$x^$\n" + "long " * 60)
    first, second = [text for text in figure().texts if "long" in text.get_text()]
    assert first.get_text().startswith("cost_$x^$ long")
    assert "…" in second.get_text()
    assert max(title.get_window_extent().x1 for title in (first, second)) < figure().bbox.x1
    plots.draw_confusion(tmp_path / "m.png", np.eye(2), title="$x^$", class_names=["$x^$", "a\nb"])
    plots.draw_examples(tmp_path / "e.png", [[1]], [0], [0], title="$x^$", class_names=["$x^$"], image_shape=(1, 1, 1))
