"""The principal components of rows: the directions of largest variance, with the same bits on every machine.

The covariance is a product of the register tile's. Where it is small its eigenvectors are computed outright; otherwise
the largest are found by subspace iteration (Halko, Martinsson & Tropp 2011, "Finding structure with randomness", 4.5),
which needs little but products: a few more random directions than are wanted are multiplied by the covariance and made
orthogonal again and again, and then the best directions within what they span are taken.
"""

import numpy as np

from fastff.engine.products import Times, eigenvectors, inverse_factor
from fastff.system import elementary

OUTRIGHT = 512  # features for which eigenvectors are computed outright
ROUNDS = 5  # of subspace iteration
SHIFT = 1e-5  # added to the covariance's diagonal, as a share of its trace: no direction is lost to rounding


def principal_components(covariance: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest `count` variances, float64, the largest first, and their directions in rows, float32 (count, D).

    covariance: float32 (D, D) of finite numbers.
    """
    features = len(covariance)
    size = min(features, count + max(16, count // 2))
    if features <= OUTRIGHT or size == features:
        variances, directions = eigenvectors(covariance)
        return variances[:count], directions[:count].astype(np.float32)
    shift = np.float32(SHIFT * np.trace(covariance, dtype=np.float64))
    times = Times(covariance + shift * np.eye(features, dtype=np.float32))
    basis = elementary.normal((size, features), 0)
    for _ in range(ROUNDS):
        image = times(basis)
        # by the factor of (basis covariance basis^T), what is left to be made orthogonal is nearly so
        basis = _orthogonal(_solve(Times(basis.T)(image), image))
    basis = _orthogonal(basis)
    variances, mixes = eigenvectors(Times(basis.T)(times(basis)))
    return variances[:count] - shift, Times(basis)(mixes[:count])


def _orthogonal(rows: np.ndarray) -> np.ndarray:
    """Orthogonal rows of length 1 that span the same."""
    return _solve(Times(rows.T)(rows), rows)


def _solve(products: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """L^-1 rows, where L L^T = products (Cholesky), which is symmetric but for rounding and positive definite."""
    return Times(rows)(inverse_factor(products))
