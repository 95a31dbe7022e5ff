"""The course's task on its real pictures: the files are read as they come, and its network learns in two epochs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import succeed

from fastff import load_dataset
from fastff.system import checkpoint

PICTURES = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (PICTURES / "prepare.py").exists(), reason=f"the real pictures are not in {PICTURES}"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of folders: `course` with the course's three pickles, `npz` with cifar10_hst.npz."""
    pytest.importorskip("PIL", reason="Pillow unpacks the pictures")
    folder = tmp_path_factory.mktemp("pictures")
    for form in ("course", "npz"):
        subprocess.run([sys.executable, PICTURES / "prepare.py", form, folder / form], check=True)
    return folder


def test_pickles_and_npz_hold_the_same_rows(pictures):
    pickles = load_dataset("cifar10-hst", data_dir=pictures / "course")
    npz = load_dataset(pictures / "npz" / "cifar10_hst.npz")
    for split, rows in (("train", 13_000), ("val", 2_000), ("test", 600)):
        x, y = getattr(pickles, f"x_{split}"), getattr(pickles, f"y_{split}")
        assert (x.shape, x.dtype, y.shape) == ((rows, 3072), np.uint8, (rows,))
        np.testing.assert_array_equal(x, getattr(npz, f"x_{split}"))
        np.testing.assert_array_equal(y, getattr(npz, f"y_{split}"))
    assert pickles.class_names == npz.class_names == ("horse", "ship", "truck")
    assert pickles.image_shape == npz.image_shape == (3, 32, 32)


def test_the_courses_network_learns_in_two_epochs(pictures, tmp_path):
    options = ["--preset", "course", "--epochs", 2]
    for form in ("course", "npz"):
        data = ["cifar10-hst", "--data-dir", pictures / form]
        succeed("train", *data, *options, "--out", tmp_path / form, pictures=form == "course")
    summary = json.loads((tmp_path / "course" / "summary.json").read_text())
    assert summary["val_accuracy"] >= 0.70
    assert summary["parameters"] == 3073 * 256 + 257 * 256 + 257 * 3
    one, other = (checkpoint.load(tmp_path / form / "best.safetensors")[0] for form in ("course", "npz"))
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
    figures = json.loads(succeed("evaluate", tmp_path / "course", "cifar10-hst", "--data-dir", pictures / "npz"))
    assert (figures["accuracy"], figures["n"]) == (summary["test_accuracy"], 600)
