"""A finished run, for the tests of runs."""

import pytest
from command_line import succeed
from stopping import SMALL


@pytest.fixture
def old(flowers, tmp_path):
    """The folder of a finished run."""
    succeed("train", flowers, *SMALL, "--epochs", 2, "--out", tmp_path / "old")
    return tmp_path / "old"
