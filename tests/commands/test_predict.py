"""predict's CSV: the names of classes come back as they were, and no spreadsheet takes one for a formula."""

import csv

import numpy as np
import pytest
from command_line import succeed

from fastff import Ensemble, FeedForwardNeuralNetwork, TargetScale

NAMES = {
    "cat": "cat",
    "=1+1": "'=1+1",
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0",
    "@SUM(A1)": "'@SUM(A1)",
    "+a": "'+a",
    "-a": "'-a",
    " =1": "' =1",
    "-1": "-1",
    "+1.5e3": "+1.5e3",
    "a\nb": "a\\nb",
    "\t=1": "\\t=1",
    "\r=1": "\\r=1",
    "\x1b[31m": "\\x1b[31m",
    "a\u2028b": "a\\u2028b",
    "a, b": "a, b",
    '"': '"',
    "zoë's": "zoë's",
    "\u00a0": "\u00a0",
}


def test_names_are_text_for_spreadsheets(tmp_path):
    names = list(NAMES)
    network = FeedForwardNeuralNetwork(len(names), len(names), (), num_layers=1)
    network.linear_layers[0].weights[:] = 0
    network.linear_layers[0].weights += 9 * np.eye(len(names), dtype=np.float32)
    Ensemble([network]).save(tmp_path / "network.safetensors", {"class_names": names, "image_shape": None})
    np.save(tmp_path / "rows.npy", np.eye(len(names), dtype=np.float32))
    succeed("predict", tmp_path / "network.safetensors", tmp_path / "rows.npy", "--out", tmp_path / "out.csv")
    text = (tmp_path / "out.csv").read_bytes().decode()
    assert all(c == "\n" or c.isprintable() or c == "\u00a0" for c in text)
    header, *rows = csv.reader(text.splitlines())
    assert [row[2] for row in rows] == list(NAMES.values())
    assert len(header) == len(names) + 3
    assert all(name.startswith("p_") for name in header[3:])
    assert len(set(header)) == len(header)


@pytest.mark.parametrize("kind", [".npy", ".npz"])
def test_the_other_kinds_hold_numbers(tmp_path, kind):
    FeedForwardNeuralNetwork(4, 3, (8,)).save(tmp_path / "network.safetensors")
    np.save(tmp_path / "rows.npy", np.zeros((2, 4), np.float32))
    succeed("predict", tmp_path / "network.safetensors", tmp_path / "rows.npy", "--out", tmp_path / f"out{kind}")
    assert (tmp_path / f"out{kind}").exists()


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_the_csv_holds_the_same_numbers_as_the_arrays(tmp_path, task):
    network = FeedForwardNeuralNetwork(3, 2, (4,), seed=0)
    if task == "regress":  # dates in seconds, of which 9 digits would leave minutes
        network = FeedForwardNeuralNetwork.from_layers([*network.layers, TargetScale([1.7e12, 1e-9], [1e3, 1e-12])])
    network.save(tmp_path / "network.safetensors")
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32))
    for name in ("out.npz", "out.csv"):
        succeed("predict", tmp_path / "network.safetensors", tmp_path / "rows.npy", "--out", tmp_path / name)
    arrays = np.load(tmp_path / "out.npz")
    expected = arrays["probabilities" if task == "classify" else "predictions"]
    _, *rows = csv.reader((tmp_path / "out.csv").read_text().splitlines())
    np.testing.assert_array_equal(np.array([row[-2:] for row in rows], expected.dtype), expected)


def test_predictions_can_take_the_place_of_the_rows(tmp_path):
    FeedForwardNeuralNetwork(3, 2, (4,), seed=0).save(tmp_path / "network.safetensors")
    np.save(tmp_path / "rows.npy", np.zeros((5, 3), np.float32))
    succeed("predict", tmp_path / "network.safetensors", tmp_path / "rows.npy", "--out", tmp_path / "rows.npy")
    assert np.load(tmp_path / "rows.npy").shape == (5,)
