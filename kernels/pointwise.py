"""Functions of one value at a time, on lanes: the vector exponential, Sigmoid, Tanh, their derivatives, and Dropout.

exp(x) = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2 (Cody & Waite 1980), e^r by a polynomial fitted at
Chebyshev points (error under 0.01 ulp before rounding), so a result is within 1.5 ulp. Both derivatives are taken
from the value itself: s (1 - s) and 1 - t^2.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .compiler import kernel
from .linear import padded
from .target import LANES, NR
from .vector import IVEC, VEC, address, emits, f32, i64

IDENTITY, RELU, SIGMOID, TANH = range(4)  # activations

_EXP = (0.5000000014291087, 0.16666666722230108, 0.04166645677792292, 0.008333297063813737, 0.0013934544520099392,
        0.00019900443826413055)  # fmt: skip
_TANH = (-0.333333331778503, 0.1333330427785474, -0.05395940590746895, 0.02176996091255, -0.008346980483251849,
         0.002295841252788669)  # fmt: skip
LOWEST = -87.0  # exp of less is taken as 0: the true value is below 1.7e-38, near where float32 loses its precision


def _polynomial(e, x, coefficients):
    value = e.const(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = e.fma(value, x, e.const(c))
    return value


def exp(e, x):
    """e^x of a vector with every x <= 88; 0 below LOWEST, NaN for NaN."""
    b = e.b
    clamped = e.select("<", x, e.const(LOWEST), e.const(LOWEST), x)
    # adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits
    magic = e.const(12582912.0)
    shifted = e.fma(clamped, e.const(1.0 / np.log(2.0)), magic)
    n = b.fsub(shifted, magic)
    r = e.fma(n, e.const(-0.693145751953125), clamped)
    r = e.fma(n, e.const(-1.428606820309417e-06), r)
    p = b.fadd(e.fma(b.fmul(r, r), _polynomial(e, r, _EXP), r), e.const(1.0))
    bits = b.add(b.shl(b.bitcast(shifted, IVEC), e.iconst(23)), e.iconst(127 << 23))
    # a product, not an addition to p's exponent bits: it leaves a NaN a NaN
    return e.select("<", x, e.const(LOWEST), e.const(0.0), b.fmul(p, b.bitcast(bits, VEC)))


def magnitude(e, x):
    return e.llvm(f"llvm.fabs.v{LANES}f32", VEC, x)


def sigmoid(e, x):
    b, one = e.b, e.const(1.0)
    small = exp(e, b.fneg(magnitude(e, x)))
    top = e.select("<", x, e.const(0.0), small, one)
    return b.fdiv(top, b.fadd(one, small))


def _tanh(e, x):
    b, one, size = e.b, e.const(1.0), magnitude(e, x)
    square = b.fmul(x, x)
    near = e.fma(b.fmul(x, square), _polynomial(e, square, _TANH), x)
    small = exp(e, b.fmul(size, e.const(-2.0)))
    far = b.fdiv(b.fsub(one, small), b.fadd(one, small))
    far = e.llvm(f"llvm.copysign.v{LANES}f32", VEC, far, x)
    return e.select(">", size, e.const(0.625), far, near)


def _over(e, count, change, *addresses):
    """Store change(e, addresses...) -> vector at the first address, for `count` vectors one after the other."""
    with cgutils.for_range(e.b, count) as loop:
        offset = e.b.mul(loop.index, loop.index.type(4 * LANES))
        at = [e.b.add(a, offset) for a in addresses]
        e.store(change(*at), at[0])


@emits(types.void, i64, address, address)
def relu_vectors(e, count, y, x):
    zero = e.const(0.0)
    _over(e, count, lambda y, x: e.select(">", zero, e.load(x), zero, e.load(x)), y, x)


@emits(types.void, i64, address, address)
def sigmoid_vectors(e, count, y, x):
    _over(e, count, lambda y, x: sigmoid(e, e.load(x)), y, x)


@emits(types.void, i64, address, address)
def tanh_vectors(e, count, y, x):
    _over(e, count, lambda y, x: _tanh(e, e.load(x)), y, x)


@emits(types.void, i64, address, address)
def relu_derivative_vectors(e, count, g, h):
    zero = e.const(0.0)
    _over(e, count, lambda g, h: e.select(">", e.load(h), zero, e.load(g), zero), g, h)


@emits(types.void, i64, address, address)
def sigmoid_derivative_vectors(e, count, g, h):
    def change(g, h):
        s = e.load(h)
        return e.b.fmul(e.load(g), e.b.fmul(s, e.b.fsub(e.const(1.0), s)))

    _over(e, count, change, g, h)


@emits(types.void, i64, address, address)
def tanh_derivative_vectors(e, count, g, h):
    def change(g, h):
        t = e.load(h)
        return e.b.fmul(e.load(g), e.b.fsub(e.const(1.0), e.b.fmul(t, t)))

    _over(e, count, change, g, h)


@kernel
def _share(features, rows, rank, size):
    """A rank's share of an elementwise pass over lanes: its first vector and how many, in memory order."""
    vectors = (rows + NR - 1) // NR * padded(features) * (NR // LANES)
    first = vectors * rank // size
    return first, vectors * (rank + 1) // size - first


@kernel
def activate(x, y, function, features, rows, rank, size):
    """y = function(x); y may be x."""
    first, count = _share(features, rows, rank, size)
    to, at = y + 4 * LANES * first, x + 4 * LANES * first
    if function == RELU:
        relu_vectors(count, to, at)
    elif function == SIGMOID:
        sigmoid_vectors(count, to, at)
    elif function == TANH:
        tanh_vectors(count, to, at)


@kernel
def derive(g, h, function, features, rows, rank, size):
    """g = g * function'(z), in place, from h = function(z)."""
    first, count = _share(features, rows, rank, size)
    to, at = g + 4 * LANES * first, h + 4 * LANES * first
    if function == RELU:
        relu_derivative_vectors(count, to, at)
    elif function == SIGMOID:
        sigmoid_derivative_vectors(count, to, at)
    elif function == TANH:
        tanh_derivative_vectors(count, to, at)


@kernel
def hash32(x):
    """32 well mixed bits of a 32-bit counter (the finaliser of MurmurHash3)."""
    x = np.uint32(x)  # and again after each operation: Numba computes them in 64 bits
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x85EBCA6B))
    x = np.uint32(x ^ (x >> np.uint32(13)))
    x = np.uint32(x * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ (x >> np.uint32(16)))


def _hash_vector(e, x):
    """hash32 of a vector of counters."""
    b = e.b
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = b.mul(b.xor(x, b.lshr(x, e.iconst(shift))), e.iconst(factor))
    return b.xor(x, b.lshr(x, e.iconst(16)))


@emits(types.void, address, address, i64, i64, i64, f32)
def _drop_values(e, y, x, base, row, threshold, scale):
    """One feature of a panel: NR values of the rows from `row` on."""
    b = e.b
    counters = ir.Constant(IVEC, list(range(LANES)))
    base, row, threshold = (e.splat(b.trunc(value, IVEC.element)) for value in (base, row, threshold))
    for j in range(NR // LANES):
        bits = _hash_vector(e, b.xor(base, b.add(row, b.add(counters, e.iconst(j * LANES)))))
        kept = b.fmul(e.load(x, j * LANES), e.splat(scale))
        e.store(b.select(b.icmp_unsigned(">=", bits, threshold), kept, e.const(0.0)), y, j * LANES)


@kernel
def dropout(x, y, key, threshold, scale, features, rows, first, rank, size):
    """y = 0 where hash(key, feature, first + row) < threshold, else x * scale: one mask for values and gradients.

    The mask depends on nothing but the counters, so it is the same for any number of ranks.
    """
    in_pad = padded(features)
    for p in range((rows + NR - 1) // NR):
        for f in range(features * rank // size, features * (rank + 1) // size):
            base = hash32(hash32(np.uint32(key)) ^ np.uint32(f))
            at = 4 * NR * (p * in_pad + f)
            _drop_values(y + at, x + at, np.int64(base), first + p * NR, threshold, scale)
