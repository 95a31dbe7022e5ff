"""Functions of one value at a time: exponential and logarithm, ReLU, Sigmoid and Tanh, and their slopes.

exp(x) = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2 (Cody & Waite 1980), e^r by a polynomial fitted at
Chebyshev points (error under 0.01 ulp before rounding), so a result is within 1.5 ulp. Both derivatives are taken
from the value itself: s (1 - s) and 1 - t^2.

No function of the C library is called: each system has another one, whose last bits differ.
"""

import numpy as np
from numba import types

from .compiler import kernel
from .cpu import LANES, NR
from .emit import F64, I64, IVEC, VEC, address, emits, f64, i64
from .operation import operation
from .panels import batch, padded

IDENTITY, RELU, SIGMOID, TANH, EXPONENTIAL = range(5)  # activations

_EXP = (0.5000000014291087, 0.16666666722230108, 0.04166645677792292, 0.008333297063813737, 0.0013934544520099392,
        0.00019900443826413055)  # fmt: skip
_TANH = (-0.333333331778503, 0.1333330427785474, -0.05395940590746895, 0.02176996091255, -0.008346980483251849,
         0.002295841252788669)  # fmt: skip
_ROOT_OF_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # the first has zeros enough for whole multiples of it
HIGHEST = 88.0  # e^x of more is beyond float32
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


def exp_below(e, x):
    """exp of a vector, with HIGHEST in the place of what is above it."""
    return exp(e, e.select(">", x, e.const(HIGHEST), e.const(HIGHEST), x))


@emits(i64, f64)
def _bits_of(e, x):
    return e.b.bitcast(x, I64)


@emits(f64, i64)
def _with_bits(e, bits):
    return e.b.bitcast(bits, F64)


@kernel
def logarithm(x):
    """ln x of a float64 that is not negative and no subnormal number, within 2 ulp; NaN for NaN.

    x = 2^k m with sqrt(1/2) <= m < sqrt(2), and ln m = 2 artanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...), where
    s = (m - 1) / (m + 1).
    """
    if not 0.0 < x < np.inf:
        return -np.inf if x == 0.0 else x
    bits = _bits_of(x)
    k = (bits - _ROOT_OF_HALF) >> 52
    m = _with_bits(bits - (k << 52))
    s = (m - 1.0) / (m + 1.0)
    x = s * s
    low = 1 / 3 + x * (1 / 5 + x * (1 / 7 + x * (1 / 9 + x * (1 / 11))))
    high = 1 / 13 + x * (1 / 15 + x * (1 / 17 + x * (1 / 19 + x * (1 / 21))))
    to_fifth = x * x * (x * x * x)  # two sums that do not wait for one another
    return k * _LN2_HIGH + (2.0 * s + (2.0 * s * x * (low + to_fifth * high) + k * _LN2_LOW))


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


def _pass(name, change):
    """The operation to = change(to, by) of every value, which may be the same. change(e, to, by): of two vectors."""

    @emits(types.void, i64, address, address)
    def vectors(e, count, to, by):
        with e.loop(count) as i:
            offset = e.b.mul(i, I64(4 * LANES))
            to, by = e.b.add(to, offset), e.b.add(by, offset)
            e.store(change(e, e.load(to), e.load(by)), to)

    def over_values(to: batch("features"), by: batch("features"), features, /, rows, thread, threads):
        first, count = _share(features, rows, thread, threads)
        vectors(count, to + 4 * LANES * first, by + 4 * LANES * first)

    over_values.__name__ = name
    return operation(over_values)


@kernel
def _share(features, rows, thread, threads):
    """A thread's share of a pass over all values of a batch: its first vector and how many, in memory order."""
    vectors = (rows + NR - 1) // NR * padded(features) * (NR // LANES)
    first = vectors * thread // threads
    return first, vectors * (thread + 1) // threads - first


def _relu(e, _, x):
    zero = e.const(0.0)
    return e.select(">", zero, x, zero, x)  # a NaN stays one


def _relu_backward(e, g, h):
    zero = e.const(0.0)
    return e.select(">", h, zero, g, zero)


def _sigmoid_backward(e, g, s):
    return e.b.fmul(g, e.b.fmul(s, e.b.fsub(e.const(1.0), s)))


def _tanh_backward(e, g, t):
    return e.b.fmul(g, e.b.fsub(e.const(1.0), e.b.fmul(t, t)))


FORWARD = {  # the function of `by`
    RELU: _pass("relu_forward", _relu),
    SIGMOID: _pass("sigmoid_forward", lambda e, _, x: sigmoid(e, x)),
    TANH: _pass("tanh_forward", lambda e, _, x: _tanh(e, x)),
    EXPONENTIAL: _pass("exponential_forward", lambda e, _, x: exp_below(e, x)),
}
BACKWARD = {  # `to` times the slope where the function's value is `by`
    RELU: _pass("relu_backward", _relu_backward),
    SIGMOID: _pass("sigmoid_backward", _sigmoid_backward),
    TANH: _pass("tanh_backward", _tanh_backward),
    EXPONENTIAL: _pass("exponential_backward", lambda e, g, h: e.b.fmul(g, h)),
}
