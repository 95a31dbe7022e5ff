"""Tab completes commands, options and choices: the scripts are tried in the shells themselves where they are there."""

import shutil
import subprocess
import sys

import pytest

from fastff.command import COMMANDS
from fastff.completion import main, options_of
from fastff.errors import ArgumentError, MissingExtra
from fastff.system.options import specs


def script(shell, folder, capsys):
    pytest.importorskip("shtab")
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
        '_shtab_fastff; echo "${COMPREPLY[@]}"'
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
        (("train", "digits", "--lr", "1", "--op"), ["--optimizer"]),
        (("train", "--hidden", "64", "32", "--op"), ["--optimizer"]),
        (("train", "--drop", "a", "--op"), ["--optimizer"]),
        (("train", "--no-st"), ["--no-standardize"]),
        (("train", "win"), ["wine.csv"]),
        (("train", "--config", "ow"), ["own.toml"]),
        (("predict", "win"), ["wine.csv"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bash_completes(tmp_path, capsys, monkeypatch, words, offered):
    monkeypatch.chdir(tmp_path)
    for name in ("wine.csv", "own.toml"):
        (tmp_path / name).touch()
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
    text = 'autoload -Uz compinit; compinit -u -D; eval "$(cat $1)"; echo $_comps[fastff]'
    said = asked("zsh", "-f", "-c", text, "zsh", str(path))
    assert said == "_shtab_fastff\n"


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(tmp_path, capsys):
    path = script("fish", tmp_path, capsys)
    found = asked("fish", "-N", "-c", f'source {path}; complete -C "fastff train --optimizer "')
    assert [line.split("\t")[0] for line in found.splitlines()] == ["adam", "sgd"]
    found = asked("fish", "-N", "-c", f'source {path}; complete -C "fastff train --lr"')
    assert found.startswith("--lr\tThe learning rate")
    found = asked("fish", "-N", "-c", f'source {path}; complete -C "fastff train dig"')
    assert found.startswith("digits\t")


def test_texts_are_in_the_scripts_that_show_them(tmp_path, capsys):
    for shell in ("zsh", "fish"):
        assert "The learning rate" in script(shell, tmp_path, capsys).read_text("utf-8")


def test_another_shell_is_refused():
    with pytest.raises(ArgumentError, match=r"^SHELL: 'tcsh', want one of bash, zsh, fish$"):
        main(["tcsh"])
    with pytest.raises(ArgumentError, match=r"^SHELL: not given, want \S.* SHELL \[OPTIONS\]$"):
        main([])


def test_without_the_package_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(MissingExtra, match=r"^fastff completion needs shtab: pip install \"fastff\[completion\]\"$"):
        main(["bash"])
