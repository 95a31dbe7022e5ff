"""What is held out of a table: the same rows for the same seed, of every class its share, and found again by a run."""

import json

import numpy as np
import pytest

from fastff import load_dataset
from fastff.data.splits import split_from, split_rows, stratified
from fastff.errors import ArgumentError, DataError

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def frame(rows=200, rare=10):
    """A table of which row i has a = i, and with this many rows of a rare class."""
    kinds = np.where(np.arange(rows) < rare, "rare", "often")
    return pa.table({"a": np.arange(rows) + 0.5, "w": np.arange(rows) % 3 + 1.0, "kind": kinds})


def rows_of(data, split):
    return {int(row[0]) for row in getattr(data, f"x_{split}")}


def test_every_class_has_its_share_of_each_split():
    data = load_dataset(frame(), target="kind", test_share=0.2)
    counts = {split: np.bincount(getattr(data, f"y_{split}")).tolist() for split in ("train", "val", "test")}
    assert counts == {"test": [38, 2], "val": [15, 1], "train": [137, 7]}
    parts = [rows_of(data, split) for split in ("train", "val", "test")]
    assert set.union(*parts) == set(range(200))
    assert sum(map(len, parts)) == 200


def test_the_seed_chooses_the_rows():
    first, again, other = (load_dataset(frame(), target="kind", test_share=0.2, split_seed=seed) for seed in (3, 3, 4))
    for split in ("train", "val", "test"):
        assert rows_of(first, split) == rows_of(again, split) != rows_of(other, split)
    assert load_dataset(frame(), target="kind", test_share=0).x_test is None
    assert load_dataset(frame(), target="kind").x_val is None


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_no_class_is_held_out_whole(count, share):
    labels = np.repeat([0, 1, 2], [count, 1, 50])
    held = stratified(labels, "classify", share, 0)
    assert (np.diff(held) > 0).all()
    assert np.bincount(np.delete(labels, held), minlength=3).min() >= 1
    assert len(held) <= max(1, round(len(labels) * share))


def test_numbers_to_predict_are_held_out_over_their_whole_range():
    labels = np.random.default_rng(0).permutation(1000).astype(float)
    parts = split_rows(labels, "regress", 0.2, 0, "t")
    for rows, each in ((parts["test"], 20), (parts["val"], 8)):
        assert np.bincount((labels[rows] // 100).astype(int)).tolist() == [each] * 10
    pairs = np.column_stack([labels, labels])
    np.testing.assert_array_equal(split_rows(pairs, "regress", 0.2, 0, "t")["test"], parts["test"])
    held = load_dataset(pa.table({"a": labels / 2, "y": labels}), target="y").with_validation(0.1)
    assert np.bincount((held.y_val // 100).astype(int)).tolist() == [10] * 10


def test_too_few_rows_to_hold_some_out():
    with pytest.raises(DataError, match=r"^t: 2 rows, want two or more of a class, as some are held out to test$"):
        split_rows(np.array([0, 1]), "classify", 0.2, 0, "t")
    with pytest.raises(DataError, match=r"^t: 1 rows, want two or more of a table, as some are held out to val$"):
        split_rows(np.array([0.5]), "regress", 0.0, 0, "t")


def test_a_run_finds_its_rows_again_and_refuses_others():
    table = frame()
    data = load_dataset(table, target="kind", test_share=0.2, split_seed=3)
    split = split_from(json.loads(json.dumps(data.description["split"])), "best")
    assert split == data.split
    x, y = data.columns.rows(table), data.columns.labels(table)
    for name, rows in split.of(x, y, "classify", "t").items():
        np.testing.assert_array_equal(x[rows], getattr(data, f"x_{name}"))
    for other, found in ((slice(1, None), "199 rows with labels"), (slice(None, None, -1), "other values")):
        with pytest.raises(DataError, match=rf"^t: another table than the model was trained on \({found}, want"):
            split.of(x[other], y[other], "classify", "t")


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"seed": True}, {"rows": 0}, {"test_share": 1.0}, {"digest": 3}, {"test": None}, {"x": 1}]
)
def test_a_damaged_split_is_refused(change):
    good = load_dataset(frame(), target="kind", test_share=0.2).split.description
    for damaged in ({**good, **change}, {}, None):
        with pytest.raises(DataError, match=r"^best: the split of a table is damaged, want what a run has saved$"):
            split_from(damaged, "best")


def test_what_is_learned_about_columns_is_learned_from_the_training_rows():
    table = frame()
    known = load_dataset(table, target="kind", test_share=0.2)
    test = sorted(rows_of(known, "test"))
    numbers, texts = np.arange(200) % 20 + 0.5, np.array(["x", "y"] * 100, object)
    numbers[test], texts[test] = 1e6, "only here"
    gaps = [None if i == test[0] else i % 5 for i in range(200)]
    data = load_dataset(
        table.append_column("n", pa.array(numbers))
        .append_column("t", pa.array(texts))
        .append_column("g", pa.array(gaps)),
        target="kind",
        test_share=0.2,
    )
    assert data.columns.feature_names == ("a", "w", "n", "t=x", "t=y", "g")
    assert data.columns.columns[2].median < 21
    np.testing.assert_array_equal(data.x_test[:, 3:5], 0)


def test_test_rows_may_come_from_another_file(tmp_path):
    (tmp_path / "a.csv").write_text("a,kind\n" + "1,x\n2,y\n3.5,x\n" * 10)
    (tmp_path / "b.csv").write_text("kind,b,a\ny,0,7\n,0,8\nX,0,9\n")
    with pytest.warns(UserWarning, match=r"b.csv: 1 rows have no target and are left out"):
        data = load_dataset(tmp_path / "a.csv", target="kind", test=tmp_path / "b.csv")
    np.testing.assert_array_equal(data.x_test, [[7], [9]])
    np.testing.assert_array_equal(data.y_test, [1, 0])
    assert (len(data.y_train), len(data.y_val)) == (27, 3)
    with pytest.raises(ArgumentError, match=r"^test_share: 0.2 beside the test rows in .*b.csv, want one of the two$"):
        load_dataset(tmp_path / "a.csv", target="kind", test=tmp_path / "b.csv", test_share=0.2)
    with pytest.raises(DataError, match=r"c.npz is no table, want the file of one, .csv"):
        load_dataset(tmp_path / "a.csv", target="kind", test=tmp_path / "c.npz")


def test_a_column_of_weights_is_no_feature():
    data = load_dataset(frame(), target="kind", weight_column="w", test_share=0.2)
    assert data.columns.feature_names == ("a",)
    np.testing.assert_array_equal(data.weights, [i % 3 + 1 for i in sorted(rows_of(data, "train"))])
    assert data.columns.rows(pa.table({"a": [1.5]})).tolist() == [[1.5]]
    np.testing.assert_array_equal(load_dataset(frame(), target="kind", weight_column="w").weights[:3], [1, 2, 3])


@pytest.mark.parametrize(
    ("options", "error", "found"),
    [
        ({"weight_column": "b"}, ArgumentError, "weight_column: 'b' is no column, want some of: a, w, kind"),
        ({"weight_column": "kind"}, ArgumentError, "weight_column: 'kind' is a target or left out"),
        (
            {"weight_column": "less"},
            DataError,
            "weight_column: table: column 'less': the weight -1.0 at row 0, want a number of at",
        ),
        (
            {"weight_column": "gap"},
            DataError,
            "weight_column: table: column 'gap': the weight nan at row 0, want a number of at",
        ),
        (
            {"weight_column": "zero"},
            DataError,
            "weight_column: table: column 'zero': all weights are 0, want some above",
        ),
        ({"test_share": 1.0}, ArgumentError, "test_share: 1.0"),
        ({"test_share": -0.1}, ArgumentError, "test_share: -0.1"),
        ({"split_seed": 3}, ArgumentError, "split_seed: 3, but no rows are held out"),
        ({"test_share": 0.2, "split_seed": -3}, ArgumentError, "split_seed: -3"),
    ],
)
def test_options_that_cannot_be_used(options, error, found):
    columns = {"less": [-1.0] * 200, "gap": [None] + [1.5] * 199, "zero": [0] * 200}
    table = frame()
    for name, values in columns.items():
        if name == options.get("weight_column"):
            table = table.append_column(name, pa.array(values))
    with pytest.raises(error, match=f"^{found}"):
        load_dataset(table, target="kind", **options)


@pytest.mark.parametrize("options", [{"test_share": 0.2}, {"test": "a.csv"}, {"weight_column": "w"}, {"split_seed": 0}])
def test_options_of_tables_are_for_tables(options):
    with pytest.raises(
        ArgumentError, match=f"^{next(iter(options))}: .* for digits, want it left out: it is only for tables"
    ):
        load_dataset("digits", **options)
