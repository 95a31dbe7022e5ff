"""fastff.engine.products, and the operations of fastff.kernels.symmetric under it, against NumPy and LAPACK."""

import numpy as np
import pytest

from fastff.data.rows import Shard, Shards
from fastff.engine import products
from fastff.errors import FastffError

U32, U64 = 2.0**-24, 2.0**-53
SIZES = (1, 2, 3, 7, 8, 9, 33, 100)


def symmetric(n, seed=0):
    a = np.random.default_rng(seed).normal(size=(n, n + 3))
    return a @ a.T


@pytest.mark.parametrize(("n", "k", "m"), [(1, 1, 1), (5, 300, 33), (70, 7, 100)])
def test_product(n, k, m):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(n, k)).astype(np.float32), rng.normal(size=(k, m)).astype(np.float32)
    wanted, terms = a.astype(np.float64) @ b, np.abs(a).astype(np.float64) @ np.abs(b)
    assert (np.abs(products.Times(b)(a) - wanted) <= k * U32 * terms).all()
    assert products.Times(b.T.copy().T)(a[:, ::-1].copy()[:, ::-1]).tobytes() == products.Times(b)(a).tobytes()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 1500])
def test_covariance_of_numbers(kind, rows):
    x = np.random.default_rng(0).integers(0, 256, (rows, 37)).astype(kind)
    mean, scale = x.mean(0, dtype=np.float64), np.full(37, 1 / 60, np.float32)
    own = ((x - mean) * scale).astype(np.float64)
    # each value is off by the rounding of its mean, of a value of 255, and by two of its own
    off = 255 / 60 * U32 + 2 * U32 * np.abs(own)
    bound = np.abs(own).T @ off * 2 + (rows + 2) * U32 * (np.abs(own).T @ np.abs(own)) + len(x) * 1e-12
    assert (np.abs(products.covariance(x, mean, scale) - own.T @ own / rows) <= bound / rows).all()


@pytest.mark.parametrize("columns", [1, 37, 100])
@pytest.mark.parametrize("rows", [1, 1500])
def test_covariance_of_bytes_is_right_to_the_last_bit(columns, rows, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (rows, columns), np.uint8)
    x[:, : columns // 2] = 255 * rng.integers(0, 2, (rows, 1))  # the largest sums there are
    mean, scale = x.mean(0, dtype=np.float64), rng.uniform(0.01, 2.0, columns).astype(np.float32)
    own = (x - mean) * scale.astype(np.float64)
    wanted, found = own.T @ own / rows, products.covariance(x, mean, scale)
    # float64's sums, here and there, and the rounding to float32
    assert (np.abs(found - wanted) <= U32 * np.abs(wanted) + 2 * rows * U64 * 256**2 * np.outer(scale, scale)).all()
    assert (found == found.T).all()
    monkeypatch.setattr(products, "resolve_precision", lambda _: "float32")
    assert products.covariance(x, mean, scale).tobytes() == found.tobytes()  # however this CPU multiplies


def test_covariance_of_shards_is_that_of_the_rows(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (1200, 20), np.uint8)
    (tmp_path / "rows").write_bytes(x.tobytes())
    shards = Shards([Shard(tmp_path / "rows", 0, 1200)], 20, np.uint8, name="rows")
    mean, scale = x.mean(0, dtype=np.float64), np.ones(20, np.float32)
    assert products.covariance(shards, mean, scale).tobytes() == products.covariance(x, mean, scale).tobytes()


@pytest.mark.parametrize("n", SIZES)
def test_eigenvectors(n):
    a = symmetric(n)
    values, vectors = products.eigenvectors(a)
    largest = np.linalg.norm(a, 2)
    assert (np.diff(values) <= 0).all()
    # backward stable: a modest multiple of n roundings of the largest eigenvalue
    assert np.abs(values - np.linalg.eigvalsh(a)[::-1]).max() <= 10 * n * U64 * largest
    assert np.abs(vectors @ vectors.T - np.eye(n)).max() <= 10 * n * U64
    assert np.abs(vectors @ a - values[:, None] * vectors).max() <= 20 * n * U64 * largest


@pytest.mark.parametrize(
    ("matrix", "values"),
    [
        (np.zeros((4, 4)), [0] * 4),
        (np.eye(9), [1] * 9),
        (np.diag([3.0, -1.0, 2.0]), [3, 2, -1]),
        (np.ones((6, 6)), [6, 0, 0, 0, 0, 0]),
        (np.eye(5)[::-1], [1, 1, 1, -1, -1]),
        (np.diag([1e300, 1.0, 1e-300]), [1e300, 1, 1e-300]),
    ],
)
def test_eigenvalues_of_special_matrices(matrix, values):
    found, vectors = products.eigenvectors(matrix)
    assert np.allclose(found, values, rtol=1e-14, atol=1e-14 * abs(values[0]))
    assert np.allclose(vectors @ vectors.T, np.eye(len(matrix)), atol=1e-14)


def test_no_eigenvalues_without_numbers():
    with pytest.raises(FastffError, match="eigenvalues of a matrix of 3 x 3"):
        products.eigenvectors(np.full((3, 3), np.nan))


@pytest.mark.parametrize("n", SIZES)
def test_inverse_of_the_factor(n):
    a = symmetric(n)
    before, inverse = a.copy(), products.inverse_factor(a)
    assert np.array_equal(a, before)
    assert np.array_equal(inverse, np.tril(inverse))
    assert np.abs(inverse @ a @ inverse.T - np.eye(n)).max() <= 10 * n * U64 * np.linalg.cond(a)


def test_no_factor_of_a_matrix_that_is_not_positive_definite():
    with pytest.raises(FastffError, match="2 x 2 numbers is not positive definite"):
        products.inverse_factor(np.array([[1.0, 2.0], [2.0, 1.0]]))
