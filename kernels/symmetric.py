"""Symmetric matrices in float64, in one fixed order of operations: eigenvalues and eigenvectors, and Cholesky factors.

Householder reflections make the matrix tridiagonal (Martin, Reinsch & Wilkinson 1968, "Householder's tridiagonalization
of a symmetric matrix"); then implicit QL steps make it diagonal (Dubrulle, Martin & Wilkinson 1968, "The implicit QL
algorithm"). Every inner loop runs along a row, eight numbers at a time whatever the CPU's vectors, each of which adds
by itself, and no product is fused with a sum. LAPACK does the same faster, but its sums follow the CPU.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .compiler import entry_point, kernel
from .emit import F64, I32, I64, address, emits, f64, i64, load_f64, store_f64

EIGHT = ir.VectorType(F64, 8)
MOST_STEPS = 60  # QL steps for one eigenvalue: two or three are usual
EPSILON = 2.0**-52


def _place(e, base, i):
    return e.b.inttoptr(e.b.add(base, e.b.mul(i, I64(64))), EIGHT.as_pointer())


def _load(e, base, i):
    value = e.b.load(_place(e, base, i))
    value.align = 8
    return value


def _store(e, value, base, i):
    e.b.store(value, _place(e, base, i)).align = 8


def _splat(e, x):
    one = e.b.insert_element(ir.Constant(EIGHT, ir.Undefined), x, I32(0))
    return e.b.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, 8), [0] * 8))


@emits(f64, i64, address, address)
def _dot_eights(e, count, x, y):
    b, total = e.b, cgutils.alloca_once(e.b, EIGHT)
    b.store(ir.Constant(EIGHT, [0.0] * 8), total)
    with e.loop(count) as i:
        b.store(b.fadd(b.load(total), b.fmul(_load(e, x, i), _load(e, y, i))), total)
    sums = [b.extract_element(b.load(total), I32(i)) for i in range(8)]
    while len(sums) > 1:
        sums = [b.fadd(first, second) for first, second in zip(sums[::2], sums[1::2], strict=True)]
    return sums[0]


@emits(types.void, i64, address, f64, address)
def _add_eights(e, count, y, factor, x):
    with e.loop(count) as i:
        _store(e, e.b.fadd(_load(e, y, i), e.b.fmul(_splat(e, factor), _load(e, x, i))), y, i)


@emits(types.void, i64, address, address, f64, f64)
def _rotate_eights(e, count, x, y, c, s):
    b, c, s = e.b, _splat(e, c), _splat(e, s)
    with e.loop(count) as i:
        first, second = _load(e, x, i), _load(e, y, i)
        _store(e, b.fsub(b.fmul(c, first), b.fmul(s, second)), x, i)
        _store(e, b.fadd(b.fmul(s, first), b.fmul(c, second)), y, i)


@kernel
def _dot(count, x, y):
    """The scalar product of two rows."""
    total = _dot_eights(count // 8, x, y)
    for i in range(count // 8 * 8, count):
        total += load_f64(x + 8 * i) * load_f64(y + 8 * i)
    return total


@kernel
def _add(count, y, factor, x):
    """y += factor x, of rows."""
    _add_eights(count // 8, y, factor, x)
    for i in range(count // 8 * 8, count):
        store_f64(y + 8 * i, load_f64(y + 8 * i) + factor * load_f64(x + 8 * i))


@kernel
def _rotate(count, x, y, c, s):
    """x, y = c x - s y, s x + c y, of rows."""
    _rotate_eights(count // 8, x, y, c, s)
    for i in range(count // 8 * 8, count):
        first, second = load_f64(x + 8 * i), load_f64(y + 8 * i)
        store_f64(x + 8 * i, c * first - s * second)
        store_f64(y + 8 * i, s * first + c * second)


@kernel
def _tridiagonal(n, a, d, e, p):
    """Diagonal to d, what stands beside it to e; a's rows then hold the reflections 1 - v v^T, right of the diagonal.

    p: room for a row.
    """
    for k in range(n - 2):
        left, v = n - k - 1, a + 8 * (k * n + k + 1)
        first, rest = load_f64(v), _dot(left - 1, v + 8, v + 8)
        store_f64(d + 8 * k, load_f64(v - 8))
        if rest == 0.0:
            store_f64(e + 8 * k, first)
            store_f64(v, 0.0)
            continue
        norm = np.sqrt(first * first + rest)
        end = -norm if first > 0.0 else norm
        store_f64(e + 8 * k, end)
        store_f64(v, first - end)
        factor = np.sqrt(2.0 / ((first - end) * (first - end) + rest))
        for i in range(left):
            store_f64(v + 8 * i, load_f64(v + 8 * i) * factor)
        block = v + 8 * n
        for i in range(left):
            store_f64(p + 8 * i, _dot(left, block + 8 * n * i, v))
        _add(left, p, -0.5 * _dot(left, p, v), v)
        for i in range(left):
            _add(left, block + 8 * n * i, -load_f64(v + 8 * i), p)
            _add(left, block + 8 * n * i, -load_f64(p + 8 * i), v)
    for k in range(max(0, n - 2), n):
        store_f64(d + 8 * k, load_f64(a + 8 * (k * n + k)))
        store_f64(e + 8 * k, load_f64(a + 8 * (k * n + k + 1)) if k + 1 < n else 0.0)


@kernel
def _reflections(n, a, z):
    """The product of the reflections in a's rows, transposed, to z."""
    for i in range(n):
        for j in range(n):
            store_f64(z + 8 * (i * n + j), 1.0 if i == j else 0.0)
    for k in range(n - 3, -1, -1):
        left, v = n - k - 1, a + 8 * (k * n + k + 1)
        for i in range(k + 1, n):
            row = z + 8 * (i * n + k + 1)
            _add(left, row, -_dot(left, row, v), v)


@kernel
def _diagonal(n, d, e, z):
    """Eigenvalues to d, and their eigenvectors to the rows of z. Returns 0, or 1 where that takes too many steps."""
    for low in range(n):
        for step in range(MOST_STEPS + 1):
            high = low
            while high < n - 1 and not abs(load_f64(e + 8 * high)) <= EPSILON * (
                abs(load_f64(d + 8 * high)) + abs(load_f64(d + 8 * high + 8))
            ):
                high += 1
            if high == low:
                break
            if step == MOST_STEPS:
                return 1
            here, beside = load_f64(d + 8 * low), load_f64(e + 8 * low)
            half = (load_f64(d + 8 * low + 8) - here) / (2.0 * beside)
            root = np.sqrt(half * half + 1.0)
            g = load_f64(d + 8 * high) - here + beside / (half + (root if half >= 0.0 else -root))
            c, s, shift, whole = 1.0, 1.0, 0.0, True
            for i in range(high - 1, low - 1, -1):
                f, b = s * load_f64(e + 8 * i), c * load_f64(e + 8 * i)
                r = np.sqrt(f * f + g * g)
                store_f64(e + 8 * i + 8, r)
                if r == 0.0:  # the matrix falls into two parts here
                    store_f64(d + 8 * i + 8, load_f64(d + 8 * i + 8) - shift)
                    whole = False
                    break
                s, c = f / r, g / r
                g = load_f64(d + 8 * i + 8) - shift
                r = (load_f64(d + 8 * i) - g) * s + 2.0 * c * b
                shift = s * r
                store_f64(d + 8 * i + 8, g + shift)
                g = c * r - b
                _rotate(n, z + 8 * n * i, z + 8 * n * (i + 1), c, s)
            if whole:
                store_f64(d + 8 * low, load_f64(d + 8 * low) - shift)
                store_f64(e + 8 * low, g)
            store_f64(e + 8 * high, 0.0)
    return 0


@entry_point
def eigenvectors(n, a, d, z, room):
    """The eigenvalues d (n,), in no order, and eigenvectors z (n, n), one a row, of a (n, n), which is overwritten.

    Addresses of float64. room: 2n of them. Returns 0, or 1 where an eigenvalue was not found, as with a NaN.
    """
    _tridiagonal(n, a, d, room, room + 8 * n)
    _reflections(n, a, z)
    return _diagonal(n, d, room, z)


@entry_point
def inverse_factor(n, a, inverse):
    """The inverse of the lower triangular L for which L L^T = a (n, n), float64, positive definite: Cholesky's.

    Addresses of float64. L overwrites the lower half of a; inverse (n, n) holds zeros. Returns 0, or 1 where a is not
    positive definite.
    """
    for i in range(n):
        row = a + 8 * n * i
        for j in range(i):
            other = a + 8 * n * j
            value = load_f64(row + 8 * j) - _dot(j, row, other)
            store_f64(row + 8 * j, value / load_f64(other + 8 * j))
        square = load_f64(row + 8 * i) - _dot(i, row, row)
        if not square > 0.0:
            return 1
        end, out = np.sqrt(square), inverse + 8 * n * i
        store_f64(row + 8 * i, end)
        for j in range(i):
            _add(j + 1, out, -load_f64(row + 8 * j), inverse + 8 * n * j)
        for j in range(i):
            store_f64(out + 8 * j, load_f64(out + 8 * j) / end)
        store_f64(out + 8 * i, 1.0 / end)
    return 0
