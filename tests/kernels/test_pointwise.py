"""Functions of one value: exp, Sigmoid and Tanh to the last places over all of float32; derivatives; Dropout."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from numba import types
from reference import U, gamma

from fastff.engine import panels
from fastff.engine.program import Program
from fastff.kernels import pointwise
from fastff.kernels.compiler import entry_point
from fastff.kernels.cpu import LANES
from fastff.kernels.emit import address, emits, i64, load_f64, store_f64
from fastff.kernels.pointwise import RELU, SIGMOID, TANH

pytestmark = pytest.mark.usefixtures("poisoned")

CODES = {"relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}
TINY = float(np.finfo(np.float32).tiny)
functions = st.sampled_from(sorted(CODES))
sizes = st.integers(1, 70)
threads = st.sampled_from([1, 2, 3, 7])

# every 4084th of all bit patterns, so normal and subnormal numbers, infinities and NaNs; and the edges themselves
_patterns = np.arange(0, 2**32, 4 * 1021, dtype=np.uint64).astype(np.uint32).view(np.float32)
_edges = [0.0, 2.0**-149, TINY, reference.MAX, np.inf, np.nan, 87.0, np.float32(87.00001), 88.0, 0.625]
_edges = np.array(_edges + [-x for x in _edges], np.float32)
_near = np.arange(-110, 110, 2.0**-11, dtype=np.float32)
EVERYTHING = np.concatenate([_patterns, _edges, np.nextafter(_edges, np.float32(0)), _near])


def activate(x, name, threads=1):
    program = Program(len(x))
    out = program.scatter(program.activate(program.gather(x), CODES[name]), len(x))
    program.run(threads=threads)
    return out


def derive(g, h, name, threads=1):
    program = Program(len(g))
    lanes = program.gather(h)
    out = program.scatter(program.derive(program.gather(g), lanes, CODES[name]), len(g))
    program.run(threads=threads)
    return out


def ulps(got, truth):
    """The error in units of the last place of the float32 nearest to the truth."""
    unit = np.spacing(np.abs(truth).astype(np.float32)).astype(np.float64)
    return np.abs(got.astype(np.float64) - truth) / unit


def over_everything(name):
    columns = 64
    x = np.zeros(-(-len(EVERYTHING) // columns) * columns, np.float32)
    x[: len(EVERYTHING)] = EVERYTHING
    x = x.reshape(-1, columns)
    return x, activate(x, name)


def exact(x):
    """x as float64; among all bit patterns are signaling NaNs, of which NumPy warns."""
    with np.errstate(invalid="ignore"):
        return x.astype(np.float64)


@emits(types.void, i64, address, address)
def _exp_vectors(e, count, y, x):
    with e.loop(count) as i:
        first = e.b.mul(i, i.type(LANES))
        e.store(pointwise.exp(e, e.load(e.at(x, first))), e.at(y, first))


@entry_point
def _exp(count, y, x):
    _exp_vectors(count, y, x)
    return 0


def test_exp_is_within_1_5_ulp():
    inside = EVERYTHING[~(EVERYTHING > 88)]
    x = panels.aligned(panels.round_up(len(inside), LANES))
    y = panels.aligned(len(x))
    x[: len(inside)] = inside
    _exp(len(x) // LANES, y.ctypes.data, x.ctypes.data)
    x, y = inside, y[: len(inside)]
    assert np.isnan(y[np.isnan(x)]).all()
    assert (y[x < pointwise.LOWEST] == 0).all()
    usual = x >= pointwise.LOWEST
    assert ulps(y[usual], np.exp(x[usual].astype(np.float64))).max() <= 1.5
    assert (y[x == 0] == 1).all()


@entry_point
def _logarithms(count, y, x):
    for i in range(count):
        store_f64(y + 8 * i, pointwise.logarithm(load_f64(x + 8 * i)))
    return 0


def test_logarithm_is_within_2_units():
    rng = np.random.default_rng(0)
    near = 1 + np.concatenate([rng.uniform(-1e-3, 1e-3, 1000), 2.0 ** -np.arange(1, 53)])
    x = np.concatenate([np.exp(rng.uniform(-700, 700, 10_000)), rng.uniform(1, 10, 10_000), near, [np.sqrt(0.5), 2.0]])
    y = np.empty_like(x)
    _logarithms(len(x), y.ctypes.data, x.ctypes.data)
    # where longdouble is float64, the truth itself is off by up to a unit
    slack = 0 if np.finfo(np.longdouble).eps < np.finfo(float).eps else 1
    truth = np.log(x.astype(np.longdouble))
    assert (np.abs(y - truth) / np.spacing(np.abs(truth).astype(float))).max() < 2 + slack
    x = np.array([0.0, 1.0, np.inf, np.nan])
    _logarithms(len(x), y.ctypes.data, x.ctypes.data)
    np.testing.assert_array_equal(y[:4], [-np.inf, 0, np.inf, np.nan])


def test_sigmoid_over_all_of_float32():
    x, y = over_everything("sigmoid")
    truth = reference.sigmoid(exact(x))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
    usual = x >= pointwise.LOWEST
    # exp's 1.5 ulp may be 3 of the smaller result's; the sum's half ulp may be one; and the quotient rounds by half
    assert ulps(y[usual], truth[usual]).max() <= 3 + 1 + 0.5
    assert (np.abs(y - truth)[x < pointwise.LOWEST] <= np.exp(pointwise.LOWEST)).all()
    np.testing.assert_array_equal(y[np.isposinf(x)], 1)
    np.testing.assert_array_equal(y[np.isneginf(x)], 0)
    np.testing.assert_array_equal(y[x == 0], 0.5)


def test_tanh_over_all_of_float32():
    x, y = over_everything("tanh")
    x = reference.flush(x)
    truth = np.tanh(exact(x))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
    usual = ~np.isnan(x)
    # Up to 0.625 a correction below 0.12 x, wrong by some U of it, is added to x: about 1 ulp. Beyond, an ulp is U.
    # With s = exp(-2|x|) < 0.287 wrong by d = 1.5 ulp(s), t (U/2 + d) / (1 - s) + t (U + d) / (1 + s) is greatest just
    # above s = 1/8, where d = 3/8 U and t = 7/9: 1.73 U. The quotient rounds by half
    assert ulps(y[usual], truth[usual]).max() <= 1.73 + 0.5
    assert (np.abs(y[usual]) <= 1).all()
    small = np.abs(x) < 2.0**-13  # where tanh x = x to the last place
    np.testing.assert_array_equal(y[small], x[small])
    np.testing.assert_array_equal(y[np.isinf(x)], np.sign(x[np.isinf(x)]))


def test_relu_is_exact_and_keeps_nan():
    x, y = over_everything("relu")
    np.testing.assert_array_equal(y, reference.relu(reference.flush(x)))


@given(functions, sizes, sizes, threads, st.integers(0, 99))
def test_activations_at_odd_shapes_behind_any_layer(name, rows, features, threads, seed):
    x = np.random.default_rng(seed).normal(0, 3, (rows, features)).astype(np.float32)
    got = activate(x, name, threads)
    truth = reference.ACTIVATIONS[name][0](x.astype(np.float64))
    assert (np.abs(got - truth) <= 9 * U * np.abs(truth)).all()  # sigmoid's 4.5 ulp, of 2 U at most
    assert got.tobytes() == activate(x, name, 1).tobytes()


@given(functions, sizes, sizes, threads, st.integers(0, 99))
def test_derivatives_from_the_value(name, rows, features, threads, seed):
    rng = np.random.default_rng(seed)
    z, g = rng.normal(0, 3, (2, rows, features)).astype(np.float32)
    h = activate(z, name)
    got = derive(g, h, name, threads)
    slope = reference.ACTIVATIONS[name][1](h.astype(np.float64))
    # sigmoid: 1 - s, its product with s, the product with g. tanh: t^2 (an error of U t^2), 1 - t^2, the product
    lost = {
        "relu": 0 * slope,
        "sigmoid": gamma(3) * slope,
        "tanh": gamma(2) * slope + gamma(1) * h.astype(np.float64) ** 2,
    }
    assert (np.abs(got - g * slope) <= np.abs(g) * lost[name] * (1 + 4 * U)).all()


@pytest.mark.parametrize("name", sorted(CODES))
def test_nan_in_a_gradient_passes_where_the_slope_is_not_zero(name):
    h = np.full((3, 5), 0.5, np.float32)
    g = np.full((3, 5), np.nan, np.float32)
    assert np.isnan(derive(g, h, name)).all()


# --- dropout ---


def drop(x, key, rate, threads=1, batch=None):
    program = Program(batch or len(x))
    h = program.gather(x)
    out = program.scatter(program.dropout(h, rate, np.array([key], np.int64)), len(x))
    program.run(np.arange(len(x)), threads=threads)
    return out


@given(sizes, sizes, st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.integers(0, 2**32 - 1), threads, st.integers(1, 80))
def test_dropout_drops_what_the_counters_say(rows, features, rate, key, threads, batch):
    x = np.random.default_rng(key).uniform(1, 2, (rows, features)).astype(np.float32)
    kept = np.concatenate([  # the key of a batch is the epoch's plus the number of the step
        reference.dropout_kept(key + step, rate, min(batch, rows - first), features)
        for step, first in enumerate(range(0, rows, batch))
    ])  # fmt: skip
    got = drop(x, key, rate, threads, batch)
    np.testing.assert_array_equal(got, np.where(kept, x * np.float32(1 / (1 - rate)), 0))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_is_fair_in_every_row_and_column_and_between_steps(rate):
    n = 500
    masks = [drop(np.ones((n, n), np.float32), key, rate) != 0 for key in (7, 8)]
    # a fraction of k fair draws lies within 6 of its standard deviations but for 1 in 5e8
    spread = 6 * np.sqrt(rate * (1 - rate))
    for mask in masks:
        assert abs(mask.mean() - (1 - rate)) <= spread / n
        assert (np.abs(mask.mean(axis=0) - (1 - rate)) <= spread / np.sqrt(n)).all()
        assert (np.abs(mask.mean(axis=1) - (1 - rate)) <= spread / np.sqrt(n)).all()
    # and what two neighbours, or two steps, both keep is what independent draws would
    both = (1 - rate) ** 2
    spread = 6 * np.sqrt(both * (1 - both)) / n
    one, two = masks
    for a, b in ((one[1:], one[:-1]), (one[:, 1:], one[:, :-1]), (one, two), (one[1:], two[:-1])):
        assert abs((a & b).mean() - both) <= 1.1 * spread  # neighbours number n (n - 1), and their pairs overlap


def test_dropout_keeps_the_mean():
    x = np.ones((400, 400), np.float32)
    assert abs(drop(x, 3, 0.5).mean() - 1) <= 6 / 400  # a value is 0 or 2: deviation 1


def test_what_is_dropped_is_zero_even_if_it_was_nan():
    got = drop(np.full((20, 20), np.nan, np.float32), 1, 0.5)
    kept = reference.dropout_kept(1, 0.5, 20, 20)
    np.testing.assert_array_equal(np.isnan(got), kept)
    np.testing.assert_array_equal(got[~kept], 0)
