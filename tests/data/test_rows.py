"""Rows and labels that a network cannot use are refused in one line; others are passed on, uncopied where possible."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastff.data import rows as rows_module
from fastff.data.rows import check_finite, check_labels, check_rows
from fastff.errors import DataError
from fastff.system.blocks import row_blocks


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_good_rows_are_not_copied(dtype):
    rows = np.ones((4, 6), dtype)
    for view in (rows, rows[:, ::2], np.asfortranarray(rows)):
        view.flags.writeable = False
        assert check_rows(view, "x") is view


def test_memory_map_stays_one(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 2), np.float32))
    assert isinstance(check_rows(np.load(tmp_path / "x.npy", mmap_mode="r"), "x"), np.memmap)


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int8, np.bool_, np.float16])
def test_other_numbers_become_float32(dtype):
    rows = check_rows(np.array([[0, 1]], dtype), "x")
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, [[0, 1]])


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2"])
def test_foreign_byte_order_is_turned(dtype):
    rows = check_rows(np.array([[1, 2], [3, 4]], dtype), "x")
    assert rows.dtype.isnative
    np.testing.assert_array_equal(rows, [[1, 2], [3, 4]])


def test_lists_are_rows_too():
    np.testing.assert_array_equal(check_rows([[1.5, 2], [3, 4]], "x"), [[1.5, 2], [3, 4]])


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.float64(1), r"shape \(\)"),
        (np.ones((0, 4)), r"empty, shape \(0, 4\)"),
        (np.ones((4, 0)), r"empty, shape \(4, 0\)"),
        (np.ones((2, 2), complex), "complex128"),
        (np.array([["a", "b"]]), "<U1"),
        (np.array([[None, 1]]), "object"),
        (np.array([["2020-01-01"]], "M8[D]"), "datetime64"),
        ([[1, 2], [3]], "list"),
        (np.ma.masked_equal([[1, 2]], 2), "missing values"),
    ],
)
def test_bad_rows_are_refused_by_name(rows, found):
    with pytest.raises(DataError, match=f"^x_train: .*{found}"):
        check_rows(rows, "x_train")


def test_rows_of_another_width_are_refused():
    assert check_rows(np.ones((2, 3)), "x_val", features=3).shape == (2, 3)
    with pytest.raises(DataError, match=r"^x_val: rows of 3 values, want 4$"):
        check_rows(np.ones((2, 3)), "x_val", features=4)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 9)),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    data=st.data(),
    block=st.integers(1, 50),
)
def test_first_bad_value_is_found_whatever_the_blocks(shape, bad, data, block):
    rows = np.zeros(shape, data.draw(st.sampled_from([np.float32, np.float64])))
    check_finite(rows, "x")
    row, column = (data.draw(st.integers(0, n - 1)) for n in shape)
    rows[row, column] = bad
    rows[row + 1 :] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "row_blocks", partial(row_blocks, numbers=block))
        with pytest.raises(DataError, match=rf"^x: {bad} at row {row}, column {column};"):
            check_finite(rows, "x")


def test_largest_floats_are_finite():
    check_finite(np.array([[np.finfo(np.float32).max, np.finfo(np.float32).min]], np.float32), "x")


def test_integers_are_finite():
    check_finite(np.full((2, 2), 255, np.uint8), "x")


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.int64, np.uint64, np.float16, np.float32, np.float64, np.dtype(">i4")]),
        st.integers(1, 20),
        elements=st.integers(0, 9),
    ),
    st.booleans(),
)
def test_whole_numbers_of_any_type_are_labels(labels, as_column):
    checked = check_labels(labels[:, None] if as_column else labels, "y", rows=len(labels), classes=10)
    assert checked.dtype == np.int64
    assert checked.shape == labels.shape
    np.testing.assert_array_equal(checked, labels.astype(int))


def test_booleans_are_two_classes():
    np.testing.assert_array_equal(check_labels(np.array([True, False]), "y", rows=2), [1, 0])


def test_good_labels_are_copied():
    labels = np.array([0, 2, 1])
    assert not np.shares_memory(check_labels(labels[:, None], "y", rows=3), labels)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([0, 1, 3], "3 at row 2, want a whole number from 0 to 2"),
        ([0, -1, 1], "-1 at row 1"),
        ([0.5, 1, 1], "0.5 at row 0"),
        ([0, np.nan, 1], "nan at row 1"),
        ([0, 1, np.inf], "inf at row 2"),
        ([0, 1, -np.inf], "-inf at row 2"),
        ([0, 1], "2 labels for 3 rows"),
        ([], "0 labels for 3 rows"),
        ([0, 1, 2, 0], "4 labels for 3 rows"),
        (["a", "b", "c"], "<U1"),
        ([[0, 1], [0, 1], [1, 0]], r"shape \(3, 2\)"),
        (1, r"shape \(\)"),
        ([None, 1, 2], "object"),
        (np.array([0, 1, 2**64 - 1], np.uint64), "18446744073709551615 at row 2"),
    ],
)
def test_bad_labels_are_refused_by_name(labels, found):
    with pytest.raises(DataError, match=f"^y_train: .*{found}"):
        check_labels(labels, "y_train", rows=3, classes=3)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint64, np.int64])
def test_without_classes_only_the_impossible_is_refused(dtype):
    assert check_labels(np.array([2000], dtype), "y", rows=1)[0] == 2000
    with pytest.raises(DataError, match="of 0 or more"):
        check_labels(np.array([np.inf if dtype in (np.float16, np.float64) else 2**40]).astype(dtype), "y", rows=1)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64])
def test_large_whole_numbers_keep_their_differences(dtype):
    """Times and ids, which float32 would round before anything could centre them."""
    rows = (1_700_000_000 + np.arange(100)).astype(dtype)[:, None]
    taken = check_rows(rows, "X")
    assert taken.dtype == np.float64
    np.testing.assert_array_equal(taken, rows)


def test_a_frame_of_numbers_may_have_flags_and_nullable_columns_beside_them():
    pd = pytest.importorskip("pandas")
    frame = pd.get_dummies(pd.DataFrame({"size": [1.5, 2.0], "kind": ["a", "b"]}))
    wanted = [[1.5, 1, 0], [2, 0, 1]]
    np.testing.assert_array_equal(check_rows(frame, "X"), wanted)
    np.testing.assert_array_equal(check_rows(frame.convert_dtypes(), "X"), wanted)
    gap = frame.convert_dtypes()
    gap.loc[1, "size"] = pd.NA
    assert np.isnan(check_rows(gap, "X")[1, 0])
    with pytest.raises(DataError, match="X: holds object values"):
        check_rows(frame.assign(name=["a", "b"]), "X")
