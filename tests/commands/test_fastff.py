"""The command `fastff`, which has the others as its first argument."""

import subprocess
import sys

import pytest

import fastff
from fastff.__main__ import COMMANDS


def call(*arguments):
    return subprocess.run([sys.executable, "-m", "fastff", *arguments], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_it_lists_the_commands(arguments):
    done = call(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_version():
    assert call("--version").stdout == f"fastff {fastff.__version__}\n"


def test_an_unknown_command_is_one_line():
    done = call("trian")
    assert done.returncode == 2
    assert done.stderr == (f"error: 'trian' is no command, want one of {', '.join(COMMANDS)}; did you mean train?\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_there(name):
    done = call(name, "--help")
    assert done.returncode == 0
    assert f"python -m fastff.{name}" in done.stdout


def test_it_runs_one_with_the_other_arguments(tmp_path):
    """And the step size goes by the name that others give it, too."""
    done = call("train", "--epochs", "1", "--lr", "0.002", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "step_size = 0.002" in (tmp_path / "run" / "config.toml").read_text("utf-8")
