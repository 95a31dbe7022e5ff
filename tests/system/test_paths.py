"""A ~ at the beginning of a path is the home folder: in every option of every command, and in Python."""

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from command_line import COMMANDS, succeed, write_flowers

import fastff
from fastff.runs.config import Config
from fastff.runs.model import load_model
from fastff.system.paths import HasPaths, expanded

# The options that are texts of other kinds
NO_PATHS = {"target", "preset", "weight_column", "author", "date", "course"}
OPTIONS = {
    name: getattr(importlib.import_module(main.__module__), "Options", Config) for name, main in COMMANDS.items()
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        folder.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.chdir(elsewhere)
    yield home
    assert [path.name for path in elsewhere.iterdir()] in ([], ["runs"])  # nothing is called "~"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_that_is_a_path(home, name):
    options = OPTIONS[name]
    assert issubclass(options, HasPaths)
    hints = get_type_hints(options)
    texts = {field.name for field in dataclasses.fields(options) if hints[field.name] in (str, str | None)}
    wanted = texts - NO_PATHS
    assert wanted
    made = options(**dict.fromkeys(texts, "~/some/where"), **({"trials": 1} if name == "tune" else {}))
    for text in texts:
        assert getattr(made, text) == (str(home / "some" / "where") if text in wanted else "~/some/where")


def test_commands_find_and_write_what_is_in_the_home_folder(home):
    write_flowers(home)
    np.save(home / "new.npy", np.zeros((3, 4), np.float32))
    succeed("train", "~/flowers.npz", "--epochs", 1, "--hidden", 8, "--out=~/run")
    succeed("train", "--resume", "--epochs", 2, "--out=~/run")
    succeed("train", "--config=~/run/config.toml", "--epochs", 1, "--out=~/again")
    succeed("evaluate", "~/run", "~/flowers.npz")
    succeed("predict", "~/run", "~/new.npy", "--out=~/guesses.csv")
    assert {"run", "again", "guesses.csv"} <= {path.name for path in home.iterdir()}


def test_python_takes_such_paths_too(home):
    write_flowers(home)
    data = fastff.load_dataset("~/flowers.npz")
    network = fastff.FeedForwardNeuralNetwork(4, 3, (8,))
    network.save("~/network.safetensors")
    fastff.FeedForwardNeuralNetwork.load("~/network.safetensors")
    fastff.Ensemble([network, network]).save("~/several.safetensors")
    fastff.Ensemble.load("~/several.safetensors")
    assert load_model("~/network.safetensors").network.input_dim == data.n_features
    with pytest.raises(fastff.DataError, match="home"):
        fastff.load_dataset("mnist", data_dir="~/nothing")


def test_a_tilde_elsewhere_is_a_character_of_a_name(home):
    for name in ("a~b", "./~", "~nobody-of-this-name/x"):
        assert expanded(name) == Path(name)
    assert expanded("~") == home


NO_NAMES = ["\ud800"] if sys.platform != "win32" else []  # a name can have any 16 bits there


class Bytes:
    def __fspath__(self):
        return b"bytes"

    def __repr__(self):  # in the name of a test, which is the same in every process
        return "Bytes()"


@pytest.mark.parametrize("path", [5, None, b"bytes", [], np.zeros(3), Bytes(), "null\0", *NO_NAMES], ids=repr)
@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda path: fastff.FeedForwardNeuralNetwork(4, 3, 8, 2).save(path), "path"),
        (lambda path: fastff.FeedForwardNeuralNetwork(4, 3, 8, 2).load(path), "path"),
        (fastff.FeedForwardNeuralNetwork.load, "path"),
        (lambda path: fastff.Ensemble([fastff.FeedForwardNeuralNetwork(4, 3, 8, 2)]).save(path), "path"),
        (fastff.Ensemble.load, "path"),
        (load_model, "path"),
        (fastff.load_dataset, "name_or_path"),
        (lambda path: fastff.load_dataset("mnist", data_dir=[] if path is None else path), "data_dir"),
    ],
    ids=["save", "load", "new network", "save ensemble", "ensemble", "model", "data set", "data_dir"],
)
def test_what_can_be_no_path_is_refused(use, name, path):
    with pytest.raises(fastff.ArgumentError, match=rf"^{name}: .*, want a path, as a str or an os.PathLike$"):
        use(path)
