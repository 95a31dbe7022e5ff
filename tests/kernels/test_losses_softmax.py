"""Softmax and cross-entropy against the float64 twin, to bounds counted from kernels/softmax.py.

A logit's distance d below the row's maximum is rounded (U d); exp is within 1.5 ulp, so 3 U; of the sum of C such terms
every one is rounded at most C times. So a row's sum has a relative error of at most

    e = U (sum p d + 3 + C),   p = softmax(z),

and terms below e^-87, taken as 0, add at most C e^-87. The loss takes the logarithm of that sum in float64: its error
is e. Smoothing s adds the mean of all d, summed in float32: s gamma(C + 2) mean d.
"""

import numpy as np
import pytest
import reference
from hypothesis import example, given
from hypothesis import strategies as st
from reference import MAX, U, gamma

from fastff import CrossEntropySoftmax
from fastff.engine.program import Program

pytestmark = pytest.mark.usefixtures("poisoned")

rows_of = st.one_of(st.integers(1, 70), st.sampled_from([97, 130]))
classes_of = st.one_of(st.integers(1, 40), st.sampled_from([97, 200, 257]))
smoothings = st.sampled_from([0.0, 0.1, 0.5])
threads = st.sampled_from([1, 2, 3, 7])
CUT = np.exp(-87.0)


def loss_and_gradient(z, labels, smoothing=0.0, threads=1, gradient=True):
    """The summed loss, the hits and the gradient of one batch."""
    program = Program(len(z))
    batch = program.labels(labels.astype(np.int64))
    g = program.cross_entropy(program.gather(z), batch, smoothing, gradient=gradient)
    out = program.scatter(g, len(z)) if gradient else None
    outcome = program.run(threads=threads)
    return outcome.losses[0], outcome.hits[0], out


def check(z, labels, smoothing, threads=1):
    loss, hits, g = loss_and_gradient(z, labels, smoothing, threads)
    exact, classes = z.astype(np.float64), z.shape[1]
    below = exact.max(axis=1, keepdims=True) - exact
    p = reference.softmax(exact)
    relative = U * ((p * below).sum(axis=1) + 3 + classes) + classes * CUT
    smoothing = float(np.float32(smoothing))  # the kernel is handed a float32
    bound = relative + smoothing * gamma(classes + 2) * below.mean(axis=1)
    truth = reference.cross_entropy(exact, labels, smoothing)
    # adding up float64 numbers loses nothing that counts here; one U of the whole covers it with room
    assert abs(loss - truth.sum()) <= 1.001 * bound.sum() + 2.0**-48 * np.abs(truth).sum()
    assert hits == (z.argmax(axis=1) == labels).sum()

    t, scale = reference.targets(labels, classes, smoothing), 1 / len(z)
    truth = reference.cross_entropy_gradient(exact, labels, smoothing)
    # p: its exponential, the sum, 1/B, 1/B over the sum, the product; the target: s/B, 1/C, their product, (1 - s)/B,
    # the sum; the difference of the two
    error = p * (U * (below + 3 + 3) + relative[:, None]) + 6 * U * t + U * np.abs(p - t) + 2 * CUT
    flushed = 2 * np.finfo(np.float32).tiny  # a product below the smallest normal number is 0, as is a difference
    assert (np.abs(g - truth) <= 1.001 * scale * error + flushed).all()


@given(rows_of, classes_of, smoothings, st.sampled_from([0.1, 1.0, 10.0, 100.0, 1e4]), threads, st.integers(0, 999))
@example(1, 1, 0.1, 1.0, 7, 0)
@example(130, 257, 0.1, 10.0, 3, 0)
def test_loss_gradient_and_hits(rows, classes, smoothing, size, threads, seed):
    rng = np.random.default_rng(seed)
    z = (size * rng.standard_normal((rows, classes))).astype(np.float32)
    check(z, rng.integers(0, classes, rows), smoothing, threads)


@given(rows_of, classes_of, smoothings, st.integers(0, 999))
def test_bits_do_not_depend_on_threads_or_on_whether_a_gradient_is_wanted(rows, classes, smoothing, seed):
    rng = np.random.default_rng(seed)
    z, labels = rng.normal(0, 3, (rows, classes)).astype(np.float32), rng.integers(0, classes, rows)
    loss, hits, g = loss_and_gradient(z, labels, smoothing)
    for threads in (1, 2, 3, 7):
        other = loss_and_gradient(z, labels, smoothing, threads)
        assert (other[0], other[1]) == (loss, hits)
        assert other[2].tobytes() == g.tobytes()
        assert loss_and_gradient(z, labels, smoothing, threads, gradient=False)[:2] == (loss, hits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("size", [1e4, 1e38, MAX / 2])
def test_extreme_logits(size, smoothing):
    z = np.array([[size, -size, 0.0], [size, size, size], [-size, -size, -size], [-size, 0.0, size]], np.float32)
    check(z, np.array([1, 0, 2, 2]), smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_logits_at_both_ends_of_float32_give_a_finite_loss_and_gradient(smoothing):
    z = np.array([[MAX, -MAX], [-MAX, MAX], [MAX, MAX], [-MAX, -MAX]], np.float32)
    loss, hits, g = loss_and_gradient(z, np.array([1, 1, 0, 0]), smoothing)
    assert np.isfinite(loss)
    assert loss >= 2 * MAX * (1 - smoothing)  # the first row's: its label lies 2 MAX below the other
    assert hits == 3
    truth = reference.cross_entropy_gradient(z.astype(np.float64), np.array([1, 1, 0, 0]), smoothing)
    assert (np.abs(g - truth) <= gamma(12) / 4).all()  # p and t are at most 1, their difference is over 4


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_of_logits_at_both_ends_of_float32(smoothing):
    z = np.array([[MAX, -MAX]], np.float32)
    loss, _, _ = loss_and_gradient(z, np.array([1]), smoothing)
    truth = reference.cross_entropy(z.astype(np.float64), np.array([1]), float(np.float32(smoothing)))[0]
    assert abs(loss - truth) <= gamma(4) * truth


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("where", [(0, 0), (0, 4), (6, 2), (40, 4)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_logit_that_is_not_a_number_is_seen_in_the_loss(value, where, smoothing, threads):
    z = np.random.default_rng(0).standard_normal((41, 5)).astype(np.float32)
    z[where] = value
    loss, _, _ = loss_and_gradient(z, np.arange(41) % 5, smoothing, threads)
    assert not np.isfinite(loss)


def test_the_gradient_of_a_loss_that_is_not_a_number_is_not_a_number_either():
    z = np.random.default_rng(0).standard_normal((41, 5)).astype(np.float32)
    z[40, 2] = np.nan
    criterion = CrossEntropySoftmax()
    assert np.isnan(criterion.forward(z, np.arange(41) % 5))
    assert np.isnan(criterion.backward()[40]).all()


@pytest.mark.parametrize(("smoothing", "label"), [(0.0, 1), (0.1, 1), (0.1, 0)])
def test_a_probability_of_nothing_for_what_is_wanted_is_an_infinite_loss(smoothing, label):
    z = np.array([[0.0, -np.inf, 1.0]], np.float32)
    loss, _, _ = loss_and_gradient(z, np.array([label]), smoothing)
    assert loss == np.inf


def test_a_class_that_is_ruled_out_and_not_wanted_costs_nothing():
    z = np.array([[0.0, -np.inf, 1.0]], np.float32)
    loss, hits, g = loss_and_gradient(z, np.array([2]))
    assert abs(loss - np.log1p(np.exp(-1.0))) <= 8 * U
    assert hits == 1
    assert g[0, 1] == 0


def test_ties_count_for_the_first_class_as_in_numpy():
    z = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [3.0, 3.0, 3.0]], np.float32)
    assert loss_and_gradient(z, z.argmax(axis=1))[1] == 3
    assert loss_and_gradient(z, np.array([1, 2, 2]))[1] == 0


def test_uniform_logits_cost_the_logarithm_of_the_number_of_classes():
    loss, _, g = loss_and_gradient(np.zeros((5, 8), np.float32), np.zeros(5, int))
    assert abs(loss - 5 * np.log(8)) <= 5 * 12 * U
    assert abs(g.sum()) <= 5 * 8 * U
