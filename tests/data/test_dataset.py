"""A data set's splits: the digits that come with the package, and validation rows held out of the training rows."""

import numpy as np
import pooch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastff.data import Dataset, load_dataset
from fastff.errors import ArgumentError, DataError


def test_digits_are_in_the_package(monkeypatch):
    monkeypatch.setattr(pooch, "retrieve", None)  # would fail if it were called
    digits = load_dataset("digits")
    assert [len(y) for y in (digits.y_train, digits.y_val, digits.y_test)] == [1257, 180, 360]
    assert (digits.name, digits.n_features, digits.n_classes, digits.image_shape) == ("digits", 64, 10, (1, 8, 8))
    assert digits.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    for x, y in ((digits.x_train, digits.y_train), (digits.x_val, digits.y_val), (digits.x_test, digits.y_test)):
        assert (x.dtype, x.max()) == (np.uint8, 16)
        counts = np.bincount(y)
        assert counts.max() - counts.min() <= 0.1 * len(y) / 10 + 1  # every class in each part


def test_digits_are_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets", reason="compares with scikit-learn's copy")
    x, y = datasets.load_digits(return_X_y=True)
    digits = load_dataset("digits")
    rows = np.concatenate([digits.x_train, digits.x_val, digits.x_test])
    labels = np.concatenate([digits.y_train, digits.y_val, digits.y_test])
    ours, theirs = (np.lexsort(np.column_stack(pair).T) for pair in ((rows, labels), (x, y)))
    np.testing.assert_array_equal(rows[ours], x[theirs])
    np.testing.assert_array_equal(labels[ours], y[theirs])


def test_repr_is_short():
    assert repr(load_dataset("digits")) == (
        "Dataset('digits', train=1257, val=180, test=360, n_features=64, n_classes=10)"
    )


@given(rows=st.integers(2, 60), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**40))
def test_held_out_rows_are_a_fixed_part_of_training(rows, fraction, seed):
    x = np.arange(rows, dtype=np.float32)[:, None]
    y = np.arange(rows) % 2
    whole = Dataset("a", x, y, None, None, None, None, ("no", "yes"))
    parted = whole.with_validation(fraction, seed)
    assert len(parted.x_val) == min(max(round(rows * fraction), 1), rows - 1)
    np.testing.assert_array_equal(np.sort(np.concatenate([parted.x_train, parted.x_val]), axis=0), x)
    np.testing.assert_array_equal(parted.y_val, parted.x_val[:, 0] % 2)
    np.testing.assert_array_equal(parted.y_train, parted.x_train[:, 0] % 2)
    np.testing.assert_array_equal(whole.with_validation(fraction, seed).x_val, parted.x_val)
    assert parted.with_validation(0.5) is parted


def test_held_out_rows_never_change():
    whole = Dataset("a", np.arange(20)[:, None], np.zeros(20, int), None, None, None, None, ("a",))
    assert whole.with_validation(0.2).x_val.ravel().tolist() == [2, 3, 11, 13]
    assert whole.with_validation(0.2, seed=1).x_val.ravel().tolist() != [2, 3, 11, 13]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, float("nan"), [], "half", None, np.zeros(2)])
def test_fraction_must_leave_something(fraction):
    with pytest.raises(ArgumentError, match=r"^fraction: "):
        load_dataset("digits").with_validation(fraction)


@pytest.mark.parametrize("seed", [None, -1, 0.5, "x", [1]])
def test_the_seed_of_validation_is_a_whole_number(seed):
    with pytest.raises(ArgumentError, match=r"^seed: .*, want a whole number of at least 0$"):
        load_dataset("digits").with_validation(0.1, seed)


def test_one_row_cannot_be_split():
    with pytest.raises(DataError, match="one training row"):
        Dataset("a", np.ones((1, 2)), np.zeros(1, int), None, None, None, None, ("a",)).with_validation()
