"""Linear algebra with the same bits on every machine, for what is done once before training.

Products are the register tile's, in float32, by programs as layers have them. The sums of BLAS and LAPACK follow the
CPU and the number of threads.
"""

import numpy as np

from fastff.data.rows import Rows
from fastff.engine import panels
from fastff.engine.bfloat16 import PROGRAMS, resolve_precision
from fastff.engine.program import Program
from fastff.errors import FastffError
from fastff.kernels import symmetric
from fastff.kernels.cpu import MR, NR
from fastff.kernels.operation import address

BATCH = 1024  # rows: float32 holds any sum of so many products of two numbers from -128 to 127
MIDDLE = 128.0  # of a byte's values


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


def covariance(rows: Rows, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """x^T x / N, float32 (D, D), where x = (rows - mean) * scale for rows (N, D).

    mean: that of the rows, float64 (D,); scale: float32 (D,). Of bytes, what is summed are products of whole numbers
    of at most 8 bits: exact in the fastest way that this CPU has to multiply, and so the same on every CPU.
    """
    features, size = rows.shape[1], min(BATCH, len(rows))
    exact = rows.dtype == np.uint8
    program = PROGRAMS[resolve_precision("auto") if exact else "float32"](size)
    x = program.gather(rows, np.full(features, MIDDLE)) if exact else program.gather(rows, mean, scale)
    total = panels.aligned(panels.panel_size((features, features)), np.float64)
    program.gram(x, total)
    program.run(np.arange(len(rows), dtype=np.int64))
    result, off = np.empty((features, features), np.float32), mean - MIDDLE
    with np.errstate(over="ignore", invalid="ignore"):  # the caller sees what is not finite
        for q, panel in enumerate(total.reshape(-1, panels.round_up(features, MR), NR)):
            here = slice(q * NR, min(features, (q + 1) * NR))
            above = slice(0, here.stop)  # what lies below the diagonal is the same
            block = panel[above, : here.stop - here.start] / len(rows)
            if exact:
                block -= off[above, None] * off[here]
                block *= scale[above, None].astype(np.float64) * scale[here]
            result[above, here] = block
            result[here, above] = block.T
    return result


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
