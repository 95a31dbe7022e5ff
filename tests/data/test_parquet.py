"""A folder of Parquet files is turned into shards with the same rows, once, and again when a file has changed."""

import numpy as np
import pytest
from command_line import succeed

from fastff import ArgumentError, DataError, load_dataset
from fastff.data import parquet
from fastff.data.rows import Shards

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
RNG = np.random.default_rng(0)
KINDS = np.array(["oak", "ash", "elm"])


def write(path, rows=40, kinds=KINDS, **columns):
    """A table of two features and the class; returns the rows and the classes."""
    x = RNG.normal(size=(rows, 2)).astype(np.float32)
    y = RNG.choice(kinds, rows)
    pq.write_table(pa.table({"width": x[:, 0], "kind": y, "height": x[:, 1], **columns}), path, row_group_size=16)
    return x, y


@pytest.fixture
def trees(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BLOCK", 30)  # 10 rows
    parts = [write(tmp_path / f"train-{i}.parquet") for i in range(3)]
    return tmp_path, np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


@pytest.mark.parametrize("kinds", [KINDS, np.arange(3), np.array([0.0, 1.0])], ids=["names", "numbers", "floats"])
def test_files_become_shards_with_their_rows_and_classes(tmp_path, kinds):
    x, y = write(tmp_path / "train-a.parquet", kinds=kinds)
    x2, y2 = write(tmp_path / "train-b.parquet", kinds=kinds[1:])
    val = write(tmp_path / "val.parquet", kinds=kinds[:2])
    data = load_dataset(tmp_path, target="kind")
    assert isinstance(data.x_train, Shards)
    np.testing.assert_array_equal(data.x_train, np.concatenate([x, x2]))
    np.testing.assert_array_equal(data.x_val, val[0])
    names = np.array(sorted(KINDS)) if kinds is KINDS else kinds
    np.testing.assert_array_equal(names[data.y_train], np.concatenate([y, y2]))
    np.testing.assert_array_equal(names[data.y_val], val[1])
    assert data.class_names == (("ash", "elm", "oak") if kinds is KINDS else tuple(str(i) for i in range(len(kinds))))


def test_shards_are_made_once_and_again_when_a_file_changes(trees, monkeypatch):
    folder, x, _ = trees
    load_dataset(folder, target="kind")
    with monkeypatch.context() as patch:
        patch.setattr(parquet, "_convert", None)
        np.testing.assert_array_equal(load_dataset(folder, target="kind").x_train, x)
    new, _ = write(folder / "train-1.parquet", rows=7)
    found = load_dataset(folder, target="kind").x_train
    np.testing.assert_array_equal(found, np.concatenate([x[:40], new, x[80:]]))


def test_what_was_left_half_done_is_made_anew(trees, monkeypatch):
    folder, x, _ = trees

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "number_classes", stop)
        with pytest.raises(KeyboardInterrupt):
            load_dataset(folder, target="kind")
    np.testing.assert_array_equal(load_dataset(folder, target="kind").x_train, x)


def test_a_folder_of_tables_trains(trees):
    folder = trees[0]
    out = folder / "run"
    succeed("train", folder, "--target", "kind", "--epochs", 1, "--out", out)
    assert '"n": 120' in succeed("evaluate", out, folder, "--target", "kind", "--split", "train")


def test_tables_that_do_not_go_together_are_refused(trees):
    folder = trees[0]
    with pytest.raises(DataError, match=r"train-0\.parquet: no target column named; want one of: width, kind, height"):
        load_dataset(folder)
    write(folder / "train-1.parquet", depth=np.zeros(40))
    with pytest.raises(DataError, match=r"train-1\.parquet: columns that differ from those of train-0\.parquet"):
        load_dataset(folder, target="kind")
    write(folder / "train-1.parquet", width=[None] * 20 + [1.0] * 20)
    with pytest.raises(DataError, match=r"train-1\.parquet: column 'width': 10 of 10 values are missing"):
        load_dataset(folder, target="kind")
    (folder / "train-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"train-1\.parquet: not a readable Parquet file"):
        load_dataset(folder, target="kind")


def test_a_disk_without_room_is_said_in_numbers(trees, monkeypatch):
    monkeypatch.setattr(parquet.shutil, "disk_usage", lambda _: type("usage", (), {"free": 100}))
    with pytest.raises(DataError, match=r"train-0\.parquet: needs 320 bytes as shards in .*, 100 bytes are free"):
        load_dataset(trees[0], target="kind")


def test_a_target_is_for_tables(tmp_path):
    np.save(tmp_path / "x_train-0.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(ArgumentError, match="target: 'kind'"):
        load_dataset(tmp_path, target="kind")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"kind": ["a", "b"]}, "'kind' is the only column, want at least one feature beside it"),
        ({"kind": pa.array([], pa.string()), "x": pa.array([], pa.float32())}, "no rows"),
        ({"kind": ["a", "b"], "x": ["1", "2"]}, "column 'x': string values, want numbers"),
        ({"kind": [["a"], ["b"]], "x": [1, 2]}, r"column 'kind': list<.*> values, want classes"),
        ({"kind": ["a", "b"], "x": [1.0, None]}, "column 'x': 1 of 2 values are missing"),
        ({"kind": ["a", "b"], "x": [1.0, 1e300]}, "column 'x': inf at row 1, want a finite number"),
        ({"kind": ["a", "b"], "x": [1.0, np.nan]}, "column 'x': nan at row 1, want a finite number"),
    ],
)
def test_a_file_that_cannot_become_shards_is_one_line(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(tmp_path, target="kind")
    assert "train-0.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)
