"""Rows that are gathered into panels equal float32 NumPy bit for bit, whatever their type, layout and order."""

import numpy as np
import pytest
import reference
from hypothesis import example, given
from hypothesis import strategies as st

from fastff.engine.program import Program

pytestmark = pytest.mark.usefixtures("poisoned")

DTYPES = (np.uint8, np.float32, np.float64)
# around the lanes (4, 8, 16), the panels (12, 24, 32) and the tiles of every target
sizes = st.one_of(st.integers(1, 70), st.sampled_from([95, 96, 97, 128, 191, 192, 193, 257]))
threads = st.sampled_from([1, 2, 3, 7])


def unaligned(rows):
    raw = np.zeros(rows.nbytes + 1, np.uint8)
    copy = raw[1:].view(rows.dtype).reshape(rows.shape)
    copy[:] = rows
    return copy


def read_only(rows):
    copy = rows.copy()
    copy.flags.writeable = False
    return copy


def every_other(rows, axis):
    wide = np.zeros([n * (2 if i == axis else 1) for i, n in enumerate(rows.shape)], rows.dtype)
    view = wide[::2] if axis == 0 else wide[:, ::2]
    view[:] = rows
    return view


LAYOUTS = {
    "plain": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "rows reversed": lambda rows: rows[::-1].copy()[::-1],
    "columns reversed": lambda rows: rows[:, ::-1].copy()[:, ::-1],
    "every other row": lambda rows: every_other(rows, 0),
    "every other column": lambda rows: every_other(rows, 1),
    "one row repeated": lambda rows: np.broadcast_to(rows[:1], rows.shape),
    "read-only": read_only,
    "unaligned": unaligned,
}


def random_rows(rng, shape, dtype):
    if dtype == np.uint8:
        return rng.integers(0, 256, shape, np.uint8)
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-30, 30, shape)).astype(dtype)


def through_lanes(rows, index, batch, threads, mean=None, scale=None):
    program = Program(batch)
    out = program.scatter(program.gather(rows, mean, scale), len(index))
    program.run(index, threads=threads)
    return out


@given(sizes, sizes, sizes, st.sampled_from(DTYPES), st.sampled_from(sorted(LAYOUTS)), threads, st.integers(0, 99))
@example(1, 1, 1, np.uint8, "plain", 7, 0)
@example(257, 193, 100, np.float64, "fortran", 3, 0)
def test_gather_normalises_the_rows_of_the_index(count, features, batch, dtype, layout, threads, seed):
    rng = np.random.default_rng(seed)
    rows = LAYOUTS[layout](random_rows(rng, (count, features), dtype))
    index = rng.integers(0, count, rng.integers(1, 2 * count + 1))  # any order, rows missing, rows twice
    mean = rng.standard_normal(features).astype(np.float32)
    scale = rng.uniform(0.1, 3.0, features).astype(np.float32)
    before = rows.copy()
    got = through_lanes(rows, index, batch, threads, mean, scale)
    # roundings in one given order (to float32, the difference, the product), so the bits are determined; float64 rows
    # are rounded after the difference
    first = (rows[index] - mean.astype(np.float64)).astype(np.float32) if dtype == np.float64 else None
    np.testing.assert_array_equal(got, ((rows[index].astype(np.float32) - mean) if first is None else first) * scale)
    np.testing.assert_array_equal(rows, before)
    # and they are near the truth: the relative error of x reaches the difference by |x| / |x - mean|
    truth = reference.gather(rows, index, mean, scale)
    size = (np.abs(rows[index].astype(np.float64)) + np.abs(mean)) * scale
    assert (np.abs(got - truth) <= reference.gamma(3) * size).all()


@given(sizes, sizes, st.sampled_from(DTYPES), threads)
def test_without_normalisation_rows_come_back_as_they_were(count, features, dtype, threads):
    rows = random_rows(np.random.default_rng(count), (count, features), dtype)
    got = through_lanes(rows, np.arange(count), count, threads)
    np.testing.assert_array_equal(got, rows.astype(np.float32))


@pytest.mark.parametrize("features", [1, 5, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values_pass_through(features, dtype):
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, reference.MAX, -reference.MAX, 2.0**-149, -(2.0**-149)]
    rows = np.repeat(np.array(special, dtype)[:, None], features, axis=1)
    got = through_lanes(rows, np.arange(len(rows)), len(rows), 1)
    np.testing.assert_array_equal(got, reference.flush(rows.astype(np.float32)))


def test_memory_mapped_rows(tmp_path):
    rows = np.random.default_rng(0).standard_normal((50, 37)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    order = np.random.default_rng(1).permutation(50)
    np.testing.assert_array_equal(through_lanes(mapped, order, 16, 2), rows[order])
