"""The picture that was drawn last, for the tests to look into."""

import pytest

from fastff.plots import canvas


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
