"""Runs fastff's commands inside this process and gives what a shell would have seen: status, output and errors."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from fastff import ablate, command, export, plots, predict, train
from fastff.check import __main__ as check
from fastff.evaluate import __main__ as evaluate
from fastff.report import __main__ as report
from fastff.runs.drawing import Drawing
from fastff.tune import __main__ as tune

COMMANDS = {
    "train": train.main,
    "evaluate": evaluate.main,
    "predict": predict.main,
    "export": export.main,
    "report": report.main,
    "tune": tune.main,
    "ablate": ablate.main,
    "check": check.main,
}
# Any of them may make rich take a file for a terminal.
PLAIN = dict.fromkeys(("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"), "")


class Result(NamedTuple):
    status: int
    out: str
    err: str  # without the note that the kernels are being compiled


def run(name, *arguments, pictures=False):
    """Run `python -m fastff.NAME ARGUMENTS`; pictures are drawn, which takes longest, only if asked for."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", [name, *map(str, arguments)]))
        stack.enter_context(mock.patch.dict(os.environ, PLAIN))
        # in this process, where a test may have patched something, and what is drawn is seen
        own = contextlib.nullcontext(Drawing())
        stack.enter_context(mock.patch("fastff.train.drawing_beside", return_value=own))
        if not pictures:
            nothing = dict.fromkeys(plots.__all__, mock.DEFAULT)
            stack.enter_context(mock.patch.multiple(plots, **nothing))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            command.run(COMMANDS[name])
        except SystemExit as end:
            status = end.code
    lines = [line for line in err.getvalue().splitlines(keepends=True) if not line.startswith("compiling")]
    return Result(status, out.getvalue(), "".join(lines))


def succeed(name, *arguments, pictures=False):
    """Run a command that must succeed and say nothing on standard error; returns its standard output."""
    result = run(name, *arguments, pictures=pictures)
    assert (result.status, result.err) == (0, ""), result
    return result.out


def refuse(folder, name, *arguments, status, saying):
    """Run a command that must fail, in one line, without touching anything in the folder."""
    before, names = snapshot(folder), sorted(folder.rglob("*"))
    result = run(name, *arguments)
    assert result.status == status, result
    assert result.out == ""
    assert result.err.count("\n") == 1, result.err
    assert result.err.endswith("\n")
    assert result.err.startswith("error: ")
    for part in [saying] if isinstance(saying, str) else saying:
        assert part in result.err
    assert snapshot(folder) == before
    assert sorted(folder.rglob("*")) == names


def write_flowers(folder, **changes):
    """An .npz of 90 rows of 4 values in 3 classes, split 60/15/15; `changes` replaces arrays, None leaves one out."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (rng.normal(size=(90, 4)) + 3 * y[:, None]).astype(np.float32)
    arrays = {
        f"{a}_{split}": values[rows]
        for split, rows in (("train", slice(0, 60)), ("val", slice(60, 75)), ("test", slice(75, 90)))
        for a, values in (("x", x), ("y", y))
    }
    path = Path(folder) / "flowers.npz"
    np.savez(path, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
    return path


def snapshot(folder):
    """Every file below a folder, with its bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
