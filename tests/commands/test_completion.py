"""Tab completes commands, options and choices: the scripts are tried in the shells themselves where they are there."""

import shutil
import subprocess

import pytest

from fastff.command import COMMANDS
from fastff.completion import main, options_of
from fastff.errors import ArgumentError
from fastff.system.options import specs


def script(shell, folder, capsys):
    main([shell])
    path = folder / f"fastff.{shell}"
    path.write_text(capsys.readouterr().out, "utf-8")
    return path


def asked(*command):
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=True).stdout


def bash(path, *words):
    """What bash offers for the last of the words."""
    text = (
        'source "$1"; shift; complete -p fastff >&2; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_fastff; echo "${COMPREPLY[@]}"'
    )
    return asked("bash", "-c", text, "bash", str(path), *words).split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("tr",), ["train"]),
        (("train", "--op"), ["--optimizer"]),
        (("train", "--optimizer", ""), ["adam", "sgd"]),
        (("train", "--preset", "be"), ["best"]),
        (("train", "--epochs", ""), []),
        (("train", "dig"), ["digits"]),
        (("tune", "--tri"), ["--trials"]),
        (("predict", "--"), ["--out", "--help"]),
        (("check", "--no"), ["--no-hints"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bash_completes(tmp_path, capsys, words, offered):
    assert bash(script("bash", tmp_path, capsys), "fastff", *words) == offered


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_offers_every_option(tmp_path, capsys):
    path = script("bash", tmp_path, capsys)
    assert {*COMMANDS} <= {*bash(path, "fastff", "")}
    for name in COMMANDS:
        offered = bash(path, "fastff", name, "--")
        assert {one for spec in specs(options_of(name)) for one in spec.names} <= {*offered}, name


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_its_script(tmp_path, capsys):
    path = script("zsh", tmp_path, capsys)
    text = 'autoload -Uz compinit; compinit -u -D; source "$1"; echo $_comps[fastff]'
    said = asked("zsh", "-f", "-c", text, "zsh", str(path))
    assert said == "_fastff\n"


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(tmp_path, capsys):
    path = script("fish", tmp_path, capsys)
    found = asked("fish", "-N", "-c", f'source {path}; complete -C "fastff train --optimizer "')
    assert [line.split("\t")[0] for line in found.splitlines()] == ["adam", "sgd"]
    found = asked("fish", "-N", "-c", f'source {path}; complete -C "fastff train --lr"')
    assert found.startswith("--lr\tThe learning rate")


def test_texts_are_in_the_scripts_that_show_them(tmp_path, capsys):
    for shell in ("zsh", "fish"):
        text = script(shell, tmp_path, capsys).read_text("utf-8")
        assert "The learning rate" in text
        assert all(line.count("'") % 2 == 0 for line in text.splitlines())


def test_another_shell_is_refused():
    with pytest.raises(ArgumentError, match=r"^SHELL: 'tcsh', want one of bash, zsh, fish$"):
        main(["tcsh"])
    with pytest.raises(ArgumentError, match=r"^SHELL: not given, want \S.* SHELL \[OPTIONS\]$"):
        main([])
