"""The three products of a linear layer against the twin, at shapes that fit no tile.

Two kinds of data. Small whole numbers, whose sums stay below 2^24, are exact in float32 in any order, so the results
must be equal: no tolerance can hide a wrong element. Real numbers, which test the order of summation: a sum of blocks
of at most KC terms rounds once a term within its block (fused multiply-add), once for each block added, once for the
bias, so |error| <= gamma(min(k, KC) + blocks + 1) (sum |a||b| + |bias|), elementwise. The twin's own error is below one
more.
"""

from functools import partial

import numpy as np
import products
import pytest
import reference
from hypothesis import example, given
from hypothesis import strategies as st
from reference import gamma

from fastff.engine import panels
from fastff.engine.program import Program
from fastff.errors import DataError
from fastff.kernels.cpu import NR
from fastff.kernels.linear import KC
from fastff.kernels.pointwise import RELU
from fastff.nn.optim import store_gradient

pytestmark = pytest.mark.usefixtures("poisoned")

sizes = st.one_of(st.integers(1, 70), st.sampled_from([95, 96, 97, KC - 1, KC, KC + 1, 2 * KC + 1]))
threads = st.sampled_from([1, 2, 3, 7])
seeds = st.integers(0, 999)
everywhere_long = example(2 * KC + 1, 2 * KC + 9, KC + 8, 3, 0)
smallest = example(1, 1, 1, 7, 0)


def whole_numbers(rng, *shape):
    return rng.integers(-8, 9, shape).astype(np.float32)


def real_numbers(rng, *shape):
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-6, 7, shape)).astype(np.float32)


def f64(*arrays):
    return [a.astype(np.float64) for a in arrays]


def within(got, truth, roundings, size):
    error = np.abs(got - truth)
    bound = gamma(roundings + 1) * size
    assert (error <= bound).all(), f"error up to {np.max(error / np.maximum(bound, 1e-300))} times its bound"


def chain(k):
    return min(k, KC) + -(-k // KC) + 1


forward, backward = (partial(product, Program) for product in (products.forward, products.backward))


def gradients(x, g, threads=1):
    """dW and db."""
    program, shape = Program(len(x)), (x.shape[1], g.shape[1])
    weights, bias = panels.aligned(panels.panel_size(shape)), panels.aligned(panels.round_up(shape[1], NR))
    rows = program.gather(x)
    program.update(rows, program.transpose(program.gather(g)), [weights] * 3, [bias] * 3, shape[1])
    program.run(hyper=store_gradient(), threads=threads)
    return panels.unpack(weights, shape), bias[None, : shape[1]]


@given(sizes, sizes, sizes, threads, seeds)
@everywhere_long
@smallest
def test_whole_numbers_are_exact(n_in, n_out, rows, threads, seed):
    rng = np.random.default_rng(seed)
    x, w, b = whole_numbers(rng, rows, n_in), whole_numbers(rng, n_in, n_out), whole_numbers(rng, 1, n_out)
    g = whole_numbers(rng, rows, n_out)
    y = reference.linear_forward(*f64(x, w, b))
    np.testing.assert_array_equal(forward(x, w, b, threads), y)
    np.testing.assert_array_equal(forward(x, w, b, threads, relu=True), reference.relu(y))
    dx = reference.linear_backward(*f64(g, w))
    np.testing.assert_array_equal(backward(g, w, threads), dx)
    np.testing.assert_array_equal(backward(g, w, threads, h=x), dx * reference.relu_derivative(x))
    dw, db = gradients(x, g, threads)
    np.testing.assert_array_equal(dw, reference.weight_gradient(*f64(x, g)))
    np.testing.assert_array_equal(db, reference.bias_gradient(*f64(g)))


@given(sizes, sizes, sizes, threads, seeds)
@everywhere_long
@smallest
def test_forward_rounds_once_a_term(n_in, n_out, rows, threads, seed):
    rng = np.random.default_rng(seed)
    x, w, b = real_numbers(rng, rows, n_in), real_numbers(rng, n_in, n_out), real_numbers(rng, 1, n_out)
    truth = reference.linear_forward(*f64(x, w, b))
    size = reference.linear_forward(*f64(abs(x), abs(w), abs(b)))
    within(forward(x, w, b, threads), truth, chain(n_in), size)
    within(forward(x, w, b, threads, relu=True), reference.relu(truth), chain(n_in), size)


def forward_sparse(x, w, b, threads=1, relu=False):
    """forward of the rows' values that are not 0."""
    program, there = Program(len(x)), x != 0
    starts = np.append(0, np.cumsum(there.sum(1)))
    rows = panels.SparseRows(starts, there.nonzero()[1], x[there], x.shape[1])
    y = program.linear_sparse(rows, products.packed(w), products.padded(b), w.shape[1])
    out = program.scatter(program.activate(y, RELU) if relu else y, len(x))
    program.run(threads=threads)
    return out


@given(sizes, sizes, sizes, threads, seeds, st.sampled_from([0.0, 0.02, 0.5, 1.0]))
@example(2 * KC + 1, 2 * KC + 9, KC + 8, 3, 0, 0.1)
@example(1, 1, 1, 7, 0, 1.0)
def test_sparse_rows_give_the_bits_of_dense_ones(n_in, n_out, rows, threads, seed, share):
    rng = np.random.default_rng(seed)
    x, w, b = real_numbers(rng, rows, n_in), real_numbers(rng, n_in, n_out), real_numbers(rng, 1, n_out)
    x *= rng.random(x.shape) < share
    for relu in (False, True):
        np.testing.assert_array_equal(forward_sparse(x, w, b, threads, relu), forward(x, w, b, relu=relu))


@pytest.mark.parametrize(
    ("starts", "columns", "values"),
    [
        ([0, 1, 3], [0, 1], [1.0, 2.0]),
        ([0, 1, 2], [0, 1], [1.0]),
        ([-1, 1, 2], [0, 1], [1.0, 2.0]),
        ([0, 5, 2], [0, 1], [1.0, 2.0]),
        ([0, 1, 2], [0, 4], [1.0, 2.0]),
        ([0, 1, 2], [-1, 1], [1.0, 2.0]),
    ],
)
def test_sparse_rows_whose_entries_are_nowhere_are_refused(starts, columns, values):
    with pytest.raises(DataError, match=r"^X: entries outside of the 2 x 4 values, want a sparse matrix as SciPy's"):
        panels.SparseRows(starts, columns, values, 4)


@given(sizes, sizes, sizes, threads, seeds)
@everywhere_long
@smallest
def test_backward_rounds_once_a_term(n_in, n_out, rows, threads, seed):
    rng = np.random.default_rng(seed)
    g, w, h = real_numbers(rng, rows, n_out), real_numbers(rng, n_in, n_out), real_numbers(rng, rows, n_in)
    truth = reference.linear_backward(*f64(g, w))
    size = reference.linear_backward(*f64(abs(g), abs(w)))
    within(backward(g, w, threads), truth, chain(n_out), size)
    within(backward(g, w, threads, h=h), truth * reference.relu_derivative(h), chain(n_out), size)


@given(sizes, sizes, sizes, threads, seeds)
@everywhere_long
@smallest
def test_gradients_round_once_a_row(n_in, n_out, rows, threads, seed):
    rng = np.random.default_rng(seed)
    x, g = real_numbers(rng, rows, n_in), real_numbers(rng, rows, n_out)
    dw, db = gradients(x, g, threads)
    within(dw, reference.weight_gradient(*f64(x, g)), rows, reference.weight_gradient(*f64(abs(x), abs(g))))
    within(db, reference.bias_gradient(*f64(g)), rows, reference.bias_gradient(*f64(abs(g))))


@given(sizes, sizes, sizes, seeds)
@example(2 * KC + 1, KC + 9, KC + 8, 0)
def test_bits_do_not_depend_on_threads(n_in, n_out, rows, seed):
    rng = np.random.default_rng(seed)
    x, w, b = real_numbers(rng, rows, n_in), real_numbers(rng, n_in, n_out), real_numbers(rng, 1, n_out)
    g = real_numbers(rng, rows, n_out)
    alone = forward(x, w, b, 1), backward(g, w, 1), *gradients(x, g, 1)
    for threads in (2, 3, 7):
        for one, other in zip(alone, (forward(x, w, b, threads), backward(g, w, threads), *gradients(x, g, threads)),
                              strict=True):  # fmt: skip
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_all_that_it_touches_and_nothing_else(value):
    rng = np.random.default_rng(0)
    x, w, b = real_numbers(rng, 21, 200), real_numbers(rng, 200, 37), real_numbers(rng, 1, 37)
    g = real_numbers(rng, 21, 37)
    x[20, 199] = value
    y = forward(x, w, b)
    assert not np.isfinite(y[20]).any()
    assert np.isfinite(y[:20]).all()
    dw, db = gradients(x, g)
    assert not np.isfinite(dw[199]).any()
    assert np.isfinite(dw[:199]).all()
    assert np.isfinite(db).all()
    g[3, 36] = value
    dx = backward(g, w)
    assert not np.isfinite(dx[3]).any()
    assert np.isfinite(np.delete(dx, 3, axis=0)).all()
    assert not np.isfinite(gradients(x, g)[1][0, 36])


def test_relu_behind_a_linear_layer_keeps_nan():
    x = np.array([[np.nan, 1.0], [-1.0, 1.0]], np.float32)
    y = forward(x, np.eye(2, dtype=np.float32), np.zeros((1, 2), np.float32), relu=True)
    np.testing.assert_array_equal(y, [[np.nan, np.nan], [0.0, 1.0]])
