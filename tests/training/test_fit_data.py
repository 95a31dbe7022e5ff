"""Rows and labels of every kind train alike and are left alone; those that cannot be used are refused."""

import re

import numpy as np
import pytest
from trainers import X_VAL, Y_VAL, C, D, N, Through, X, Y, assert_same_weights, make, trained, weights_of

from fastff import SGD, ArgumentError, CrossEntropySoftmax, DataError, Standardize, Trainer


@pytest.mark.parametrize("kind", ["float64", "fortran", "strided", "reversed", "read-only", "memmap", "list", ">f4"])
def test_rows_of_every_kind_train_alike(kind, tmp_path):
    wide = np.zeros((2 * N, 3 * D), np.float32)
    wide[::2, ::3] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    np.save(tmp_path / "x.npy", X)
    rows = {"float64": X.astype(np.float64), "fortran": np.asfortranarray(X), "strided": wide[::2, ::3],
            "reversed": X[::-1, ::-1].copy()[::-1, ::-1], "read-only": read_only, "list": X.tolist(),
            "memmap": np.load(tmp_path / "x.npy", mmap_mode="r"), ">f4": X.astype(">f4")}[kind]  # fmt: skip
    assert_same_weights(trained(rows=rows)[0], trained()[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.int64, np.float16, bool])
def test_numbers_of_every_type_train_alike(dtype):
    whole = np.random.default_rng(0).integers(0, 2 if dtype is bool else 100, (N, D))
    one, two = make(), make()
    for net, rows in ((one, whole.astype(dtype)), (two, whole.astype(np.float32))):
        # a mean that float32 holds: float64 rows are centred in float64, the others in float32
        net.layers.insert(0, Standardize(whole.mean(0).astype(np.float32), whole.std(0)))
        Trainer(net, batch_size=16).fit(rows, Y, rows, Y, epochs=2)
    assert_same_weights(one, two)


def test_labels_of_every_kind_train_alike():
    expected = trained()[0]
    table = np.stack([Y, Y[::-1]], axis=1)
    kinds = [Y[:, None], Y.tolist(), Y.astype(np.uint8), Y.astype(np.float32), Y.astype(">i8"), Y[::-1].copy()[::-1],
             table[:, 0], table[:, :1], np.repeat(Y, 3)[::3]]  # fmt: skip
    for labels in kinds:
        assert_same_weights(trained(labels=labels)[0], expected)


def test_nothing_that_is_passed_in_is_modified():
    arrays = [X.copy(), Y.copy(), X_VAL.copy(), Y_VAL.copy()]
    net = make(dropout=0.5)
    net.layers.insert(0, Standardize.fit(arrays[0]))
    Trainer(net, batch_size=16).fit(*arrays, epochs=2)
    for array, original in zip(arrays, (X, Y, X_VAL, Y_VAL), strict=True):
        np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize(("rows", "batch_size"), [(1, 1), (1, 128), (5, 128), (N, N), (N, N + 1)])
def test_batches_as_large_as_the_data_or_larger(rows, batch_size):
    net, criterion = make(optimizer=SGD()), CrossEntropySoftmax()
    start = net.logits(X[:rows])
    history = Trainer(net, batch_size=batch_size, step_size=0.1).fit(X[:rows], Y[:rows], epochs=2)
    assert len(history.batch_losses) == 2
    assert history.batch_losses[0] == pytest.approx(criterion.forward(start, Y[:rows]), rel=1e-12)
    assert history.batch_losses[1] < history.batch_losses[0]
    assert history.epochs[0].train_loss == pytest.approx(history.batch_losses[0])


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
@pytest.mark.parametrize(
    ("bad", "dtype", "shown"), [(np.nan, np.float32, "nan"), (np.inf, np.float64, "inf"), (-np.inf, np.float32, "-inf")]
)
def test_rows_that_are_not_finite_are_named(bad, dtype, shown, layer):
    rows = X.astype(dtype)
    rows[41, 5] = bad
    net = make(layer=layer and layer())
    before = weights_of(net)
    with pytest.raises(DataError, match=rf"^X: {shown} at row 41, column 5; want finite numbers$"):
        Trainer(net).fit(rows, Y, epochs=1)
    with pytest.raises(DataError, match=rf"^X_val: {shown} at row 41, column 5; want finite numbers$"):
        Trainer(net).fit(X, Y, rows, Y, epochs=1)
    for now, then in zip(weights_of(net), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_rows_whose_sum_is_too_large_are_finite_all_the_same():
    net = make()
    rows = X.astype(np.float64)
    rows[:, 0] = np.where(np.arange(N) % 2, 3e38, 2e38)
    scale = np.ones(D)
    scale[0] = 3e38
    net.layers.insert(0, Standardize(np.zeros(D), scale))
    assert np.isfinite(Trainer(net, batch_size=16).fit(rows.astype(np.float32), Y, epochs=1).batch_losses).all()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X[:, :5], Y), {}, DataError, "X: rows of 5 values, want 7"),
        ((X[0], Y), {}, DataError, "X: shape (7,), want two dimensions"),
        ((X[:0], Y[:0]), {}, DataError, "X: empty, shape (0, 7); want at least one row"),
        ((np.array([["a"] * D]), [0]), {}, DataError, "X: holds <U1 values, want numbers"),
        ((X, Y[:9]), {}, DataError, "Y: 9 labels for 103 rows, want one a row"),
        ((X, Y + 100), {}, DataError, f"Y: {Y[0] + 100} at row 0, want a whole number from 0 to 2"),
        ((X, np.eye(C)[Y]), {}, DataError, "Y: shape (103, 3), want (rows,) or (rows, 1)"),
        ((X, Y, X[:, :5], Y), {}, DataError, "X_val: rows of 5 values, want 7"),
        ((X, Y, X, Y[:9]), {}, DataError, "Y_val: 9 labels for 103 rows, want one a row"),
        ((X, Y, X), {}, ArgumentError, "X_val and Y_val: one of the two is missing, want both or neither"),
        ((X, Y, None, Y), {}, ArgumentError, "X_val and Y_val: one of the two is missing, want both or neither"),
        ((X, Y), {"epochs": 0}, ArgumentError, "epochs: 0, want a whole number of at least 1"),
        ((X, Y), {"epochs": 2.0}, ArgumentError, "epochs: 2.0, want a whole number of at least 1"),
        ((X, Y), {"epochs": None}, ArgumentError, "epochs: None, want a whole number of at least 1"),
    ],
)
def test_data_that_is_refused_leaves_the_network_alone(arguments, options, error, message):
    net = make()
    before = weights_of(net)
    with pytest.raises(error, match=f"^{re.escape(message)}[^\n]*$"):
        Trainer(net).fit(*arguments, **{"epochs": 1, **options})
    for now, then in zip(weights_of(net), before, strict=True):
        np.testing.assert_array_equal(now, then)
