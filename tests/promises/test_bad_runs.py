"""Runs that --resume and evaluate cannot use: damaged, of other options, of other data; one line, nothing touched."""

import shutil

import numpy as np
import pytest
from command_line import refuse, write_flowers

from fastff.system import checkpoint

# --- going on


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--hidden", "9"], "(4, 8), (8, 3)"),
        (["--hidden", "8", "8"], "sizes"),
        (["--batch-size", "17"], "batch_size 16, want 17"),
        (["--seed", "3"], "seed 0, want 3"),
        (["--activation", "tanh"], "layers"),
        (["--dropout", "0.5"], "layers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_resuming_with_other_options(here, arguments, saying):
    refuse(here, "train", "--resume", "--out", "old", "--epochs", 3, *arguments, status=1, saying=saying)


def test_resuming_with_other_data(here):
    write_flowers(here, x_train=np.zeros((60, 5)), x_val=np.zeros((15, 5)), x_test=np.zeros((15, 5)))
    refuse(here, "train", "flowers.npz", "--resume", "--out", "old", status=1, saying="[(4, 8), (8, 3)], want [(5, 8)")
    write_flowers(here, x_train=np.ones((60, 4)))
    refuse(here, "train", "flowers.npz", "--resume", "--out", "old", status=1, saying="the same data")


def test_resuming_where_there_is_no_run(here):
    refuse(here, "train", "--resume", "--out", "new", status=1, saying="--resume: new has no checkpoint.safetensors")
    refuse(here, "train", "--resume", status=1, saying="has no checkpoint.safetensors")
    assert not (here / "new").exists()


def test_resuming_from_a_damaged_checkpoint(here):
    path = here / "old" / "checkpoint.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:7], whole[: len(whole) // 2], whole[:-1], whole[:-20] + bytes(20)):
        path.write_bytes(damaged)
        refuse(here, "train", "--resume", "--out", "old", "--epochs", 3, status=1, saying="checkpoint.safetensors")


def test_resuming_from_a_checkpoint_with_parts_missing(here):
    path = here / "old" / "checkpoint.safetensors"
    arrays, notes = checkpoint.load(path)
    parts = [*arrays, *notes]
    for part in parts:
        kept = {name: array for name, array in arrays.items() if name != part}
        checkpoint.save(path, kept, {name: note for name, note in notes.items() if name != part})
        refuse(here, "train", "--resume", "--out", "old", "--epochs", 3, status=1, saying="checkpoint.safetensors")


def test_resuming_from_a_plain_network(here):
    shutil.copy(here / "old" / "best.safetensors", here / "old" / "checkpoint.safetensors")
    refuse(here, "train", "--resume", "--out", "old", "--epochs", 3, status=1, saying="checkpoint.safetensors")


# --- evaluate


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["nowhere", "flowers.npz"], "nowhere: no such folder, want the folder of a run"),
        (["flowers.npz", "flowers.npz"], "flowers.npz: is a file, want the folder of a run"),
        (["old", "digits"], ["digits", "rows of 64 values, want 4"]),
        (["old", "missing.npz"], "missing.npz"),
        (["old", "flowers.npz", "--tta"], "--tta"),
    ],
)
def test_evaluate_refuses(here, arguments, saying):
    refuse(here, "evaluate", *arguments, status=1, saying=saying)


def test_evaluate_says_which_splits_there_are(here):
    write_flowers(here, x_test=None, y_test=None)
    refuse(here, "evaluate", "old", "flowers.npz", status=1, saying=["no test split", "train, val"])


def test_evaluate_refuses_more_classes_than_were_trained(here):
    write_flowers(here, y_train=np.arange(60) % 5, y_test=np.full(15, 4))
    refuse(here, "evaluate", "old", "flowers.npz", status=1, saying="4 at row 0, want a whole number from 0 to 2")


def test_evaluate_refuses_a_damaged_network(here):
    path = here / "old" / "best.safetensors"
    whole = path.read_bytes()
    arrays, notes = checkpoint.load(path)
    for damaged in (b"", whole[:7], whole[: len(whole) // 2], whole[:-1], whole[:-20] + bytes(20)):
        path.write_bytes(damaged)
        refuse(here, "evaluate", "old", "flowers.npz", status=1, saying="best.safetensors")
    for change in (
        {"layers": None},
        {"layers": [{"layer": "convolution"}]},
        {"layers": [{"layer": "relu"}]},
        {"class_names": ["a", "b"]},
        {"class_names": None},
        {"image_shape": [1, 2, 3]},
        {"image_shape": [4, 1]},
        {"image_shape": "square"},
        {"image_shape": 4},
    ):
        checkpoint.save(path, arrays, {**notes, **change})
        refuse(here, "evaluate", "old", "flowers.npz", status=1, saying="best.safetensors")
