"""Linear algebra with the same bits on every machine, for what is done once before training.

Products are the register tile's, in float32, by programs as layers have them. The sums of BLAS and LAPACK follow the
CPU and the number of threads.
"""

import numpy as np

from fastff.data.rows import Rows
from fastff.engine import panels
from fastff.engine.program import Program
from fastff.errors import FastffError
from fastff.kernels import symmetric
from fastff.kernels.cpu import NR
from fastff.kernels.operation import address

GRAM_ROWS = 512  # of a batch


class Times:
    """a -> a @ matrix, float32, for one matrix (n_in, n_out) and any a (rows, n_in)."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.shape = matrix.shape
        self._panels = panels.aligned(panels.panel_size(matrix.shape))
        self._zeros = panels.aligned(panels.round_up(matrix.shape[1], NR))
        panels.pack(matrix, self._panels)

    def __call__(self, a: np.ndarray) -> np.ndarray:
        program = Program(len(a))
        x = program.gather(np.ascontiguousarray(a, np.float32))
        out = program.scatter(program.linear(x, self._panels, self._zeros, self.shape[1]), len(a))
        program.run()
        return out


def gram(rows: Rows, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """x^T x, float32 (D, D), where x = (rows - mean) * scale for rows (N, D).

    mean: float64 (D,), scale: float32 (D,).
    """
    columns = rows.shape[1]
    program = Program(min(GRAM_ROWS, len(rows)))
    x = program.gather(rows, mean, scale)
    total = panels.aligned(panels.panel_size((columns, columns)))
    program.gram(x, total)
    program.run(np.arange(len(rows), dtype=np.int64))
    upper = np.triu(panels.unpack(total, (columns, columns)))
    return upper + np.triu(upper, 1).T


def eigenvectors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The eigenvalues of a symmetric matrix (n, n), the largest first, and their eigenvectors in rows: float64.

    matrix holds finite numbers.
    """
    n = len(matrix)
    own = np.ascontiguousarray((matrix + matrix.T.astype(np.float64)) / 2.0)
    values, vectors, room = np.empty(n), np.empty((n, n)), np.empty(2 * n)
    if symmetric.eigenvectors(n, *map(address, (own, values, vectors, room))) != 0:
        raise FastffError(f"the eigenvalues of a matrix of {n} x {n} numbers were not found")
    order = np.argsort(-values, kind="stable")
    return values[order], vectors[order]


def inverse_factor(matrix: np.ndarray) -> np.ndarray:
    """L^-1, float64, for the lower triangular L with L L^T = matrix (n, n), symmetric and positive definite."""
    n = len(matrix)
    own, inverse = np.array(matrix, np.float64, order="C"), np.zeros((n, n))
    if symmetric.inverse_factor(n, address(own), address(inverse)) != 0:
        raise FastffError(f"a matrix of {n} x {n} numbers is not positive definite")
    return inverse
