"""Every picture is a whole PNG on white paper, drawn without a display, whatever the user's style and names."""

import subprocess
import sys
import threading

import matplotlib.style
import numpy as np
import pytest
from drawn import NAMES, records
from matplotlib.text import Text
from PIL import Image

from fastff import plots
from fastff.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n"


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


def test_names_from_outside_are_never_read_as_formulas(tmp_path, figure):
    plots.draw_curves(tmp_path / "c.png", [1], [1], [], title="cost_$x^$\n" + "long " * 60)
    (title,) = figure().findobj(lambda artist: isinstance(artist, Text) and "cost" in artist.get_text())
    assert title.get_window_extent().x1 < figure().bbox.x1
    plots.draw_confusion(tmp_path / "m.png", np.eye(2), class_names=["$x^$", "a\nb"])
    plots.draw_examples(tmp_path / "e.png", [[1]], [0], [0], class_names=["$x^$"], image_shape=(1, 1, 1))
