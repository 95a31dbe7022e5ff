"""Piecewise-linear functions of a feature: several clipped lines of it, side by side, and their slopes.

Output k is a line of one feature of the row, clipped at both ends (Gorishniy et al. 2022, "On embeddings for numerical
features in tabular deep learning", 3.2, have one such line for each bin of a feature):

    y_k = min(max((x_j - lower_k) * scale_k, low_k), high_k)     where j = sources[k]
    dL/dx_j = sum of scale_k dL/dy_k over its k with low_k < y_k < high_k
"""

import numpy as np
from numba import types

from .compiler import kernel
from .cpu import LANES, NR
from .emit import address, emits, load_i64
from .operation import array, operation
from .panels import batch, padded, vector_offset


@kernel
def _vectors_of(rows, thread, threads):
    """A thread's share of the vectors of a batch's rows: the first one, and the one behind the last."""
    vectors = (rows + LANES - 1) // LANES
    return vectors * thread // threads, vectors * (thread + 1) // threads


@kernel
def _feature(sources, k, n_in):
    """The feature of line k; bounded, as somebody may write to the array of sources while the program runs."""
    return min(max(load_i64(sources + 8 * k), 0), n_in - 1)


@emits(types.void, address, address, address, address, address, address)
def _clipped_line(e, x, lower, scale, low, high, y):
    b = e.b
    value = b.fsub(e.load(x), e.splat(e.load_scalar(lower)))
    value = b.fmul(value, e.splat(e.load_scalar(scale)))
    for bound, beyond in ((low, "<"), (high, ">")):
        end = e.splat(e.load_scalar(bound))
        value = e.select(beyond, value, end, end, value)  # a NaN stays one
    e.store(value, y)


@emits(types.void, address, address, address, address, address, address)
def _add_slope(e, g, y, scale, low, high, dx):
    b, zero = e.b, e.const(0.0)
    slope = b.fmul(e.load(g), e.splat(e.load_scalar(scale)))
    value = e.load(y)
    for bound, within in ((low, ">"), (high, "<")):
        slope = e.select(within, value, e.splat(e.load_scalar(bound)), slope, zero)
    e.store(b.fadd(e.load(dx), slope), dx)


@emits(types.void, address)
def _clear(e, dx):
    e.store(e.const(0.0), dx)


@operation
def encode(
    x: batch("n_in"), y: batch("n_out"), n_in, n_out, sources: array(np.int64, "n_out"),
    lower: array(np.float32, "n_out"), scale: array(np.float32, "n_out"), low: array(np.float32, "n_out"),
    high: array(np.float32, "n_out"), /, rows, thread, threads,
):  # fmt: skip
    """y = the lines of x."""
    begin, end = _vectors_of(rows, thread, threads)
    for v in range(begin, end):
        x_row, y_row = x + vector_offset(v, padded(n_in)), y + vector_offset(v, padded(n_out))
        for k in range(n_out):
            source = x_row + 4 * NR * _feature(sources, k, n_in)
            at = 4 * k
            _clipped_line(source, lower + at, scale + at, low + at, high + at, y_row + NR * at)


@operation
def encode_backward(
    g: batch("n_out"), y: batch("n_out"), dx: batch("n_in"), n_in, n_out, sources: array(np.int64, "n_out"),
    scale: array(np.float32, "n_out"), low: array(np.float32, "n_out"), high: array(np.float32, "n_out"),
    /, rows, thread, threads,
):  # fmt: skip
    """dx = the gradient by x, given g, the one by y. What one feature gets is summed in the order of the lines."""
    begin, end = _vectors_of(rows, thread, threads)
    for v in range(begin, end):
        g_row, y_row = g + vector_offset(v, padded(n_out)), y + vector_offset(v, padded(n_out))
        dx_row = dx + vector_offset(v, padded(n_in))
        for j in range(n_in):
            _clear(dx_row + 4 * NR * j)
        for k in range(n_out):
            at, source = 4 * k, dx_row + 4 * NR * _feature(sources, k, n_in)
            _add_slope(g_row + NR * at, y_row + NR * at, scale + at, low + at, high + at, source)
