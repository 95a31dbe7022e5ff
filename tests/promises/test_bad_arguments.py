"""Wrong options, config files and places to write to: status 1 or 2, one line that says why, and nothing touched."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import refuse, run, snapshot

# --- arguments


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--batch-size", "0"], "--batch-size: 0"),
        (["--batch-size", "-4"], "--batch-size: -4"),
        (["--step-size", "-0.1"], "--step-size: -0.1"),
        (["--step-size", "0"], "--step-size: 0"),
        (["--step-size", "nan"], "--step-size: nan"),
        (["--step-size", "inf"], "--step-size: inf"),
        (["--epochs", "0"], "--epochs: 0"),
        (["--epochs", "-1"], "--epochs: -1"),
        (["--hidden", "0"], "--hidden: 0"),
        (["--hidden", "8", "-8"], "--hidden: -8"),
        (["--beta1", "1.5"], "--beta1: 1.5"),
        (["--beta2", "1"], "--beta2: 1"),
        (["--epsilon", "0"], "--epsilon: 0"),
        (["--weight-decay", "-1"], "--weight-decay: -1"),
        (["--weight-decay", "nan"], "--weight-decay: nan"),
        (["--optimizer", "sgd", "--momentum", "1"], "--momentum: 1"),
        (["--momentum", "0.5"], "--momentum: 0.5, but adam has no momentum"),
        (["--optimizer", "sgd", "--beta1", "0.5"], "--beta1: 0.5, but sgd has no beta1"),
        (["--dropout", "1"], "--dropout: 1"),
        (["--dropout", "-0.5"], "--dropout: -0.5"),
        (["--dropout", "nan"], "--dropout: nan"),
        (["--label-smoothing", "1"], "--label-smoothing: 1"),
        (["--patience", "0"], "--patience: 0"),
        (["--threads", "0"], "--threads: 0"),
        (["--checkpoint-epochs", "0"], "--checkpoint-epochs: 0"),
        (["--checkpoint-minutes", "0"], "--checkpoint-minutes: 0"),
        (["--checkpoint-minutes", "nan"], "--checkpoint-minutes: nan"),
        (["--seed", "-1"], "--seed: -1"),
        (["--preset", "nonsense"], ["--preset: 'nonsense'", "course"]),
        (["--data-dir", "."], "--data-dir: ."),
        (["--target", "x"], "--target: 'x'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_arguments_out_of_range(here, arguments, saying):
    refuse(here, "train", "flowers.npz", "--out", "old", *arguments, status=2, saying=saying)


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["--epochs", "many"], ["--epochs", "1.5"], ["--optimizer", "rmsprop"], ["--hidden", "wide"]],
    ids=" ".join,
)
def test_usage_errors_are_explained(here, arguments):
    before = snapshot(here)
    result = run("train", "flowers.npz", "--out", "old", *arguments)
    assert (result.status, result.out) == (2, "")
    assert arguments[-1] in result.err
    assert "Traceback" not in result.err
    assert snapshot(here) == before


@pytest.mark.parametrize("name", ["evaluate", "predict"])
def test_missing_arguments_are_named(name):
    result = run(name)
    assert (result.status, result.out) == (2, "")
    assert "RUN_DIR" in result.err


# --- where the run goes


def test_out_is_a_file(here):
    refuse(here, "train", "flowers.npz", "--out", "flowers.npz", status=1, saying="flowers.npz")


def test_out_is_under_a_file(here):
    refuse(here, "train", "flowers.npz", "--out", "flowers.npz/run", status=1, saying=str(Path("flowers.npz/run")))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="no folder is read-only for root, or on Windows"
)
def test_out_is_read_only(here):
    (here / "old").chmod(0o500)
    try:
        refuse(here, "train", "flowers.npz", "--epochs", 1, "--out", "old", status=1, saying="Permission denied")
    finally:
        (here / "old").chmod(0o700)


@pytest.mark.parametrize("out", ["guesses.xlsx", "guesses", "old"])
def test_predict_refuses_to_write_unknown_kinds(here, out):
    refuse(here, "predict", "old", "missing.npy", "--out", out, status=2, saying=[repr(out), ".csv, .npy, .npz"])


@pytest.mark.parametrize("out", ["missing/guesses.csv", "flowers.npz/guesses.npy", "folder.npz"])
def test_predict_refuses_places_it_cannot_write_to(here, out):
    np.save(here / "new.npy", np.zeros((60, 4), np.float32))
    (here / "folder.npz").mkdir()
    refuse(here, "predict", "old", "new.npy", "--out", out, status=1, saying=f"cannot write {Path(out)}")


# --- config files


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        (b"epoch = 3", "unknown option 'epoch'"),
        (b"out = 'there'", "unknown option 'out'"),
        (b"epochs = 'three'", "epochs = 'three', want a whole number"),
        (b"epochs = 3.0", "epochs = 3.0, want a whole number"),
        (b"epochs = true", "epochs = True, want a whole number"),
        (b"standardize = 1", "standardize = 1, want true or false"),
        (b"hidden = 8", "hidden = 8, want a list of whole numbers"),
        (b"hidden = [8, 'x']", "hidden = [8, 'x'], want a list of whole numbers"),
        (b"step_size = '0.1'", "step_size = '0.1', want a number"),
        (b"optimizer = 'rmsprop'", "optimizer = 'rmsprop', want one of 'adam', 'sgd'"),
        (b"optimizer = []", "optimizer = [], want one of 'adam', 'sgd'"),
        (b"dataset = 3", "dataset = 3, want a text"),
        (b"[epochs]\nn = 3", "epochs"),
        (b"epochs = ", "not a TOML file"),
        (b"epochs = 3\nepochs = 4", "not a TOML file"),
        (b"\xff\xfe", "not a TOML file"),
    ],
)
def test_config_files_that_cannot_be_used(here, text, saying):
    (here / "own.toml").write_bytes(text)
    refuse(here, "train", "flowers.npz", "--config", "own.toml", "--out", "old", status=1, saying=["own.toml", saying])


@pytest.mark.parametrize("path", ["missing.toml", "old"])
def test_config_files_that_are_not_there(here, path):
    refuse(here, "train", "--config", path, "--out", "old", status=1, saying=f"--config: {path} is no file")


# --- while a command runs


def test_a_loss_that_is_not_finite_stops_training(here):
    before = snapshot(here)
    result = run("train", "flowers.npz", "--no-standardize", "--step-size", "1e30", "--epochs", 3, "--out", "new")
    assert (result.status, result.out) == (1, "")
    assert result.err.count("\n") == 1
    assert "not finite" in result.err
    assert "step size" in result.err
    assert before.items() <= snapshot(here).items()


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows: a closed pipe is an error like any other")
def test_a_reader_that_has_left_is_no_traceback(here):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "fastff.evaluate", "old", "flowers.npz"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
