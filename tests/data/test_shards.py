"""Rows that stay on disk, in shards, train to the bits of one array in memory, in little memory, and can be resumed."""

import itertools
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from command_line import run, succeed
from own_layers import Passing

from fastff import Augment, DataError, Dropout, FeedForwardNeuralNetwork, Standardize, Trainer, evaluate, load_dataset
from fastff.data.rows import Shards
from fastff.engine import readahead
from fastff.system import checkpoint

RNG = np.random.default_rng(0)
SIZES = (70, 0, 41, 89)  # rows of the files
ROWS, COLUMNS = sum(SIZES), 48


def rows_of(dtype, rows=ROWS):
    return (RNG.normal(size=(rows, COLUMNS)) * 40 + 128).clip(0, 255).astype(dtype)


def labels_of(x):
    return (x[:, 0] > 128) + 2 * (x[:, 1] > 128).astype(int)


def write_shards(folder, dtype=np.uint8, sizes=SIZES, split="train", x=None):
    """Shards of random rows; returns the rows and labels as arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    x = rows_of(dtype, sum(sizes)) if x is None else x
    y = labels_of(x)
    for i, (start, end) in enumerate(itertools.pairwise(np.cumsum([0, *sizes]))):
        np.save(folder / f"x_{split}-{i:05}.npy", x[start:end])
        np.save(folder / f"y_{split}-{i:05}.npy", y[start:end])
    return x, y


@pytest.fixture(params=[1, 3000, 1 << 26], ids=["a batch", "some batches", "all"])
def buffer(request, monkeypatch):
    """Parts of one batch, of some, and of all batches of several epochs."""
    monkeypatch.setattr(readahead, "AHEAD", request.param)


def make_network(x, *front):
    network = FeedForwardNeuralNetwork(COLUMNS, 4, [32, 16], seed=1)
    network.layers[2:2] = [Dropout(0.2, seed=3)]
    network.layers[:0] = [*front, Standardize.fit(x)]
    return network


def same(a, b):
    return all(a.parameters()[name].tobytes() == array.tobytes() for name, array in b.parameters().items())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_shards_train_to_the_bits_of_the_array_in_memory(tmp_path, dtype, threads, buffer):
    x, y = write_shards(tmp_path / "set", dtype)
    data = load_dataset(tmp_path / "set")
    assert isinstance(data.x_train, Shards)
    trained = []
    for rows in (x, data.x_train):
        network = make_network(rows, Augment((3, 4, 4), shift=1, seed=4))
        trainer = Trainer(network, batch_size=16, threads=threads, seed=2, monitor="val_loss")
        trainer.fit(rows, y, rows, y, epochs=2)
        trained.append(trainer)
    assert trained[0].history.batch_losses == trained[1].history.batch_losses
    assert [e.val_loss for e in trained[0].history.epochs] == [e.val_loss for e in trained[1].history.epochs]
    assert same(trained[0].network, trained[1].network)
    assert evaluate(network, x, y) == evaluate(network, data.x_train, y)
    np.testing.assert_array_equal(network.predict_proba(x), network.predict_proba(data.x_train))
    np.testing.assert_array_equal(
        network.predict_proba(x[:3]), network.predict_proba(data.x_train.select(np.arange(3)))
    )


def test_epochs_that_nobody_looks_at_are_one_run_over_the_shards(tmp_path, buffer):
    x, y = write_shards(tmp_path / "set")
    trained = []
    for rows in (x, load_dataset(tmp_path / "set").x_train):
        trainer = Trainer(make_network(rows), batch_size=32, seed=2)
        trainer.fit(rows, y, epochs=5)
        trained.append(trainer)
    assert trained[0].history.batch_losses == trained[1].history.batch_losses
    assert same(trained[0].network, trained[1].network)


def test_a_system_that_takes_no_advice_reads_the_same_rows(tmp_path, monkeypatch):
    x, y = write_shards(tmp_path / "set")
    monkeypatch.delattr(os, "posix_fadvise", raising=False)  # as on macOS
    monkeypatch.setattr(readahead, "_ADVICE", False)
    trained = []
    for rows in (x, load_dataset(tmp_path / "set").x_train):
        trainer = Trainer(make_network(x), batch_size=32, seed=2)
        trainer.fit(rows, y, epochs=2)
        trained.append(trainer)
    assert same(trained[0].network, trained[1].network)


@pytest.mark.parametrize("front", [(), (Augment((3, 4, 4), shift=1, seed=4),)], ids=["plain", "pictures"])
def test_bfloat16_reads_shards_to_the_same_bits(tmp_path, front):
    x, y = write_shards(tmp_path / "set")
    trained = []
    for rows in (x, load_dataset(tmp_path / "set").x_train):
        trainer = Trainer(make_network(x, *front), batch_size=32, seed=2, precision="bfloat16", threads=2)
        trainer.fit(rows, y, rows, y, epochs=2)
        trained.append(trainer)
    assert trained[0].history.batch_losses == trained[1].history.batch_losses
    assert [e.val_loss for e in trained[0].history.epochs] == [e.val_loss for e in trained[1].history.epochs]
    assert same(trained[0].network, trained[1].network)


def test_a_part_of_the_rows_is_chosen_without_a_copy(tmp_path):
    x, y = write_shards(tmp_path / "set")
    data, held = load_dataset(tmp_path / "set"), {}
    np.savez(tmp_path / "set.npz", x_train=x, y_train=y)
    held["memory"] = load_dataset(tmp_path / "set.npz").with_validation()
    held["shards"] = data.with_validation()
    for name in ("x_train", "y_train", "x_val", "y_val"):
        np.testing.assert_array_equal(getattr(held["memory"], name), getattr(held["shards"], name))
    assert isinstance(held["shards"].x_val, Shards)
    rows = data.x_train.select(np.arange(ROWS)[::-1]).select(np.array([0, 5, 5]))
    np.testing.assert_array_equal(rows, x[::-1][[0, 5, 5]])
    np.testing.assert_array_equal(rows[1], x[::-1][5])


def test_commands_give_the_same_run_from_shards_and_from_memory(tmp_path):
    x, y = write_shards(tmp_path / "a" / "set", np.float32)
    np.savez(tmp_path / "set.npz", x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    write_shards(tmp_path / "a" / "set", sizes=(20, 30), split="test", x=x[:50])
    found = []
    for source in (tmp_path / "set.npz", tmp_path / "a" / "set"):
        out = tmp_path / f"run-{source.suffix}"
        succeed("train", source, "--epochs", 2, "--hidden", 16, "--whiten", 10, "--out", out)
        succeed("train", "--resume", "--out", out, "--epochs", 3)
        summary = json.loads((out / "summary.json").read_text())
        figures = {name: summary[name] for name in ("train_accuracy", "val_accuracy", "test_accuracy", "test_loss")}
        splits = [succeed("evaluate", out, source, "--split", split) for split in ("train", "test")]
        found.append((figures, splits, load_weights(out)))
    assert found[0] == found[1]


def load_weights(run_folder):
    return {name: array.tobytes() for name, array in checkpoint.load(run_folder / "best.safetensors")[0].items()}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_statistics_are_those_of_the_array_and_are_read_once(tmp_path, dtype, monkeypatch):
    x, _ = write_shards(tmp_path / "set", dtype)
    shards = load_dataset(tmp_path / "set").x_train
    expected, found = Standardize.fit(x), Standardize.fit(shards)
    assert expected.mean.tobytes() == found.mean.tobytes()
    assert expected.std.tobytes() == found.std.tobytes()
    np.testing.assert_allclose(found.std, x.std(0, dtype=np.float64), rtol=1e-12)
    part = shards.select(np.arange(50))
    np.testing.assert_allclose(Standardize.fit(part).mean, x[:50].mean(0, dtype=np.float64), rtol=1e-12)
    monkeypatch.setattr(Shards, "__getitem__", None)
    for rows, first in ((load_dataset(tmp_path / "set").x_train, found), (part, Standardize.fit(part))):
        assert Standardize.fit(rows).mean.tobytes() == first.mean.tobytes()


def test_statistics_are_made_anew_when_the_files_have_changed_or_theirs_is_damaged(tmp_path):
    x, _ = write_shards(tmp_path / "set", np.float32)
    Standardize.fit(load_dataset(tmp_path / "set").x_train)
    path = tmp_path / "set" / "x_train.statistics.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    assert Standardize.fit(load_dataset(tmp_path / "set").x_train).mean.tobytes() == Standardize.fit(x).mean.tobytes()
    assert checkpoint.load(path)[0]["mean"].tobytes() == Standardize.fit(x).mean.tobytes()
    np.save(tmp_path / "set" / "x_train-00000.npy", x[: SIZES[0]] + 1)
    os.utime(tmp_path / "set" / "x_train-00000.npy", ns=(1, 1))
    changed = np.concatenate([x[: SIZES[0]] + 1, x[SIZES[0] :]])
    assert (
        Standardize.fit(load_dataset(tmp_path / "set").x_train).mean.tobytes()
        == Standardize.fit(changed).mean.tobytes()
    )


def test_statistics_that_cannot_be_saved_cost_nothing_but_time(tmp_path, monkeypatch):
    x, _ = write_shards(tmp_path / "set")

    def refuse(*_):
        raise DataError("cannot write: Read-only file system")

    monkeypatch.setattr("fastff.data.statistics.checkpoint.save", refuse)
    assert Standardize.fit(load_dataset(tmp_path / "set").x_train).mean.tobytes() == Standardize.fit(x).mean.tobytes()


def test_a_file_that_becomes_shorter_stops_at_its_batch_and_training_goes_on_from_there(tmp_path):
    x, y = write_shards(tmp_path / "set")
    shards = load_dataset(tmp_path / "set").x_train
    whole, stopped = (Trainer(make_network(x), batch_size=8, seed=2) for _ in range(2))
    whole.fit(x, y, epochs=1)
    last = tmp_path / "set" / "x_train-00003.npy"
    content = last.read_bytes()
    last.write_bytes(content[: -COLUMNS * 2 - 5])  # some of the last three rows
    with pytest.raises(DataError, match=r"x_train-00003\.npy: ends where row 8[678] should"):
        stopped.fit(shards, y, epochs=1)
    assert 0 < stopped.progress.batch < len(x) // 8
    last.write_bytes(content)
    stopped.fit(shards, y, epochs=1)
    assert whole.history.batch_losses == stopped.history.batch_losses
    assert same(whole.network, stopped.network)
    last.unlink()
    with pytest.raises(DataError, match=r"cannot read .*x_train-00003\.npy: No such file"):
        stopped.fit(shards, y, epochs=1)
    with pytest.raises(DataError, match=r"cannot read .*x_train-00003\.npy: No such file"):
        evaluate(stopped.network, shards, y)


def test_what_is_not_finite_is_named(tmp_path):
    x = rows_of(np.float32)
    x[150, 3] = np.nan
    write_shards(tmp_path / "set", x=x)
    data = load_dataset(tmp_path / "set")
    with pytest.raises(DataError, match="nan at row 150, column 3"):
        Standardize.fit(data.x_train)
    network = FeedForwardNeuralNetwork(COLUMNS, 4, [8], seed=0)
    with pytest.raises(DataError, match=r"X, among the rows of batch .*: nan at row .*, column 3"):
        Trainer(network, batch_size=16).fit(data.x_train, data.y_train, epochs=1)
    with pytest.raises(DataError, match="X_val: nan at row 150, column 3"):
        Trainer(network).fit(x[:100], data.y_train[:100], data.x_train, data.y_train, epochs=1)
    write_shards(tmp_path / "set", sizes=(ROWS,), split="val", x=x)
    with pytest.raises(DataError, match="x_val: nan at row 150, column 3"):
        load_dataset(tmp_path / "set")


def test_layers_of_ones_own_take_shards_too(tmp_path):
    x, y = write_shards(tmp_path / "set")
    trained = []
    for rows in (x, load_dataset(tmp_path / "set").x_train):
        network = make_network(rows)
        network.layers.insert(2, Passing())
        history = Trainer(network, batch_size=64).fit(rows, y, rows, y, epochs=1)
        trained.append((history.batch_losses, history.epochs[0].val_loss))
    assert trained[0] == trained[1]


GOOD = rows_of(np.float32, 6)
BAD = {
    "columns": ({"x_train-1.npy": GOOD[:, :3]}, r"x_train-1\.npy: rows of 3 float32 values, want 48 of float32"),
    "type": ({"x_train-1.npy": GOOD.astype(np.uint8)}, r"x_train-1\.npy: rows of 48 uint8 values, want 48 of float32"),
    "integers": ({"x_train-0.npy": GOOD.astype(np.int64)}, r"x_train-0\.npy: holds int64 values, want uint8, float32"),
    "byte order": ({"x_train-0.npy": GOOD.astype(">f4")}, r"x_train-0\.npy: holds >f4 values, want uint8"),
    "objects": ({"x_train-1.npy": GOOD.astype(object)}, r"x_train-1\.npy: not a readable .npy file: Object arrays"),
    "one dimension": ({"x_train-1.npy": GOOD[0]}, r"x_train-1\.npy: shape \(48,\), want two dimensions"),
    "order": ({"x_train-1.npy": np.asfortranarray(GOOD)}, r"x_train-1\.npy: in Fortran order, want rows one after"),
    "no rows": ({"x_train-0.npy": GOOD[:0], "x_train-1.npy": GOOD[:0]}, r"x_train-0\.npy: no rows, nor in the files"),
    "no label file": ({"y_train-1.npy": None}, r"y_train-1\.npy: no such file, want a file of labels for each"),
    "label file too many": ({"y_train-2.npy": np.zeros(6)}, r"y_train-2\.npy: no rows for it, want a file of labels"),
    "labels too few": ({"y_train-1.npy": np.zeros(5)}, r"y_train-1\.npy: 5 labels for 6 rows, want one a row"),
    "labels twice": ({"y_train.npy": np.zeros(12)}, r"has y_train\.npy beside y_train-0\.npy, want one or the other"),
    "no labels": ({"y_train-0.npy": None, "y_train-1.npy": None}, r"has x_train-0\.npy, and no y_train files"),
    "half a split": ({"x_val.npy": GOOD}, r"has x_val\.npy, and no y_val files"),
    "other columns in val": ({"x_val.npy": GOOD[:, :3], "y_val.npy": np.zeros(6)}, "x_val: rows of 3 values, want 48"),
}  # fmt: skip


@pytest.mark.parametrize("changes", BAD)
def test_shards_that_do_not_go_together_are_refused_in_one_line(tmp_path, changes):
    files, said = BAD[changes]
    good = {f"{a}_train-{i}.npy": v for i in range(2) for a, v in (("x", GOOD), ("y", np.arange(6) % 3))}
    for name, array in {**good, **files}.items():
        if array is not None:
            np.save(tmp_path / name, array)
    with pytest.raises(DataError, match=said):
        load_dataset(tmp_path)
    result = run("train", tmp_path, "--out", tmp_path / "run")
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    write_shards(tmp_path)
    path = tmp_path / "x_train-00002.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"x_train-00002\.npy: not a readable .npy file: it declares shape \(41, 48\)"):
        load_dataset(tmp_path)


def test_one_file_of_labels_and_validation_in_one_file(tmp_path):
    x, y = write_shards(tmp_path)
    for i in range(len(SIZES)):
        (tmp_path / f"y_train-{i:05}.npy").unlink()
    np.save(tmp_path / "y_train.npy", y)
    np.save(tmp_path / "x_val.npy", x[:9])
    np.save(tmp_path / "y_val.npy", y[:9])
    data = load_dataset(tmp_path)
    np.testing.assert_array_equal(data.y_train, y)
    np.testing.assert_array_equal(data.x_val, x[:9])
    assert repr(data.x_train) == "Shards('x_train', 200 rows of 48 uint8 values, 4 files)"
    assert pickle.loads(pickle.dumps(data.x_train))[:].tobytes() == x.tobytes()


TRAINS = """
import sys, numpy as np
from pathlib import Path
from fastff import FeedForwardNeuralNetwork, Standardize, Trainer, evaluate, load_dataset
def most():
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1])
def train(folder):
    data = load_dataset(folder)
    network = FeedForwardNeuralNetwork(3072, 3, [16], seed=0)
    network.layers.insert(0, Standardize.fit(data.x_train))
    Trainer(network, threads=2).fit(data.x_train, data.y_train, data.x_train, data.y_train, epochs=1)
    evaluate(network, data.x_train, data.y_train)
train(sys.argv[1])
before = most()
train(sys.argv[2])
print(most() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="another way of asking for resident memory")
def test_resident_memory_does_not_grow_with_the_files(tmp_path):
    for name, rows in (("small", 256), ("large", 16384)):
        (tmp_path / name).mkdir()
        for i in range(4):  # 200 MB of holes
            file = np.lib.format.open_memmap(tmp_path / name / f"x_train-{i}.npy", "w+", np.uint8, (rows, 3072))
            file[:, 0] = np.arange(rows)
            np.save(tmp_path / name / f"y_train-{i}.npy", np.arange(rows) % 3)
    command = [sys.executable, "-c", TRAINS, tmp_path / "small", tmp_path / "large"]
    grown = int(subprocess.run(command, check=True, capture_output=True).stdout)
    assert grown < 30_000, f"{grown} KB more"  # 200,000 of them are in the files
