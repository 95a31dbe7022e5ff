"""The line that shows how training goes: within the terminal's width, and lines in place of it elsewhere."""

import io
import re

import pytest
from rich.console import Console
from trainers import X_VAL, Y_VAL, X, Y, make

from fastff import Trainer
from fastff.training import progress
from fastff.training.history import EpochRecord
from fastff.training.progress import TrainingProgress, figures_of

RECORD = EpochRecord(
    epoch=12, train_loss=0.68949, train_accuracy=0.978, val_loss=0.7, val_accuracy=0.972, seconds=1.0,
    examples_per_second=1_234_567.0,
)  # fmt: skip


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def columns(monkeypatch):
    """Sets how wide the terminal is."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def set_to(count):
        monkeypatch.setenv("COLUMNS", str(count))
        monkeypatch.setenv("LINES", "24")

    return set_to


def lines(terminal):
    """What was drawn, line by line, without the terminal's codes."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()]


def drawn(width, columns, epochs=40, record=RECORD):
    columns(width)
    terminal = Terminal()
    with TrainingProgress(epochs, 0, stream=terminal) as bar:
        bar.compiling(True)
        bar._bar.refresh()
        bar.compiling(False)
        bar.show(record)
    return lines(terminal)


@pytest.mark.parametrize("epochs", [40, 100_000])
def test_the_line_fits_80_columns_and_says_all(columns, epochs):
    found = drawn(80, columns, epochs)
    assert max(map(len, found)) <= 80
    assert found[-1].startswith(f"epoch 12/{epochs} ")
    assert "loss 0.689 accuracy 97.8% validation 97.2% " in found[-1]
    assert re.search(r" \d+:\d\d, [\d:]+ left *$", found[-1])


def test_a_wide_terminal_has_the_speed_too(columns):
    assert "1,234,567 rows/s" in drawn(120, columns)[-1]
    assert "rows/s" not in drawn(80, columns)[-1]


def test_a_narrow_terminal_keeps_one_line(columns):
    assert max(map(len, drawn(40, columns))) <= 40


@pytest.mark.parametrize(
    ("cached", "said"), [(False, "compiling the kernels, once ..."), (True, "loading the kernels ...")]
)
def test_it_says_that_kernels_are_compiled(columns, monkeypatch, cached, said):
    monkeypatch.setattr(progress, "kernels_cached", lambda: cached)
    found = drawn(80, columns)
    assert any(said in line for line in found)
    assert said not in found[-1]


def test_numbers_to_predict_have_r2():
    record = EpochRecord(1, 1234.5, None, 1300.0, None, 1.0, 1.0, train_r2=0.5, val_r2=0.25)
    assert figures_of(record, " ") == "loss 1234 r2 0.500 validation 0.250"
    assert figures_of(None, " ") == ""


def test_nothing_is_drawn_into_a_file_or_for_one_of_several():
    for stream, alone in ((io.StringIO(), True), (Terminal(), False)):
        with TrainingProgress(3, 0, stream=stream, alone=alone) as bar:
            bar.show(RECORD)
        assert not bar.drawn
        assert stream.getvalue() == ""


@pytest.mark.parametrize(("widgets", "draws"), [(None, False), ("there", True)])
def test_a_notebook_draws_where_ipywidgets_are_there(monkeypatch, widgets, draws):
    monkeypatch.setattr(progress, "find_spec", lambda name: widgets)
    assert progress.can_draw(io.StringIO(), Console(force_jupyter=True)) is draws


def test_a_verbose_trainer_draws_in_a_terminal_and_prints_elsewhere(columns, monkeypatch, capsys):
    columns(80)
    terminal = Terminal()
    Trainer(make(), verbose=True).fit(X, Y, X_VAL, Y_VAL, epochs=2)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["epoch 1", "epoch 2"]
    monkeypatch.setattr("sys.stdout", terminal)
    Trainer(make(), verbose=True).fit(X, Y, X_VAL, Y_VAL, epochs=2)
    assert lines(terminal)[-1].startswith("epoch 2/2 ")
    assert max(map(len, lines(terminal))) <= 80
