"""Pictures drawn beside the training: the same as drawn here, errors as here, and no process left behind."""

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fastff.errors import DataError
from fastff.runs import drawing
from fastff.runs.drawing import Drawing, drawing_beside

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems draw in the process itself")
MATRIX = np.array([[5, 1], [2, 7]])
OPTIONS = {"title": "two classes", "class_names": None}


def children():
    """This process's children, ended ones that nobody has waited for included."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if stat.read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(stat.parent.name)
    return found


@pytest.fixture
def no_child_is_left():
    """A function that fails where there is a child that was not there before; other tests may have left theirs."""
    before = children()

    def check():
        assert children() <= before

    return check


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch):
    monkeypatch.setattr(drawing, "usable_cpus", lambda: 2)
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # what runs the tests may have threads


def test_pictures_are_those_that_are_drawn_here(tmp_path, monkeypatch, no_child_is_left):
    Drawing()("draw_confusion", tmp_path / "here.png", MATRIX, **OPTIONS)
    with drawing_beside() as beside:
        with monkeypatch.context() as patch:
            patch.setattr(drawing, "_draw", None)  # nothing is drawn here
            beside("draw_confusion", tmp_path / "beside.png", MATRIX, **OPTIONS)
            beside("draw_confusion", tmp_path / "another.png", MATRIX.T, **OPTIONS)
            beside.finish()
        assert (tmp_path / "beside.png").read_bytes() == (tmp_path / "here.png").read_bytes()
        assert (tmp_path / "another.png").exists()
    no_child_is_left()


def test_a_picture_that_cannot_be_written_is_an_error_here(tmp_path, no_child_is_left):
    (tmp_path / "taken.png").mkdir()
    with drawing_beside() as beside:
        beside("draw_confusion", tmp_path / "taken.png", MATRIX, **OPTIONS)
        beside("draw_confusion", tmp_path / "fine.png", MATRIX, **OPTIONS)
        with pytest.raises(DataError, match=r"taken\.png: it exists and is not a regular file"):
            beside.finish()
    assert (tmp_path / "fine.png").exists()
    no_child_is_left()


def test_pictures_are_drawn_here_where_the_process_beside_was_ended(tmp_path, monkeypatch, no_child_is_left):
    children, fork = [], drawing._fork

    def remembered():
        children.append(fork())
        return children[-1]

    monkeypatch.setattr(drawing, "_fork", remembered)
    with drawing_beside() as beside:
        os.kill(children[0], signal.SIGKILL)
        for name in ("first.png", "second.png"):
            beside("draw_confusion", tmp_path / name, MATRIX, **OPTIONS)
        beside.finish()
    assert {path.name for path in tmp_path.iterdir()} == {"first.png", "second.png"}
    no_child_is_left()


def test_no_process_is_left_after_an_error(no_child_is_left):
    with pytest.raises(ZeroDivisionError), drawing_beside():
        raise ZeroDivisionError
    no_child_is_left()


def test_pictures_are_drawn_here_where_there_can_be_no_more_processes(monkeypatch):
    def refused():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(drawing, "_fork", refused)
    with drawing_beside() as here:
        assert here._pipe is None


def test_nothing_is_forked_from_a_process_with_threads(monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    monkeypatch.setattr(drawing, "_fork", None)
    with drawing_beside() as here:
        assert here._pipe is None
