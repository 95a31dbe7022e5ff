"""A small trained run, for the tests of what commands refuse."""

import shutil

import pytest
from command_line import succeed, write_flowers


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with flowers.npz and the run `old` on it, of two epochs; copy it before you touch it."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_flowers(folder)
    succeed("train", data, "--hidden", 8, "--batch-size", 16, "--epochs", 2, "--out", folder / "old")
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """The current folder: a copy of `trained`."""
    folder = tmp_path / "here"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder
