"""The products of bfloat16 operands against the twin, at shapes that fit no block, by the CPU's instructions or
those that FASTFF_BF16 names.

Small whole numbers are bfloat16 exactly, and their sums are float32 exactly, in any order: the results must be equal.
Real numbers are rounded to bfloat16 first, so that their products are exact in float32 (16 bits): what is left to err
is the summation, at most once a term and once for each block added, |error| <= gamma(k + k / NR + 1) sum |a||b|, in
whatever order an instruction adds its terms.
"""

from functools import partial

import numpy as np
import products
import pytest
import reference
from hypothesis import example, given
from hypothesis import strategies as st
from products import packed, padded
from reference import U, bfloat16, gamma

from fastff import Adam
from fastff.engine import panels
from fastff.engine.bfloat16 import Program16
from fastff.kernels.cpu import LANES, NR
from fastff.kernels.linear16 import KC
from fastff.nn.optim import store_gradient

pytestmark = pytest.mark.usefixtures("poisoned")

sizes = st.one_of(st.integers(1, 70), st.sampled_from([95, 96, 97, KC * NR - 1, KC * NR, KC * NR + 1]))
threads = st.sampled_from([1, 2, 3, 7])
kinds = st.sampled_from(["whole", "real"])
seeds = st.integers(0, 999)
smallest = example(1, 1, 1, "whole", 7, 0)
everywhere_long = example(KC * NR + 1, KC * NR + 9, 131, "real", 3, 0)


def numbers(rng, kind, *shape):
    if kind == "whole":
        return rng.integers(-8, 9, shape).astype(np.float32)
    return bfloat16(rng.standard_normal(shape) * 2.0 ** rng.integers(-6, 7, shape))


forward, backward = (partial(product, Program16) for product in (products.forward, products.backward))


def update(x, g, weights, bias, hyper, threads=1):
    """Weights (in, out) and bias (out,), each with its moments, after an update; and what the next forward gives."""
    shape, program = weights[0].shape, Program16(len(x))
    own, rows = [packed(a) for a in weights], [padded(a) for a in bias]
    entered = program.gather(x)
    program.linear(entered, own[0], rows[0], shape[1])  # a training program always has its forward
    program.update(entered, program.transpose(program.gather(g)), own, rows, shape[1])
    after = program.scatter(program.linear(program.gather(x), own[0], rows[0], shape[1]), len(x))
    program.run(hyper=hyper, threads=threads)
    return [panels.unpack(p, shape) for p in own], [row[: shape[1]] for row in rows], after


def check(got, truth, kind, k, size):
    if kind == "whole":
        np.testing.assert_array_equal(got, truth)
    else:
        assert (np.abs(got - truth) <= gamma(k + k // NR + 2) * size).all()


@given(sizes, sizes, sizes, kinds, threads, seeds)
@smallest
@everywhere_long
def test_forward(rows, n_in, n_out, kind, threads, seed):
    rng = np.random.default_rng(seed)
    x, w, b = numbers(rng, kind, rows, n_in), numbers(rng, kind, n_in, n_out), numbers(rng, kind, 1, n_out)
    truth = reference.linear_forward(*(a.astype(np.float64) for a in (x, w, b)))
    check(forward(x, w, b, threads), truth, kind, n_in, np.abs(x) @ np.abs(w) + np.abs(b))
    np.testing.assert_array_equal(forward(x, w, b, threads, relu=True), np.maximum(forward(x, w, b), 0))


@given(sizes, sizes, sizes, kinds, threads, seeds)
@smallest
@everywhere_long
def test_backward(rows, n_in, n_out, kind, threads, seed):
    rng = np.random.default_rng(seed)
    g, w, h = numbers(rng, kind, rows, n_out), numbers(rng, kind, n_in, n_out), numbers(rng, kind, rows, n_in)
    truth = reference.linear_backward(g.astype(np.float64), w.astype(np.float64))
    check(backward(g, w, threads), truth, kind, n_out, np.abs(g) @ np.abs(w).T)
    np.testing.assert_array_equal(backward(g, w, threads, h), backward(g, w) * (h > 0))


@given(sizes, sizes, sizes, kinds, threads, seeds)
@smallest
@everywhere_long
def test_gradient(rows, n_in, n_out, kind, threads, seed):
    rng = np.random.default_rng(seed)
    x, g = numbers(rng, kind, rows, n_in), numbers(rng, kind, rows, n_out)
    weights, bias = [np.zeros((n_in, n_out), np.float32)] * 3, [np.zeros(n_out, np.float32)] * 3
    (by_weights, *_), (by_bias, *_), _ = update(x, g, weights, bias, store_gradient(), threads)
    x, g = x.astype(np.float64), g.astype(np.float64)
    check(by_weights, reference.weight_gradient(x, g), kind, rows, np.abs(x).T @ np.abs(g))
    check(by_bias, reference.bias_gradient(g)[0], kind, rows, np.abs(g).sum(0))


@given(sizes, sizes, st.integers(1, 70), threads, seeds)
def test_the_next_forward_multiplies_the_weights_as_they_are_after_the_update(n_in, n_out, rows, threads, seed):
    rng = np.random.default_rng(seed)
    x, g = numbers(rng, "real", rows, n_in), numbers(rng, "real", rows, n_out)
    weights = [rng.standard_normal((n_in, n_out)).astype(np.float32) for _ in range(2)] + [np.ones((n_in, n_out), "f4")]
    bias = [np.zeros(n_out, np.float32)] * 3
    (w, *_), (b, *_), after = update(x, g, weights, bias, Adam().hyper(1, np.array([0.1])), threads)
    np.testing.assert_array_equal(after, forward(x, w, b))


@given(st.integers(1, 70), st.integers(1, 70), threads, seeds)
def test_operands_are_rounded_to_nearest_even_and_everything_else_is_not(n_in, n_out, threads, seed):
    rng = np.random.default_rng(seed)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, n_in), (n_in, n_out)))
    b = rng.standard_normal(n_out).astype(np.float32)
    np.testing.assert_array_equal(forward(x, w, b, threads), forward(bfloat16(x), bfloat16(w), b))


def test_halves_go_to_the_even_neighbour_and_the_largest_to_infinity():
    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 3.4e38, np.inf, -np.inf], np.float32)[:, None]
    with np.errstate(over="ignore"):
        expected = np.array([1, 1 + 2**-6, -1, np.inf, np.inf, -np.inf], np.float32)[:, None]
    one = np.ones((1, 1), np.float32)
    np.testing.assert_array_equal(forward(values, one, np.zeros(1, np.float32)), expected)


@pytest.mark.parametrize("bits", [0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF])
def test_no_nan_is_lost(bits):
    x, w = np.ones((40, 37), np.float32), np.ones((37, 33), np.float32)
    x[5, 36] = np.array(bits, np.uint32).view(np.float32)
    y = forward(x, w, np.zeros(33, np.float32))
    assert np.isnan(y[5]).all()
    assert np.isfinite(np.delete(y, 5, axis=0)).all()
    assert np.isnan(backward(y, np.ones((7, 33), np.float32))[5]).all()


def test_the_same_bits_whatever_the_threads():
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((131, n)).astype(np.float32) for n in (203, 97))
    w = rng.standard_normal((203, 97)).astype(np.float32)
    parameters = [w, np.zeros_like(w), np.zeros_like(w)], [np.zeros(97, np.float32)] * 3
    hyper = Adam(weight_decay=0.1).hyper(1, np.array([0.1]))
    one = update(x, g, *parameters, hyper, 1)
    for many in (2, 3, 7):
        other = update(x, g, *parameters, hyper, many)
        for a, b in zip([*one[0], *one[1], one[2]], [*other[0], *other[1], other[2]], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("t", [1, 1000])
def test_the_estimated_root_and_quotient_of_adam_are_within_their_bound(t):
    """Over every binade of v: the root's estimate, squared by a step of Newton's method, and its roundings come to
    3.4 U, the quotient's to 1.4 U, and the product to one more."""
    v = np.ldexp(np.linspace(1, 2, 61, endpoint=False), np.arange(-120, 120)[:, None]).astype(np.float32).reshape(-1)
    shape = (1, v.size)
    w, m = np.zeros(shape, np.float32), np.sqrt(v, dtype=np.float32)[None]
    x, g = np.zeros((1, 1), np.float32), np.zeros(shape, np.float32)
    optimizer = Adam(epsilon=1e-30)
    (got, *_), _, _ = update(x, g, [w, m, v[None]], [np.zeros(v.size, "f4")] * 3, optimizer.hyper(t, np.array([0.5])))
    rate, correction = 0.5 / (1 - 0.9**t), 1 - 0.999**t
    m64, v64 = 0.9 * m.astype(np.float64), 0.999 * v.astype(np.float64)
    truth = -rate * m64 / (np.sqrt(v64 / correction) + 1e-30)
    # besides: 2 of m, 2 of v (halved by the root), the rate and its product, the correction and the sum
    assert (np.abs(got - truth) <= (3.4 + 1.4 + 1 + 2 + 1 + 2 + 2) * U * np.abs(truth)).all()


def test_nothing_moves_without_gradient_and_history():
    w, zero = np.full((5, 3), 0.1, np.float32), np.zeros((5, 3), np.float32)
    x, g = np.zeros((1, 5), np.float32), np.zeros((1, 3), np.float32)
    got, bias, _ = update(x, g, [w, zero, zero], [w[0], zero[0], zero[0]], Adam().hyper(1, np.array([0.1])))
    for value, before in zip(got + bias, [w, zero, zero, w[0], zero[0], zero[0]], strict=True):
        np.testing.assert_array_equal(value, before)


def test_rows_of_every_type_and_stride_enter_alike():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (45, 2 * LANES + 3), np.uint8)
    w, b = rng.standard_normal((pixels.shape[1], 9)).astype(np.float32), np.zeros(9, np.float32)
    expected = forward(pixels.astype(np.float32), w, b)
    for x in (pixels, pixels.astype(np.float64), np.asfortranarray(pixels), np.repeat(pixels, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(forward(x, w, b), expected)
