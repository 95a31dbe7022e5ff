"""The command `fastff`, which has the others as its first argument."""

import runpy
import subprocess
import sys
import warnings

import pytest

import fastff
from fastff.__main__ import COMMANDS, entry


def shell(*arguments):
    return subprocess.run([sys.executable, "-m", "fastff", *arguments], capture_output=True, text=True, timeout=300)


@pytest.fixture
def call(monkeypatch, capsys):
    """Call the command in this process: (status, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fastff", *arguments])
        with pytest.raises(SystemExit) as end:
            entry()
        return end.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_it_lists_the_commands(call, arguments):
    status, out, errors = call(*arguments)
    assert (status, errors) == (0, "")
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert all(len(line) <= 80 for line in out.splitlines())


def test_version():
    assert shell("--version").stdout == f"fastff {fastff.__version__}\n"


def test_an_unknown_command_is_one_line(call):
    said = f"error: 'trian' is no command, want one of {', '.join(COMMANDS)}; did you mean train?\n"
    assert call("trian") == (2, "", said)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_there(call, name):
    status, out, _ = call(name, "--help")
    assert status == 0
    assert out.startswith(f"usage: fastff {name} ")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_a_module_too(monkeypatch, capsys, name):
    """What python -m does: one that did not call its main would print nothing and exit with 0."""
    module = f"fastff.{name}"
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    warnings.simplefilter("ignore")  # it is imported already; pytest puts the filters back
    with pytest.raises(SystemExit) as end:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m {module} ")


def test_it_runs_one_with_the_other_arguments(tmp_path):
    """And the step size goes by the name that others give it, too."""
    done = shell("train", "--epochs", "1", "--lr", "0.002", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "step_size = 0.002" in (tmp_path / "run" / "config.toml").read_text("utf-8")
