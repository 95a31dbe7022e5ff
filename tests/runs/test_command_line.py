"""What --help of train shows is what train uses, and errors say where a value came from."""

import dataclasses
import re

import pytest
from command_line import run, write_flowers

from fastff.runs.command_line import train_help
from fastff.runs.config import Config, parse
from fastff.runs.presets import PRESETS
from fastff.system.option_help import shown_value

# The words that decide where options start from, and how parse is told of the task
LINES = [
    ([], "classify"),
    (["digits"], "classify"),
    (["cifar10-hst"], "classify"),
    (["mnist"], "classify"),
    (["x.csv"], "classify"),
    (["x.csv", "--task", "regress"], "regress"),
    (["flowers.npz"], "classify"),
    (["cifar10-hst", "--preset", "fast"], "classify"),
]


def defaults(text):
    """What the help gives as the default of each option."""
    found, name = {}, None
    for line in text.splitlines():
        if begin := re.match(r"  --([\w-]+)(?:, --([\w-]+))?", line):
            name = begin[2] if begin[1] == "lr" else begin[1]
        if name is not None:
            found[name] = f"{found.get(name, '')} {line.strip()}"
    return {name: shown[1] for name, text in found.items() if (shown := re.search(r"Default: (.*)\.$", text))}


@pytest.mark.parametrize(("words", "task"), LINES)
def test_the_defaults_in_the_help_are_those_that_are_used(words, task):
    shown = defaults(train_help([*words, "--help"]))
    used = parse(words, lambda _: pytest.fail("no run"), task)
    assert len(shown) > 25
    for name, value in shown.items():
        if name not in ("task", "test-share"):  # what is said, and what only tables have
            assert shown_value(getattr(used, name.replace("-", "_"))) == value, name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "those of the data set digits."),
        (["cifar10-hst"], "those of the data set cifar10-hst."),
        (["x.csv"], "those of the preset tabular, from which tables start, for classes"),
        (["x.csv", "--task", "regress"], "those of the preset tabular, from which tables start."),
        (["flowers.npz"], "those of data without a preset of its own."),
        (["--preset", "fast"], "those of the preset fast."),
        (["--nonsense"], "those of the data set digits."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_help_says_whose_defaults_it_shows(words, said):
    assert said in " ".join(train_help([*words, "--help"]).split())


def test_the_help_shows_what_a_config_file_says(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("epochs = 3\n")
    text = train_help(["--config", str(path), "-h"])
    assert defaults(text)["epochs"] == "3"
    assert f"and {path} where it has others" in " ".join(text.split())


def test_the_help_names_every_preset_and_every_option():
    text = train_help(["--help"])
    assert not {*PRESETS} - {*re.findall(r"[\w-]+", text)}
    for field in dataclasses.fields(Config)[1:]:
        assert re.search(rf"[ ,]--{field.name.replace('_', '-')}[ ,\n]", text), field.name


def test_every_option_is_in_a_group():
    named = [name for names in Config.GROUPS.values() for name in names]
    assert len(named) == len({*named})
    assert {*named, "dataset"} == {field.name for field in dataclasses.fields(Config)}
    assert [*Config.GROUPS] == ["data", "network", "training", "run", "saving", "machine"]


@pytest.fixture
def flowers(tmp_path):
    return write_flowers(tmp_path)


def refused(*words):
    result = run("train", *words)
    assert result.status in (1, 2), result
    assert result.err.count("\n") == 1
    return result.err


def test_a_value_of_a_file_is_named_by_the_file(flowers, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("whiten = 9\n")
    found = refused(flowers, "--config", path, "--out", tmp_path / "run")
    assert found == f"error: {path}: whiten: 9, want at most the 4 features of X\n"
    found = refused(flowers, "--config", path, "--whiten", 8, "--out", tmp_path / "run")
    assert found.startswith("error: --whiten: 8, want ")


def test_a_value_of_a_preset_is_named_by_the_preset(flowers, tmp_path):
    found = refused(flowers, "--preset", "fast", "--out", tmp_path / "run")
    assert found.startswith("error: --whiten (of the preset fast): 256, want at most the 4 features")


def test_the_learning_rate_is_called_as_it_was_typed(flowers, tmp_path):
    for name in ("--lr", "--step-size"):
        assert refused(flowers, name, -1, "--out", tmp_path / "run").startswith(f"error: {name}: -1.0, want ")
