"""What the tests of several processes share: options of a small run, and what a job has said and left."""

import importlib.util

import numpy as np
import pytest

from fastff.system import checkpoint

OPTIONS = ("--hidden", 16, "--dropout", 0.2, "--batch-size", 16, "--seed", 3)
needs_mpi = pytest.mark.skipif(not importlib.util.find_spec("mpi4py"), reason="mpi4py is not installed")


def lines(text):
    return [line for line in text.splitlines() if line.strip() and not line.startswith("compiling")]


def weights(folder):
    return {k: v for k, v in checkpoint.load(folder / "checkpoint.safetensors")[0].items() if v.dtype == np.float32}


def assert_close(folder, other):
    """The same run to rounding: float32's, through some 20 steps of Adam."""
    for name, array in weights(folder).items():
        np.testing.assert_allclose(array, weights(other)[name], rtol=1e-4, atol=1e-5, err_msg=name)


def write_shards(folder, source):
    """The rows of an .npz in three files a split; returns the folder."""
    folder.mkdir()
    for name, array in np.load(source).items():
        for number, piece in enumerate(np.array_split(array, 3)):
            np.save(folder / f"{name}-{number:05}.npy", piece)
    return folder
