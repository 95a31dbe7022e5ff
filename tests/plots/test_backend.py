"""MPLBACKEND may name a backend that is not installed here: pictures are drawn all the same, and pyplot's stays."""

import os
import subprocess
import sys

import pytest

DRAW = """
import sys
from fastff import display_example, plots
plots.draw_importances(sys.argv[1], {"a": 0.5}, title="t")
display_example([0.0] * 64)
"""


def python(code, tmp_path, **environment):
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    found = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300)
    assert (found.returncode, found.stderr) == (0, "")
    return found.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows: a window opens, and waits for somebody to close it")
@pytest.mark.parametrize("backend", ["module://a_notebook.that_is_not_here", "nonsense", ""])
def test_pictures_are_drawn_whatever_the_backend(tmp_path, backend):
    python(DRAW, tmp_path, MPLBACKEND=backend)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("first", ["", "import matplotlib; matplotlib.use('pdf')"])
def test_the_users_choice_for_pyplot_stays(tmp_path, first):
    code = f"{first}\nimport os, fastff.plots, matplotlib\nprint(matplotlib.get_backend(), os.environ['MPLBACKEND'])"
    assert python(code, tmp_path, MPLBACKEND="svg").split() == ["pdf" if first else "svg", "svg"]
